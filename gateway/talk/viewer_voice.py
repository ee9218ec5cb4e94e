"""ViewerVoice: the voice of a viewer (WHEP, with ``sendrecv`` audio). It talks by sending, and ends by sending nothing.

Rules:

1. The first packet with sound takes the floor, if it is free, and each further one keeps it. Digital silence does
   neither: many clients send it while their microphone is muted.
2. What is sent while somebody else talks is left out, and counted as one refusal until there is a pause.
3. One that was ended for talking too long, or by the camera, or that the camera did not take, is heard again after
   :data:`REST_S` without sound, or :data:`RETRY_S`.
"""

import asyncio
from collections.abc import Callable

from gateway.clock import Clock
from gateway.errors import CaptureError
from gateway.talk.camera_talk import CameraTalk
from gateway.talk.errors import NoBackChannelError, TalkBusyError
from gateway.talk.sound import is_silence
from gateway.talk.turn import Turn

SILENCE_S = 2.0
"""After as much silence the floor is free: between two sentences there is less."""

REST_S = 1.0
RETRY_S = 10.0


class ViewerVoice:
    """See the module. Implements :class:`gateway.webrtc.voice.VoiceSink`. ``codec`` is what the viewer sends."""

    def __init__(
        self,
        viewer_id: str,
        talk: CameraTalk,
        who: str,
        codec: str,
        clock: Clock,
        on_talking: Callable[[bool], None],
    ) -> None:
        self.id = f"{viewer_id}-voice"
        self.camera_id = talk.camera.id
        self.close_callbacks: list[Callable[[], None]] = []
        self._talk = talk
        self._who = who
        self._codec = codec
        self._clock = clock
        self._on_talking = on_talking
        self._turn: Turn | None = None
        self._is_closed = False
        self._sound_at = float("-inf")
        self._ended_at: float | None = None
        """When it was ended against its wish, by rule 3."""
        self._is_refused = False

    @property
    def is_talking(self) -> bool:
        """Whether it has the floor."""
        return self._turn is not None

    def take(self, payload: bytes, sequence: int, timestamp: int) -> None:
        """An RTP packet of the viewer."""
        if self._is_closed:
            return
        now = self._clock.monotonic()
        if is_silence(self._codec, payload):
            if self._turn is not None:
                self._turn.take(payload, sequence, timestamp)
            return
        pause_s, self._sound_at = now - self._sound_at, now
        if pause_s >= REST_S:
            self._ended_at, self._is_refused = None, False
        if self._turn is None:
            self._begin(now)
        if self._turn is None:
            self._talk.counters.packets_dropped += 1
            return
        self._talk.heard(self._turn)
        self._turn.take(payload, sequence, timestamp)

    def close_soon(self, reason: str) -> None:
        """It may talk no more. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._turn is not None:
            self._turn.end(reason)
        while self.close_callbacks:
            self.close_callbacks.pop()()

    def _begin(self, now: float) -> None:
        if self._ended_at is not None and now - self._ended_at < RETRY_S:
            return
        if self._is_refused and self._talk.is_taken:
            return
        try:
            self._turn = self._talk.begin(self._who, {self._codec}, self._ended, silence_s=SILENCE_S)
        except TalkBusyError:
            self._is_refused = True
            return
        except NoBackChannelError as error:
            # The settings have changed.
            asyncio.get_running_loop().call_soon(self.close_soon, str(error))
            return
        except CaptureError:
            # The camera has refused the password, or was not there, a moment ago.
            self._ended_at = now
            return
        self._ended_at, self._is_refused = None, False
        self._on_talking(True)

    def _ended(self, reason: str) -> None:
        del reason
        self._turn = None
        now = self._clock.monotonic()
        if now - self._sound_at < SILENCE_S:
            self._ended_at = now
        self._on_talking(False)
