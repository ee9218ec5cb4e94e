"""The recording as a seekable HLS playlist that refers to byte ranges of the archive's files.

Rules:

1. Each file is a discontinuity, since its media time begins at 0, and has its EXT-X-PROGRAM-DATE-TIME. A gap in the
   recording is a jump of EXT-X-PROGRAM-DATE-TIME across a discontinuity. One EXT-X-MAP lasts until the tracks change.
2. Media and discontinuity sequence numbers come from the archive (:class:`~hls.archive.segment.Segment`). So they are
   right wherever a playlist begins, after a restart, and after retention has deleted what came before.
3. :mod:`hls.archive.hls_segments` groups fragments into HLS segments and sets the target duration.
"""

from collections.abc import Sequence

from gateway.clock import CLOCK_RATE, to_rfc3339
from hls.archive.hls_segments import HLS_TARGET_S, HlsSegment
from hls.archive.segment import Segment

DEFAULT_S = 3600
"""What is played without a start."""


def start_of(start_90k: int | None, end_90k: int | None, now_90k: int) -> int:
    """Where a playlist with these bounds begins."""
    if start_90k is not None:
        return start_90k
    return (now_90k if end_90k is None else end_90k) - DEFAULT_S * CLOCK_RATE


def byte_range(
    segment: Segment, parts: Sequence[HlsSegment], start_90k: int, end_90k: int | None
) -> tuple[int, int] | None:
    """The bytes [from, to) of a file that the playlist of [start, end) refers to; ``None`` if it refers to none.

    A range of everything that was recorded is the whole file, with its head.
    """
    listed = [part for part in parts if _is_listed(segment, part, start_90k, end_90k)]
    if not listed:
        return None
    if len(listed) == len(parts):
        return 0, segment.size
    return listed[0].offset, listed[-1].offset + listed[-1].size


def _is_listed(segment: Segment, part: HlsSegment, start_90k: int, end_90k: int | None) -> bool:
    """Whether any of an HLS segment is in [start, end)."""
    part_start_90k = segment.start_90k + part.start_90k
    return part_start_90k + part.duration_90k > start_90k and (end_90k is None or part_start_90k < end_90k)


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
            if not _is_listed(segment, part, start_90k, end_90k):
                continue
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
