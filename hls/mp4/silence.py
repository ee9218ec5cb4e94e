"""Silence for video that was recorded without sound, where a playlist has sound elsewhere.

Theory of operation. A source buffer takes no init segment with other tracks than its first one has (Media Source
Extensions, "initialization segment received"), so players that use one stop where a recording's sound begins or ends.
So video without sound gets a second track: an init segment with it, and a fragment of silence before those of each HLS
segment. The recorded bytes stay as they are.

Rules:

1. Frames of silence lie on a grid of :data:`~hls.mp4.audio.AAC_FRAME` samples from the beginning of the file's media
   time, and each belongs to the HLS segment in which it begins. So there is no hole and no overlap between two HLS
   segments of a file, and the last one ends less than a frame after its video.
2. All of it depends on what its address says, so it is the same at each request. A frame is encoded once for each
   sample rate.

Sans-IO.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.clock import CLOCK_RATE
from gateway.codec.aac import SAMPLE_RATES_HZ, config_of
from gateway.errors import BadRequestError
from gateway.media import AudioInfo
from hls.mp4.audio import AAC_FRAME, silent_frame
from hls.mp4.boxes import box, find_box, parse_boxes
from hls.mp4.fragments import AUDIO_TRACK_ID, FragmentTrack, Sample, audio_init, fragment

CODEC_STRING = "mp4a.40.2"
"""AAC-LC (RFC 6381 §3.3)."""

CHANNELS_MAX = 2
"""Of silence. A decoder takes other numbers of channels from one init segment to the next."""

_TEXT = re.compile(r"([0-9]{4,5})x([12])")


@dataclass(frozen=True, slots=True)
class Silence:
    """A track of silence in AAC-LC; see the module. Its text is ``48000x2``: the sample rate in Hz, and channels."""

    sample_rate_hz: int
    channels: int

    def __str__(self) -> str:
        return f"{self.sample_rate_hz}x{self.channels}"

    @property
    def info(self) -> AudioInfo:
        """The track as a stream has it."""
        config = config_of(self.sample_rate_hz, self.channels)
        return AudioInfo("aac", CODEC_STRING, self.sample_rate_hz, self.channels, config)

    @property
    def init_bytes(self) -> int:
        """By how many bytes :meth:`init` is longer than what it is given."""
        return sum(map(len, _track_boxes(self.info)))

    def init(self, video_init: bytes) -> bytes:
        """An init segment (``ftyp`` and ``moov``) of video alone, with this track beside it."""
        moov = find_box(video_init, b"moov")
        assert moov is not None
        trak, trex = _track_boxes(self.info)
        content = b""
        for child in parse_boxes(video_init, moov.content, moov.end):
            whole = video_init[child.offset : child.end]
            if child.kind == b"mvhd":
                content += whole[:-4] + (AUDIO_TRACK_ID + 1).to_bytes(4, "big")  # next_track_ID (§8.2.2)
            elif child.kind == b"mvex":
                content += trak + box(b"mvex", video_init[child.content : child.end], trex)
            else:
                content += whole
        return video_init[: moov.offset] + box(b"moov", content) + video_init[moov.end :]

    def fragment(self, start_90k: int, end_90k: int) -> bytes:
        """The ``moof`` and ``mdat`` of the frames that begin in [start, end) of the media time; empty without any."""
        frame = silent_frame(self.sample_rate_hz, self.channels)
        numbers = self._numbers(start_90k, end_90k)
        if frame is None or not numbers:
            return b""
        samples = [Sample(frame, n * AAC_FRAME, n * AAC_FRAME, AAC_FRAME) for n in numbers]
        return fragment([FragmentTrack(AUDIO_TRACK_ID, samples, [frame] * len(samples))], 0)

    def fragment_bytes(self, start_90k: int, end_90k: int) -> int:
        """The length of :meth:`fragment`."""
        count = len(self._numbers(start_90k, end_90k))
        first, each = _sizes(self)
        return first + (count - 1) * each if count else 0

    def _numbers(self, start_90k: int, end_90k: int) -> range:
        frame_90k = AAC_FRAME * CLOCK_RATE
        first, upto = (-(-at_90k * self.sample_rate_hz // frame_90k) for at_90k in (start_90k, end_90k))
        return range(first, upto)


def silence_like(sample_rate_hz: int, channels: int) -> Silence | None:
    """Silence that goes with a sound of this rate; ``None`` where no encoder has it."""
    channels = min(channels, CHANNELS_MAX)
    is_possible = sample_rate_hz in SAMPLE_RATES_HZ and silent_frame(sample_rate_hz, channels) is not None
    return Silence(sample_rate_hz, channels) if is_possible else None


def parse_silence(text: str) -> Silence:
    """The inverse of ``str``. Raises :class:`~gateway.errors.BadRequestError`."""
    match = _TEXT.fullmatch(text)
    silence = silence_like(int(match[1]), int(match[2])) if match is not None else None
    if silence is None:
        raise BadRequestError("silence: take the URL from the playlist, as it is")
    return silence


@lru_cache(maxsize=32)
def _sizes(silence: Silence) -> tuple[int, int]:
    """Bytes of a fragment of one frame, and by how much each other one makes it longer."""
    one, two = (len(silence.fragment(0, _end_90k(silence, frames))) for frames in (1, 2))
    return one, two - one


def _end_90k(silence: Silence, frames: int) -> int:
    return frames * AAC_FRAME * CLOCK_RATE // silence.sample_rate_hz


@lru_cache(maxsize=32)
def _track_boxes(info: AudioInfo) -> tuple[bytes, bytes]:
    """``trak`` and ``trex`` (ISO/IEC 14496-12 §8.3.1, §8.8.3) of a track of sound beside one of video."""
    init = audio_init(info)
    trak, trex = find_box(init, b"moov", b"trak"), find_box(init, b"moov", b"mvex", b"trex")
    tkhd = find_box(init, b"moov", b"trak", b"tkhd")
    assert trak is not None
    assert tkhd is not None
    assert trex is not None
    track_id = AUDIO_TRACK_ID.to_bytes(4, "big")
    # track_ID follows version, flags and two times of 32 bits (§8.3.2), or version and flags (§8.8.3).
    of_tkhd, of_trex = tkhd.content + 12, trex.content + 4
    return (
        init[trak.offset : of_tkhd] + track_id + init[of_tkhd + 4 : trak.end],
        init[trex.offset : of_trex] + track_id + init[of_trex + 4 : trex.end],
    )
