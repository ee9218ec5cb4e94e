"""Read ``moof`` boxes (ISO/IEC 14496-12 §8.8): the samples of a fragment, and a summary of its video.

The video is track 1 with a time scale of 90 kHz, as our muxers write it. Counts and sizes in a box are never trusted.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hls.mp4.boxes import Box, find_box, parse_boxes

VIDEO_TRACK_ID = 1

RUN_MAX_SAMPLES = 100_000
"""Limit for a ``trun`` whose samples have no fields of their own, so that only its count says how many there are."""

NON_SYNC = 0x0001_0000
"""``sample_is_non_sync_sample`` (ISO/IEC 14496-12 §8.8.3.1)."""


@dataclass(frozen=True, slots=True)
class FragmentBoxes:
    """A summary of the video in a ``moof``; times in 90 kHz."""

    start_90k: int
    duration_90k: int
    frames: int
    is_keyframe: bool
    longest_gap_90k: int


@dataclass(frozen=True, slots=True)
class Run:
    """Contiguous samples of one track, from ``data_offset`` after the start of their ``moof``.

    ``decode_time`` is in the track's time scale; a sample is (duration, size, flags, composition offset).
    """

    track_id: int
    decode_time: int
    data_offset: int
    samples: list[tuple[int, int, int, int]]


def parse_runs(moof: bytes) -> list[Run]:
    """Every run of samples in one ``moof`` box. Anything else in it is ignored."""
    runs: list[Run] = []
    header = find_box(moof, b"moof")
    if header is None:
        return runs
    for traf in parse_boxes(moof, header.content, header.end):
        if traf.kind != b"traf":
            continue
        defaults: tuple[int, int, int, int] | None = None
        decode_time = 0
        for box in parse_boxes(moof, traf.content, traf.end):
            if box.kind == b"tfhd":
                defaults = _track_defaults(moof, box)
            elif box.kind == b"tfdt":
                decode_time = int.from_bytes(moof[box.content + 4 : box.end], "big")
            elif box.kind == b"trun" and defaults is not None:
                run = _run(moof, box, decode_time, defaults)
                decode_time += sum(sample[0] for sample in run.samples)
                runs.append(run)
    return runs


def parse_moof(moof: bytes) -> FragmentBoxes:
    """Summarize the video of a ``moof`` box. A fragment without video has no frames."""
    return summarize(parse_runs(moof))


def summarize(runs: Sequence[Run]) -> FragmentBoxes:
    """As :func:`parse_moof`, of the runs in the box."""
    video = [run for run in runs if run.track_id == VIDEO_TRACK_ID and run.samples]
    if not video:
        return FragmentBoxes(0, 0, 0, False, 0)
    durations = [sample[0] for run in video for sample in run.samples]
    return FragmentBoxes(
        start_90k=video[0].decode_time,
        duration_90k=sum(durations),
        frames=len(durations),
        is_keyframe=not video[0].samples[0][2] & NON_SYNC,
        longest_gap_90k=max(durations),
    )


def video_frames(runs: Sequence[Run]) -> Iterator[tuple[int, int, bool]]:
    """Each frame of the video: its decoding time in 90 kHz, its size in bytes, and whether it is a keyframe."""
    for run in runs:
        if run.track_id == VIDEO_TRACK_ID:
            at_90k = run.decode_time
            for duration, size, flags, _ in run.samples:
                yield at_90k, size, not flags & NON_SYNC
                at_90k += duration


def _track_defaults(data: bytes, box: Box) -> tuple[int, int, int, int]:
    """Track id, default duration, size and flags of a ``tfhd`` (§8.8.7)."""
    flags = int.from_bytes(data[box.content + 1 : box.content + 4], "big")
    words = [int.from_bytes(data[at : at + 4], "big") for at in range(box.content + 4, box.end, 4)]
    found = [words[0] if words else 0, 0, 0, 0]
    position = 1 + 2 * bool(flags & 0x1) + bool(flags & 0x2)  # base-data-offset, sample-description-index
    for place, bit in ((1, 0x8), (2, 0x10), (3, 0x20)):
        if flags & bit and position < len(words):
            found[place] = words[position]
            position += 1
    return found[0], found[1], found[2], found[3]


def _run(data: bytes, box: Box, decode_time: int, defaults: tuple[int, int, int, int]) -> Run:
    """The samples of a ``trun`` (§8.8.8)."""
    track_id, *default = defaults
    flags = int.from_bytes(data[box.content + 1 : box.content + 4], "big")
    count = int.from_bytes(data[box.content + 4 : box.content + 8], "big")
    position = box.content + 8
    data_offset = 0
    first_flags: int | None = None
    if flags & 0x1:
        data_offset = int.from_bytes(data[position : position + 4], "big", signed=True)
        position += 4
    if flags & 0x4:
        first_flags = int.from_bytes(data[position : position + 4], "big")
        position += 4
    present = [bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800)]
    record = struct.Struct(">" + "".join(kind for kind, is_there in zip("IIIi", present, strict=True) if is_there))
    # A count beyond the end of the box is garbage; without fields per sample, only the count limits it.
    end = position + min(count * record.size, box.end - position) if record.size else position
    end -= (end - position) % record.size if record.size else 0
    if present == [True, True, True, True]:
        samples = [(a, b, c, d) for a, b, c, d in record.iter_unpack(data[position:end])]
    else:
        samples = []
        fields = record.iter_unpack(data[position:end]) if record.size else iter([()] * min(count, RUN_MAX_SAMPLES))
        for values in fields:
            given = iter(values)
            duration, size, sample_flags = (
                next(given) if is_there else default[place] for place, is_there in enumerate(present[:3])
            )
            samples.append((duration, size, sample_flags, next(given) if present[3] else 0))
    if samples and first_flags is not None:
        samples[0] = (samples[0][0], samples[0][1], first_flags, samples[0][3])
    return Run(track_id, decode_time, data_offset, samples)
