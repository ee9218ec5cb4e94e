"""What a viewer with a microphone needs: who takes its voice, and in which codec it is to be sent.

What becomes of the voice is decided elsewhere (:mod:`gateway.talk`); the WebRTC server knows of no loudspeaker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class VoiceSink(Protocol):
    """Takes a viewer's voice, packet by packet."""

    id: str
    camera_id: str
    close_callbacks: list[Callable[[], None]]

    def take(self, payload: bytes, sequence: int, timestamp: int) -> None:
        """An RTP packet. Never raises."""

    def close_soon(self, reason: str) -> None:
        """No more comes. May be called twice."""


@dataclass(frozen=True, slots=True)
class VoicePermit:
    """A viewer may talk, in one of ``codecs``, the first that it offers.

    ``open`` makes the sink, of the viewer's id, the name of the codec, and what is called with whether it talks.
    """

    codecs: Sequence[str]
    open: Callable[[str, str, Callable[[bool], None]], VoiceSink]
