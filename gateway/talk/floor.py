"""Floor: who may talk to a camera, and for how long. Sans-IO; times are monotonic seconds.

Rules:

1. One at a time: a loudspeaker with two voices is understood by nobody. The second one is refused, and told.
2. Who talks has the floor until they end, are silent for ``silence_s``, or have talked for ``max_s``. One who has been
   given the floor and has never been heard has :data:`CONNECT_S`.
"""

from gateway.talk.errors import TalkBusyError

CONNECT_S = 15.0
"""To open the camera's back channel, and to connect: nobody is kept out for longer by one who does not come."""


class Floor:
    """See the module."""

    def __init__(self, camera_id: str) -> None:
        self._camera_id = camera_id
        self._holder: object | None = None
        self._silence_s = self._max_s = 0.0
        self._since = 0.0
        self._heard_at: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether somebody talks."""
        return self._holder is not None

    def take(self, holder: object, now: float, *, silence_s: float, max_s: float) -> None:
        """Give the floor. Raises :class:`~gateway.talk.errors.TalkBusyError` while somebody has it."""
        if self._holder is not None:
            raise TalkBusyError(f"somebody else talks to camera {self._camera_id}; try again when they have finished")
        self._holder, self._since, self._heard_at = holder, now, None
        self._silence_s, self._max_s = silence_s, max_s

    def heard(self, now: float) -> None:
        """The holder says something."""
        if self._heard_at is None:
            self._since = now
        self._heard_at = now

    def end(self, holder: object) -> None:
        """``holder`` does not talk any more. Of another one it changes nothing."""
        if self._holder is holder:
            self._holder = None

    def over(self, now: float) -> str | None:
        """Why the holder has to end; ``None``: it may go on."""
        if self._holder is None:
            return None
        if self._heard_at is None:
            return f"nothing was heard for {CONNECT_S:.0f} s" if now - self._since > CONNECT_S else None
        if now - self._heard_at > self._silence_s:
            return f"silent for {self._silence_s:.0f} s"
        if now - self._since > self._max_s:
            return f"the longest time of one talker, {self._max_s:.0f} s, is over"
        return None
