"""The text of live playlists, tag by tag. Sections are those of draft-pantos-hls-rfc8216bis.

Durations are written in seconds with five decimals, which is finer than a tick of 90 kHz, so they are exact. URIs are
relative to the playlist.
"""

import gzip
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gateway.clock import CLOCK_RATE, to_rfc3339, to_seconds
from gateway.media import StreamInfo
from hls.live.segment import LiveSegment
from hls.parts.target_duration import TargetDurations
from hls.stream_inf import stream_inf

CONTENT_TYPE = "application/vnd.apple.mpegurl"

LIVE_NAME = "live.m3u8"
"""The live media playlist of the main stream, beside the multivariant one."""

SUB_LIVE_NAME = f"sub/{LIVE_NAME}"
"""That of the sub stream: in a folder, so that its media have names of their own."""

QUERIES_MAX = 64
"""Renderings of one playlist with a query that are kept. It is current for one part, and each viewer asks once or
twice."""

FULL_VERSION = 6
"""EXT-X-MAP in a playlist that is not of I-frames only (§8)."""

DELTA_VERSION = 9
"""EXT-X-SKIP (§8)."""

SKIP_TARGETS = 6
"""CAN-SKIP-UNTIL in target durations: the least that is allowed (§4.4.3.8)."""

PART_TARGETS = 3
"""PART tags are listed for so many target durations from the end (§6.2.2)."""

HOLD_BACK_TARGETS = 3
"""HOLD-BACK in target durations, the least that is allowed, and PART-HOLD-BACK in part targets, the least that is
recommended (§4.4.3.8). hls.js begins up to a part further behind and stays there, so more would cost a second."""


_ADDRESS = re.compile(r'(?P<tag>URI="[^"?]*)(?P<tag_query>\?)?|(?m:^(?P<line>[^#\s?][^?\s]*)(?P<line_query>\?)?)')
"""A URI, in a tag or on its own line, up to its query."""


def with_query(text: str, query: str) -> str:
    """The playlist with ``query`` (``name=value``) as the first parameter of every URI; unchanged if it is empty."""
    if not query:
        return text
    return _ADDRESS.sub(lambda match: f"{match[1] or match[3]}?{query}{'&' if match[2] or match[4] else ''}", text)


def seconds(ticks_90k: int) -> str:
    """A duration in the playlist's notation."""
    return f"{to_seconds(ticks_90k):.5f}"


def header(targets: TargetDurations, version: int, media_sequence: int, discontinuity_sequence: int) -> str:
    """Everything before the first segment of a live media playlist."""
    return (
        "#EXTM3U\n"
        f"#EXT-X-VERSION:{version}\n"
        f"#EXT-X-TARGETDURATION:{targets.target_duration_s}\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES"
        f",CAN-SKIP-UNTIL={SKIP_TARGETS * targets.target_duration_s}"
        f",HOLD-BACK={HOLD_BACK_TARGETS * targets.target_duration_s}"
        f",PART-HOLD-BACK={seconds(HOLD_BACK_TARGETS * targets.part_target_90k)}\n"
        f"#EXT-X-PART-INF:PART-TARGET={seconds(targets.part_target_90k)}\n"
        f"#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n"
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}\n"
    )


def skip(segments: int) -> str:
    """The tag in place of the first ``segments`` segments of a delta update (§4.4.5.2)."""
    return f"#EXT-X-SKIP:SKIPPED-SEGMENTS={segments}\n"


def segment_head(captured_at_90k: int, *, is_discontinuity: bool) -> str:
    """The tags before the first part of a segment (§4.4.4.9), except its map."""
    mark = "#EXT-X-DISCONTINUITY\n" if is_discontinuity else ""
    return f"{mark}#EXT-X-PROGRAM-DATE-TIME:{to_rfc3339(captured_at_90k)}\n"


def media_map(uri: str) -> str:
    """The init segment of the segments that follow (§4.4.4.5)."""
    return f'#EXT-X-MAP:URI="{uri}"\n'


