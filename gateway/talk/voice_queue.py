"""VoiceQueue: what waits to be sent to the camera. Sans-IO; times are monotonic seconds.

Rules:

1. Voice is sent as it comes. What comes at once after a stall of the network is sent at :data:`SPEED` of real time, as
   a camera has room for little more than that.
2. At most :data:`QUEUE_MAX_S` waits. Its drop policy: the oldest gives way, since a conversation is about now.
3. Nothing is taken out before the camera is ready.
"""

from collections import deque

from gateway.talk.sound import Voice

QUEUE_MAX_S = 0.4
"""A person who waits for an answer notices half a second."""

SPEED = 1.05
"""After a stall, the delay is gone soon, and no camera overflows."""


class VoiceQueue:
    """See the module. ``clock_rate``: ticks a second of the times of voice."""

    def __init__(self, clock_rate: int) -> None:
        self.dropped = 0
        """Packets that gave way (rule 2)."""
        self._clock_rate = clock_rate
        self._waiting: deque[Voice] = deque()
        self._ticks = 0
        """How much waits."""
        self._due_at = float("-inf")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due_at(self) -> float | None:
        """When the next packet is to be sent; ``None`` while none waits."""
        return self._due_at if self._waiting else None

    def push(self, voice: Voice) -> None:
        """Something to send."""
        self._waiting.append(voice)
        self._ticks += voice.duration
        while self._ticks > QUEUE_MAX_S * self._clock_rate and len(self._waiting) > 1:
            self._ticks -= self._waiting.popleft().duration
            self.dropped += 1

    def pop(self, now: float) -> Voice | None:
        """The next packet, if it is due."""
        if not self._waiting or now < self._due_at:
            return None
        voice = self._waiting.popleft()
        self._ticks -= voice.duration
        self._due_at = max(self._due_at, now) + voice.duration / self._clock_rate / SPEED
        return voice
