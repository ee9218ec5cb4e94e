"""FileSamples: the samples of a camera's parts in the time of one file.

By the rules 3, 6, 7 and 9 of :mod:`hls.archive.writer`.
"""

from collections.abc import Iterable, Sequence

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo
from hls.mp4.audio import AAC_FRAME, silent_frame
from hls.mp4.fragments import Sample
from hls.parts.part import PartSamples

STEP_MAX = 2**31
"""A longer time between two samples, or between decoding and presentation, does not fit into a fragment's fields."""


class FileSamples:
    """See the module."""

    def __init__(self) -> None:
        self.base_dts_90k = 0
        """When the file begins, in the camera's time."""
        self.audio_dropped = 0
        """Audio frames from before the first frame, or out of order."""
        self.longest_gap_90k = 0
        """The longest time from a frame to the next one."""
        self._dts_90k: int | None = None
        """Of the last frame, in the camera's time."""
        self._audio_dts = -1
        """Of the last audio sample, in the time scale of its track; -1 before the first."""

    def check(self, part: PartSamples) -> None:
        """Take note of the times of the next part. Raises ``ValueError`` for those that MP4 cannot have."""
        if self._dts_90k is None:
            self.base_dts_90k = part.dts_90k
        for dts_90k, pts_90k in _frame_times(part):
            if self._dts_90k is not None:
                step_90k = dts_90k - self._dts_90k
                self.longest_gap_90k = max(self.longest_gap_90k, step_90k)
                if not 0 < step_90k < STEP_MAX:
                    raise ValueError(f"a frame is {step_90k} ticks after the frame before it")
            if not 0 <= pts_90k - dts_90k < STEP_MAX:
                raise ValueError(f"a frame is shown {pts_90k - dts_90k} ticks after it is decoded")
            self._dts_90k = dts_90k

    def video(self, parts: Sequence[PartSamples], *, is_first: bool) -> list[Sample]:
        """The frames of parts in the file's time, each up to the next one. ``is_first``: it has none yet."""
        times = [each for part in parts for each in _frame_times(part)]
        ends = [*(dts_90k for dts_90k, _ in times[1:]), parts[-1].end_90k]
        base_90k = self.base_dts_90k
        samples = [
            Sample(each.data, dts_90k - base_90k, pts_90k - base_90k, end_90k - dts_90k, each.is_keyframe)
            for each, (dts_90k, pts_90k), end_90k in zip(
                (sample for part in parts for sample in part.tracks[0].samples), times, ends, strict=True
            )
        ]
        if is_first:
            samples[0] = samples[0]._replace(is_keyframe=True)
        return samples

    def audio(self, parts: Sequence[PartSamples], info: AudioInfo | None) -> tuple[list[Sample], list[bytes]]:
        """The sound of parts in the file's time, each sample up to the next one, and their data."""
        samples: list[Sample] = []
        data: list[bytes] = []
        for part in parts:
            track = part.audio
            if track is None or info is None:
                continue
            base = (2 * self.base_dts_90k * info.sample_rate_hz + CLOCK_RATE) // (2 * CLOCK_RATE)
            for sample, coded in zip(track.samples, track.data, strict=True):
                dts = sample.dts - part.audio_offset - base
                step = dts - self._audio_dts
                if dts < 0 or not 0 < step < STEP_MAX:
                    self.audio_dropped += 1
                    continue
                end = dts + sample.duration
                if samples and samples[-1].dts + samples[-1].duration != dts:
                    samples[-1] = samples[-1]._replace(duration=dts - samples[-1].dts)
                elif self._audio_dts < 0:
                    samples, data = _silence(dts, info)
                    dts = samples[-1].dts + samples[-1].duration if samples else 0
                self._audio_dts = dts
                samples.append(Sample(coded, dts, dts, end - dts, level=sample.level))
                data.append(coded)
        return samples, data


def _silence(until: int, audio: AudioInfo) -> tuple[list[Sample], list[bytes]]:
    """Frames of silence from the beginning up to less than a frame before ``until``."""
    silence = silent_frame(audio.sample_rate_hz, audio.channels)
    if silence is None:
        return [], []
    samples = [Sample(silence, at, at, AAC_FRAME) for at in range(0, until - AAC_FRAME + 1, AAC_FRAME)]
    return samples, [silence] * len(samples)


def _frame_times(part: PartSamples) -> Iterable[tuple[int, int]]:
    """Decoding and presentation time of each frame, as in its packet."""
    dts_90k = part.dts_90k
    for number, sample in enumerate(part.tracks[0].samples):
        if number:
            dts_90k = sample.dts - part.offset_90k
        yield dts_90k, sample.pts - part.offset_90k