def part(uri: str, duration_90k: int, *, is_independent: bool) -> str:
    """One partial segment (§4.4.4.9)."""
    independent = ",INDEPENDENT=YES" if is_independent else ""
    return f'#EXT-X-PART:DURATION={seconds(duration_90k)},URI="{uri}"{independent}\n'


def segment_tail(uri: str, duration_90k: int) -> str:
    """The lines that complete a segment, after its parts (§4.4.4.1)."""
    return f"#EXTINF:{seconds(duration_90k)},\n{uri}\n"


def segments(listed: Sequence[LiveSegment], skipped: int, target_duration_90k: int) -> str:
    """The segments of a media playlist, oldest first; the last one may be open. The first ``skipped`` are skipped."""
    lines = [skip(skipped)] if skipped else []
    remaining_90k = sum(segment.duration_90k for segment in listed)
    parts_from_90k = PART_TARGETS * target_duration_90k
    init_name = ""
    for index, segment in enumerate(listed):
        remaining_90k -= segment.duration_90k
        is_new_map = segment.init_name != init_name or segment.is_discontinuity
        init_name = segment.init_name
        if index < skipped:
            continue
        lines.append(segment.head)
        if is_new_map:
            lines.append(media_map(init_name))
        if remaining_90k < parts_from_90k:
            lines.extend(each.line for each in segment.parts)
        lines.append(segment.tail)
    return "".join(lines)


def preload_hint(uri: str) -> str:
    """The next part (§4.4.5.3)."""
    return f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{uri}"\n'


def rendition_report(uri: str, last_msn: int, last_part: int) -> str:
    """The newest part of the camera's other media playlist (§4.4.5.4)."""
    return f'#EXT-X-RENDITION-REPORT:URI="{uri}",LAST-MSN={last_msn},LAST-PART={last_part}\n'


@dataclass(frozen=True, slots=True)
class Variant:
    """What a multivariant playlist says of one media playlist. Rates are those of its segments."""

    info: StreamInfo
    frame_rate: float
    peak_bps: int
    average_bps: int

    @classmethod
    def of(cls, shown: Sequence[LiveSegment], frame_90k: int) -> "Variant":
        """That of these segments. ``frame_90k``: how long frames last, where the stream does not say it."""
        info = shown[-1].muxer.info
        size = sum(segment.size for segment in shown)
        return cls(
            info,
            frame_rate=float(info.video.frame_rate or CLOCK_RATE / frame_90k),
            peak_bps=max(segment.size * 8 * CLOCK_RATE // segment.duration_90k for segment in shown),
            average_bps=size * 8 * CLOCK_RATE // sum(segment.duration_90k for segment in shown),
        )


def multivariant(variants: Sequence[tuple[Variant, str]]) -> str:
    """The variants with their media playlists (§4.4.6.2). Each contains the audio."""
    lines = ["#EXTM3U\n"]
    for variant, uri in variants:
        video, audio = variant.info.video, variant.info.audio
        codecs = video.codec_string + (f",{audio.codec_string}" if audio is not None else "")
        lines.append(
            stream_inf(
                uri,
                peak_bps=variant.peak_bps,
                average_bps=variant.average_bps,
                codecs=codecs,
                width=video.width,
                height=video.height,
                frame_rate=variant.frame_rate,
            )
        )
    return "".join(lines)


class Rendered:
    """An encoded playlist."""

    def __init__(self, text: str) -> None:
        self.body = text.encode()
        self._with_query: OrderedDict[str, Rendered] = OrderedDict()

    @cached_property
    def gzipped(self) -> bytes:
        """The playlist, gzip-encoded on first use."""
        return gzip.compress(self.body, compresslevel=4, mtime=0)

    def with_query(self, query: str) -> "Rendered":
        """The playlist with ``query`` in every URI, made once per query; itself without one."""
        if not query:
            return self
        rendered = self._with_query.get(query)
        if rendered is None:
            rendered = self._with_query[query] = Rendered(with_query(self.body.decode(), query))
            if len(self._with_query) > QUERIES_MAX:
                self._with_query.popitem(last=False)
        return rendered
