"""RTP payloads into frames, one module a payload format.

A depacketizer belongs to one track. :meth:`Depacketizer.push` takes the payloads in the order of their sequence numbers
and returns the frames that are complete; it copies what it keeps.
"""

from typing import NamedTuple, Protocol


class Frame(NamedTuple):
    """One coded frame of a track.

    ``timestamp`` is in units of the track's RTP clock and does not wrap. Video is one access unit in Annex B; audio is
    one frame of its codec (for G.711 and alike, the samples of one packet). ``duration`` is in the same units, 0 where
    it is not known. ``is_keyframe`` is meaningful for video; ``follows_loss`` says that something before it is missing,
    so that a decoder may not be able to use it unless it is a keyframe. ``config`` is the AudioSpecificConfig of AAC
    where the stream itself has it, empty otherwise. ``is_intra`` is known of H.264: all slices are I slices.
    """

    data: bytes
    timestamp: int
    duration: int = 0
    is_keyframe: bool = True
    follows_loss: bool = False
    config: bytes = b""
    is_intra: bool = False


class Depacketizer(Protocol):
    """See the module."""

    @property
    def malformed(self) -> int:
        """Payloads that were dropped for their form."""
        ...

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        """Take a payload. ``timestamp`` does not wrap; ``lost`` packets are missing right before this one.

        Bytes that the payload format does not allow are dropped and counted, never raised.
        """
        ...
