"""Merge the playlists of a recording that several nodes have made into one. Sans-IO.

Each node lists its own files (:mod:`hls.playback.dvr`). A segment is in the merged playlist where its file counts in
the index of all recordings, in the order of time.

Rules (sections of rfc8216bis):

1. Where one node's files follow another's, there is an EXT-X-DISCONTINUITY, and the EXT-X-MAP and the date of what
   follows (§4.4.4.3).
2. The numbers of the first segment are those of its node; those that follow are counted (§4.4.3.2). What a node that
   does not record any more has listed stays the same, so a playlist that goes on only grows at its end.
3. It goes on while one of them does.
4. Of multivariant playlists, each variant is that of the node with the most bits of it. The addresses in it name no
   node, so that what they refer to is merged as well.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import LiveedgeError
from gateway.times import parse_time

ENDED = ("#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-ENDLIST")

_VARIANT = re.compile(
    r"(?:#EXT-X-I-FRAME-STREAM-INF:.*\n)?#EXT-X-STREAM-INF:BANDWIDTH=(?P<bps>\d+).*\n.*[?&]prefer=(?P<stream>\w+).*\n"
)

_NODE = re.compile(r"(?<=[?&])node=[^&\"\n]*&?")

_SEGMENT = re.compile(r"/(segment_[^/.?]+)\.mp4")

Counts = Callable[[str, str, int], bool]
"""Whether what a node has of a segment (its name) counts at a moment (90 kHz)."""


@dataclass(slots=True)
class _Item:
    node: str
    start_90k: int
    lines: list[str] = field(default_factory=list)
    map: str = ""
    begins_file: bool = False
    before: int = 0
    """Discontinuities before it in the playlist of its node, with its own."""
    number: int = 0


def merge_playlists(texts: Mapping[str, str], counts: Counts) -> str | None:
    """The playlist of several, by the name of the node of each; ``None`` if nothing in them counts."""
    heads: dict[str, list[str]] = {}
    items: list[_Item] = []
    for node, text in texts.items():
        heads[node], own = _parse(node, text)
        items += own
    items = sorted((each for each in items if _counts(each, counts)), key=lambda each: (each.start_90k, each.node))
    if not items:
        return None
    first = items[0]
    is_ended = all(ENDED[1] in text for text in texts.values())
    lines = [line for line in heads[first.node] if is_ended or line != ENDED[0]]
    lines = [_numbered(line, first) for line in lines]
    before: _Item | None = None
    for item in items:
        changes = before is None or before.node != item.node
        if before is not None and (changes or item.begins_file):
            lines.append("#EXT-X-DISCONTINUITY")
        if before is None or changes or before.map != item.map:
            lines.append(item.map)
        if changes or item.begins_file:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{to_rfc3339(item.start_90k)}")
        lines += item.lines
        before = item
    if is_ended:
        lines.append(ENDED[1])
    return "\n".join([*lines, ""])


def merge_variants(texts: Iterable[str]) -> str | None:
    """The multivariant playlist of several; ``None`` if none of them is one."""
    best: dict[str, re.Match[str]] = {}
    for match in (match for text in texts for match in _VARIANT.finditer(text)):
        before = best.get(match["stream"])
        if before is None or int(before["bps"]) < int(match["bps"]):
            best[match["stream"]] = match
    return "#EXTM3U\n" + "".join(_NODE.sub("", best[name][0]) for name in sorted(best)) if best else None


def without_end(text: str) -> str:
    """A playlist that goes on: a node has recorded nothing yet."""
    return "".join(line for line in text.splitlines(keepends=True) if line.rstrip() not in ENDED)


def _counts(item: _Item, counts: Counts) -> bool:
    match = _SEGMENT.search(item.lines[-1])
    return match is None or counts(item.node, match[1], item.start_90k)


def _numbered(line: str, first: _Item) -> str:
    """A line of the head, with the numbers of the first segment."""
    name, _, value = line.partition(":")
    if name == "#EXT-X-MEDIA-SEQUENCE":
        return f"{name}:{int(value) + first.number}"
    if name == "#EXT-X-DISCONTINUITY-SEQUENCE":
        return f"{name}:{int(value) + first.before}"
    return line


def _parse(node: str, text: str) -> tuple[list[str], list[_Item]]:
    head: list[str] = []
    items: list[_Item] = []
    map_, lines, at_90k, begins_file, discontinuities = "", list[str](), 0, False, 0
    for line in text.splitlines():
        if line in ("", ENDED[1]):
            continue
        if line.startswith("#EXT-X-MAP"):
            map_ = line
        elif line == "#EXT-X-DISCONTINUITY":
            discontinuities += 1
            begins_file = True
        elif line.startswith("#EXT-X-PROGRAM-DATE-TIME:"):
            try:
                at_90k = parse_time(line.partition(":")[2], "date")
            except LiveedgeError:
                continue
        elif line.startswith(("#EXTINF:", "#EXT-X-BYTERANGE:")):
            lines.append(line)
        elif line.startswith("#"):
            head.append(line)
        else:
            lines.append(line)
            items.append(_Item(node, at_90k, lines, map_, begins_file, discontinuities, len(items)))
            at_90k += round(float(lines[0].removeprefix("#EXTINF:").rstrip(",")) * CLOCK_RATE)
            lines, begins_file = [], False
    return head, items
