"""The archive as HLS: fragments gathered into HLS segments, and the playlist over the very files.

Rules:

1. An HLS segment begins with a file, or with a keyframe at least :data:`HLS_SEGMENT_MIN_S` after the one before, so
   that its borders depend on the file alone and never on what a playlist was asked for.
2. None is longer than :data:`HLS_TARGET_S`, which is every playlist's EXT-X-TARGETDURATION (RFC 8216 §4.3.3.1: it MUST
   NOT change); with keyframes further apart, a segment may begin without one.
3. The last segment of a growing file is listed when the next one begins, and not before.
4. Each file is a discontinuity, since its media time begins at 0, and states its wall clock. A gap in the recording is
   a jump of EXT-X-PROGRAM-DATE-TIME across a discontinuity. There is one EXT-X-MAP until the tracks change.
5. Media and discontinuity sequence numbers are the archive's own (:class:`~hls.archive.segment.Segment`), so that they
   are right wherever a playlist begins, after a restart, and after retention has taken what was in front.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE, to_rfc3339
from hls.archive.segment import Fragment, Segment

HLS_TARGET_S = 10
"""Room for the 10 s keyframe interval of "smart" camera codecs."""

HLS_SEGMENT_MIN_S = 4
"""Short enough to seek well, long enough that an hour is a small playlist."""

_MIN_90K = HLS_SEGMENT_MIN_S * CLOCK_RATE
_MAX_90K = HLS_TARGET_S * CLOCK_RATE + CLOCK_RATE // 2 - 1
"""EXTINF, rounded to the nearest second, must not exceed the target."""


@dataclass(frozen=True, slots=True)
class HlsSegment:
    """Side-by-side fragments of one file. ``offset`` and ``size`` in bytes, times in the file's media time."""

    offset: int
    size: int
    start_90k: int
    duration_90k: int

    @property
    def end_90k(self) -> int:
        return self.start_90k + self.duration_90k


# As fragments do, HLS segments lie side by side: size and duration say it all.
_PACKED = struct.Struct("<II")


def pack_hls(segments: Sequence[HlsSegment]) -> bytes:
    """HLS segments as the index keeps them; :func:`unpack_hls` reads them."""
    return b"".join(_PACKED.pack(segment.size, segment.duration_90k) for segment in segments)


def unpack_hls(packed: bytes, init_size: int) -> list[HlsSegment]:
    """The inverse of :func:`pack_hls`; the first one begins where the init segment ends."""
    segments = []
    offset, start_90k = init_size, 0
    for size, duration_90k in _PACKED.iter_unpack(packed):
        segments.append(HlsSegment(offset, size, start_90k, duration_90k))
        offset += size
        start_90k += duration_90k
    return segments


def hls_segments(fragments: Sequence[Fragment], *, is_whole: bool) -> list[HlsSegment]:
    """Gather fragments by the module's rules; ``is_whole`` where the file has ended."""
    segments: list[HlsSegment] = []
    first: Fragment | None = None
    last: Fragment | None = None
    for fragment in fragments:
        if first is not None and last is not None:
            far_enough = fragment.is_keyframe and last.end_90k - first.start_90k >= _MIN_90K
            if far_enough or fragment.end_90k - first.start_90k > _MAX_90K:
                segments.append(_gather(first, last))
                first = fragment
        else:
            first = fragment
        last = fragment
    if is_whole and first is not None and last is not None:
        segments.append(_gather(first, last))
    return segments


def _gather(first: Fragment, last: Fragment) -> HlsSegment:
    return HlsSegment(
        offset=first.offset,
        size=last.offset + last.size - first.offset,
        start_90k=first.start_90k,
        duration_90k=last.end_90k - first.start_90k,
    )


def playlist(
    recorded: Sequence[tuple[Segment, Sequence[HlsSegment]]],
    start_90k: int,
    end_90k: int | None,
    *,
    is_ended: bool,
    base: str = "",
) -> str | None:
    """The media playlist of what is recorded in [start, end), or ``None`` where that is nothing.

    It begins with the HLS segment that holds the start and states the start in EXT-X-START. Without ``is_ended`` it
    goes on: a reload has what was recorded since. ``base`` goes before the addresses ``{camera}/{segment}.mp4``.
    """
    lines: list[str] = []
    head: list[str] = []
    init_id = ""
    for segment, parts in recorded:
        url = f"{base}{segment.camera_id}/{segment.name}"
        is_first = True
        for number, part in enumerate(parts):
            part_start_90k = segment.start_90k + part.start_90k
            if part_start_90k + part.duration_90k <= start_90k:
                continue
            if end_90k is not None and part_start_90k >= end_90k:
                break
            if not lines:
                head = _head(segment, number, start_90k - part_start_90k)
            elif is_first:
                lines.append("#EXT-X-DISCONTINUITY")
            if is_first and segment.init_id != init_id:
                # The range says nothing new, but FFmpeg keeps that of a segment for a later request without one.
                init_id = segment.init_id
                address = f"{base}{segment.camera_id}/init-{init_id}.mp4"
                lines.append(f'#EXT-X-MAP:URI="{address}",BYTERANGE="{segment.init_length}@0"')
            if is_first:
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{to_rfc3339(part_start_90k)}")
                is_first = False
            lines.append(f"#EXTINF:{part.duration_90k / CLOCK_RATE:.5f},")
            lines.append(f"#EXT-X-BYTERANGE:{part.size}@{part.offset}")
            lines.append(f"{url}.mp4")
    if not lines:
        return None
    if is_ended:
        head.insert(2, "#EXT-X-PLAYLIST-TYPE:VOD")
        lines.append("#EXT-X-ENDLIST")
    return "\n".join([*head, *lines, ""])


def _head(segment: Segment, number: int, offset_90k: int) -> list[str]:
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{HLS_TARGET_S}",
        f"#EXT-X-MEDIA-SEQUENCE:{segment.sequence + number}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{segment.discontinuities}",
    ]
    if offset_90k > 0:
        head.append(f"#EXT-X-START:TIME-OFFSET={offset_90k / CLOCK_RATE:.3f},PRECISE=YES")
    return head
