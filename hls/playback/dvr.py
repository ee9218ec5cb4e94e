"""The recording as a seekable HLS playlist that refers to byte ranges of the archive's files.

Rules:

1. Each file is a discontinuity, since its media time begins at 0, and has its EXT-X-PROGRAM-DATE-TIME. A gap in the
   recording is a jump of EXT-X-PROGRAM-DATE-TIME across a discontinuity. One EXT-X-MAP lasts until the tracks change.
2. Media and discontinuity sequence numbers come from the archive (:class:`~hls.archive.segment.Segment`). So they are
   right wherever a playlist begins, after a restart, and after retention has deleted what came before.
3. :mod:`hls.archive.hls_segments` groups fragments into HLS segments and sets the target duration.
4. Where both streams of a camera were recorded, a multivariant playlist has one variant of each, which has the other
   stream where its own was not recorded (:mod:`hls.playback.rendition_merge`). Their files begin at different times, so
   their discontinuities cannot match as RFC 8216 §6.2.4 asks. They are numbered far apart instead
   (:data:`SUB_DISCONTINUITIES`), so that players align the variants by EXT-X-PROGRAM-DATE-TIME.
5. Where a playlist has sound and a file has none, the addresses of that file and its init segment ask for
   :class:`~hls.mp4.silence.Silence` (:mod:`hls.playback.recorded_sound` says when).
"""

from collections.abc import Sequence

from gateway.clock import CLOCK_RATE, to_rfc3339
from hls.archive.hls_segments import HLS_TARGET_S, HlsSegment
from hls.archive.segment import Segment
from hls.mp4.silence import CODEC_STRING, Silence
from hls.playback.recording_order import Piece
from hls.playback.rendition_merge import Numbers
from hls.stream_inf import iframe_stream_inf, stream_inf

DEFAULT_S = 3600
"""What is played without a start."""

SUB_DISCONTINUITIES = 1_000_000
"""Added to the discontinuity sequence of the variant of the sub stream: 19 years of files of ten minutes. Not more,
because hls.js 1.7 walks through an array up to that number when it changes the variant: 15 s for 1,000,000,000."""

PEAK_90K = HLS_TARGET_S * CLOCK_RATE // 2
"""BANDWIDTH is the largest rate of segments that last at least half a target duration together (RFC 8216 §4.3.4.2)."""


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


def in_span(pieces: Sequence[Piece], start_90k: int, end_90k: int | None) -> list[Piece]:
    """What of the pieces is in [start, end)."""
    found = []
    for piece in pieces:
        numbers = [n for n, part in enumerate(piece.parts) if _is_listed(piece.segment, part, start_90k, end_90k)]
        if numbers:
            found.append(piece.drop(numbers[0], numbers[-1] + 1))
    return found


def playlist(
    pieces: Sequence[Piece],
    start_90k: int | None = None,
    *,
    is_ended: bool,
    base: str = "",
    numbers: Numbers | None = None,
    first_discontinuity: int = 0,
    silence: Silence | None = None,
) -> str | None:
    """The media playlist of these pieces, or ``None`` without any.

    If its first HLS segment holds the start, it states that in EXT-X-START. Without ``is_ended`` it goes on: a reload
    has what was recorded since. ``base`` goes before the addresses ``{camera}/{segment}.mp4``. The numbers of its first
    entry are those of the archive without ``numbers``. ``first_discontinuity`` is added to the discontinuity sequence.
    Files without sound have ``silence``.
    """
    lines: list[str] = []
    head: list[str] = []
    init_id = ""
    for piece in pieces:
        segment = piece.segment
        url = f"{base}{segment.camera_id}/{segment.name}.mp4"
        filling = silence if segment.audio_codec is None else None
        is_first = True
        for number, part in enumerate(piece.parts, piece.number):
            part_start_90k = segment.start_90k + part.start_90k
            if not lines:
                head = _head(
                    numbers or Numbers(piece.first, segment.discontinuities),
                    first_discontinuity,
                    0 if start_90k is None else min(start_90k - part_start_90k, part.duration_90k),
                )
            elif is_first:
                lines.append("#EXT-X-DISCONTINUITY")
            if is_first and segment.init_id != init_id:
                # The range says nothing new, but FFmpeg keeps that of a segment for a later request without one.
                init_id = segment.init_id
                address, size = f"{base}{segment.camera_id}/init-{init_id}.mp4", segment.init_length
                if filling is not None:
                    address, size = f"{address}?silence={filling}", size + filling.init_bytes
                lines.append(f'#EXT-X-MAP:URI="{address}",BYTERANGE="{size}@0"')
            if is_first:
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{to_rfc3339(part_start_90k)}")
                is_first = False
            lines.append(f"#EXTINF:{part.duration_90k / CLOCK_RATE:.5f},")
            if filling is None:
                lines += [f"#EXT-X-BYTERANGE:{part.size}@{part.offset}", url]
            else:
                size = _size(segment, part, filling)
                lines += [f"#EXT-X-BYTERANGE:{size}@0", f"{url}?part={number}&silence={filling}"]
    if not lines:
        return None
    if is_ended:
        head.insert(2, "#EXT-X-PLAYLIST-TYPE:VOD")
        lines.append("#EXT-X-ENDLIST")
    return "\n".join([*head, *lines, ""])


def variant(
    own: Sequence[Piece],
    pieces: Sequence[Piece],
    uri: str,
    silence: Silence | None = None,
    iframes_uri: str | None = None,
) -> str | None:
    """The lines of a variant in a multivariant playlist; ``None`` without any pieces.

    ``own`` is what was recorded of its stream, ``pieces`` what its playlist has, with ``silence`` where there is no
    sound. ``iframes_uri`` is that of the playlist of its keyframes.
    """
    if not pieces:
        return None
    largest = max((piece.segment for piece in own or pieces), key=lambda segment: segment.width * segment.height)
    parts = [(_size(piece.segment, part, silence), part.duration_90k) for piece in pieces for part in piece.parts]
    duration_90k = sum(duration_90k for _, duration_90k in parts)
    codecs = dict.fromkeys(codec for piece in pieces for codec in piece.segment.codecs.split(","))
    if silence is not None and all(piece.segment.audio_codec is None for piece in pieces):
        codecs[CODEC_STRING] = None
    peak_bps = _peak_bps(parts)
    keyframes = ""
    if iframes_uri is not None:
        # The sizes of keyframes are not in the index. One that is shown until the next has fewer bytes than its GOP.
        codec = largest.codecs.partition(",")[0]
        keyframes = iframe_stream_inf(
            iframes_uri, peak_bps=peak_bps, codec=codec, width=largest.width, height=largest.height
        )
    return keyframes + stream_inf(
        uri,
        peak_bps=peak_bps,
        average_bps=sum(size for size, _ in parts) * 8 * CLOCK_RATE // max(1, duration_90k),
        codecs=",".join(codecs),
        width=largest.width,
        height=largest.height,
        frame_rate=float(largest.frame_rate),
    )


def _size(segment: Segment, part: HlsSegment, silence: Silence | None) -> int:
    """Bytes of an HLS segment in a playlist."""
    if silence is None or segment.audio_codec is not None:
        return part.size
    return part.size + silence.fragment_bytes(part.start_90k, part.end_90k)


def _peak_bps(parts: Sequence[tuple[int, int]]) -> int:
    """See :data:`PEAK_90K`; of all of it, where that is shorter. Of each part bytes, and ticks."""
    peak = size = duration_90k = first = 0
    for part_size, part_90k in parts:
        size += part_size
        duration_90k += part_90k
        while duration_90k - parts[first][1] >= PEAK_90K:
            size -= parts[first][0]
            duration_90k -= parts[first][1]
            first += 1
        if duration_90k >= PEAK_90K:
            peak = max(peak, size * 8 * CLOCK_RATE // duration_90k)
    return peak or size * 8 * CLOCK_RATE // max(1, duration_90k)


def _head(numbers: Numbers, first_discontinuity: int, offset_90k: int) -> list[str]:
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{HLS_TARGET_S}",
        f"#EXT-X-MEDIA-SEQUENCE:{numbers.media_sequence}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{first_discontinuity + numbers.discontinuities}",
    ]
    if offset_90k > 0:
        head.append(f"#EXT-X-START:TIME-OFFSET={offset_90k / CLOCK_RATE:.3f},PRECISE=YES")
    return head
