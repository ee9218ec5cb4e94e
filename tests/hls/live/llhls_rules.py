"""The rules of LL-HLS as assertions: one for each MUST and SHOULD that a live media playlist can keep or break.

Sections are those of draft-pantos-hls-rfc8216bis-22. There are four kinds of rules: for one playlist (:func:`check`),
for two in a row (:class:`Watch`), for the media behind them (:func:`check_media`) and for a playlist and its delta
update (:func:`check_delta`). Nothing here knows how liveedge makes a playlist: it reads text, and could read another
server's. A broken rule is a :class:`RuleBroken` that names its section.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

EPSILON = 1e-4
"""Durations are written with five decimals."""


class RuleBroken(AssertionError):  # noqa: N818  (a finding, not a fault)
    """What was broken, with its section first."""


@dataclass(frozen=True)
class Part:
    duration: float
    uri: str
    independent: bool
    gap: bool


@dataclass
class Segment:
    """One segment; the open one at the end has no ``uri``."""

    msn: int
    discontinuity: int
    starts_discontinuity: bool = False
    map_uri: str | None = None
    date: datetime | None = None
    parts: list[Part] = field(default_factory=list)
    gap: bool = False
    duration: float = 0.0
    uri: str | None = None

    @property
    def lasts(self) -> float:
        return self.duration if self.uri else sum(part.duration for part in self.parts)


@dataclass
class Playlist:
    """A live media playlist, as read."""

    text: str
    tags: list[str]
    version: int
    target: int
    media_sequence: int
    discontinuity_sequence: int | None
    part_target: float
    control: dict[str, str]
    segments: list[Segment]
    skipped: int
    hints: list[dict[str, str]]
    reports: list[dict[str, str]]

    @property
    def complete(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.uri]

    @property
    def duration(self) -> float:
        return sum(segment.lasts for segment in self.segments)

    @property
    def edge(self) -> tuple[int, int]:
        """Media sequence number and index of the newest part, or of the end of the newest segment."""
        last = self.segments[-1]
        return (last.msn, len(last.parts))


_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\n\r]*"|[^,\s"]+)(?:,|$)')


def attributes(text: str) -> dict[str, str]:
    """An attribute list (§4.2)."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _ATTRIBUTE.match(text, at)
        _that(match is not None, "4.2", f"{text!r} is no attribute list")
        assert match is not None
        _that(match[1] not in found, "4.2", f"attribute {match[1]} is there twice")
        found[match[1]] = match[2].strip('"')
        at = match.end()
    return found


def parse(text: str) -> Playlist:
    """Read a live media playlist, strictly."""
    lines = text.split("\n")
    _that(lines[0] == "#EXTM3U", "4.4.1.1", "EXTM3U MUST be the first line")
    _that(lines[-1] == "", "4.1", "a line MUST end with a line feed")
    single: dict[str, str] = {}
    segments: list[Segment] = []
    hints: list[dict[str, str]] = []
    reports: list[dict[str, str]] = []
    tags: list[str] = []
    skipped, map_uri = 0, None
    current: Segment | None = None

    def segment() -> Segment:
        nonlocal current
        if current is None:
            first = int(single.get("#EXT-X-MEDIA-SEQUENCE", "0"))
            before = segments[-1].discontinuity if segments else int(single.get("#EXT-X-DISCONTINUITY-SEQUENCE", "0"))
            current = Segment(first + skipped + len(segments), before, map_uri=map_uri)
            segments.append(current)
        return current

    for line in lines[1:-1]:
        _that(line == line.strip() and line != "", "4.1", f"stray white space: {line!r}")
        if not line.startswith("#"):
            _that(current is not None and current.duration > 0, "4.4.4.1", f"EXTINF is REQUIRED for {line}")
            segment().uri, current = line, None
            continue
        name, _, value = line.partition(":")
        tags.append(name)
        if name == "#EXTINF":
            segment().duration = float(value.partition(",")[0])
        elif name == "#EXT-X-PART":
            given = attributes(value)
            independent, gap = given.get("INDEPENDENT") == "YES", given.get("GAP") == "YES"
            segment().parts.append(Part(float(given["DURATION"]), given["URI"], independent, gap))
        elif name == "#EXT-X-GAP":
            segment().gap = True
        elif name == "#EXT-X-DISCONTINUITY":
            _that(not segment().parts, "4.4.4.9", "DISCONTINUITY MUST precede the first PART of its segment")
            segment().starts_discontinuity = True
            segment().discontinuity += 1
        elif name == "#EXT-X-MAP":
            _that(not segment().parts, "4.4.4.9", "MAP MUST precede the first PART of its segment")
            segment().map_uri = map_uri = attributes(value)["URI"]
        elif name == "#EXT-X-PROGRAM-DATE-TIME":
            _that(not segment().parts, "4.4.4.9", "PROGRAM-DATE-TIME MUST precede the first PART of its segment")
            _that(re.search(r"\.\d{3}(Z|[+-]\d\d:\d\d)$", value) is not None, "4.4.4.6", "ms and zone SHOULD exist")
            segment().date = datetime.fromisoformat(value)
        elif name == "#EXT-X-SKIP":
            _that(not segments, "4.4.5.2", "SKIP replaces the first segments")
            skipped = int(attributes(value)["SKIPPED-SEGMENTS"])
        elif name == "#EXT-X-PRELOAD-HINT":
            hints.append(attributes(value))
        elif name == "#EXT-X-RENDITION-REPORT":
            reports.append(attributes(value))
        else:
            _that(name not in single, "4.4", f"{name} MUST NOT appear more than once")
            single[name] = value
    return Playlist(
        text=text,
        tags=tags,
        version=int(single.get("#EXT-X-VERSION", "1")),
        target=int(single.get("#EXT-X-TARGETDURATION", "-1")),
        media_sequence=int(single.get("#EXT-X-MEDIA-SEQUENCE", "0")),
        discontinuity_sequence=(
            int(single["#EXT-X-DISCONTINUITY-SEQUENCE"]) if "#EXT-X-DISCONTINUITY-SEQUENCE" in single else None
        ),
        part_target=float(attributes(single.get("#EXT-X-PART-INF", "PART-TARGET=-1"))["PART-TARGET"]),
        control=attributes(single.get("#EXT-X-SERVER-CONTROL", "")),
        segments=segments,
        skipped=skipped,
        hints=hints,
        reports=reports,
    )


def _that(holds: bool, section: str, sentence: str) -> None:
    if not holds:
        raise RuleBroken(f"§{section}: {sentence}")


# --- one playlist

Rule = Callable[[Playlist], tuple[bool, str]]
RULES: list[tuple[str, str, Rule]] = []


def rule(section: str, sentence: str) -> Callable[[Rule], Rule]:
    """A rule for one playlist: whether it holds, and what was seen."""

    def add(function: Rule) -> Rule:
        RULES.append((section, sentence, function))
        return function

    return add


def check(playlist: Playlist) -> None:
    """Every rule for one playlist."""
    for section, sentence, function in RULES:
        holds, seen = function(playlist)
        if not holds:
            raise RuleBroken(f"§{section}: {sentence}: {seen}")


@rule("4.1", "a playlist MUST NOT hold control characters or a byte order mark")
def _plain(playlist: Playlist) -> tuple[bool, str]:
    found = re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ufeff]", playlist.text)
    return found is None, repr(found)


@rule("4.4.1.2", "the version MUST be at least what the tags need, and (6.2.1) SHOULD NOT be more")
def _version(playlist: Playlist) -> tuple[bool, str]:
    needed = 9 if playlist.skipped else 6
    return playlist.version == needed, str(playlist.version)


@rule("4.4.3.1", "TARGETDURATION is REQUIRED, and each EXTINF, rounded, MUST be no more")
def _target(playlist: Playlist) -> tuple[bool, str]:
    longest = max((segment.duration for segment in playlist.complete), default=0.0)
    return playlist.target > 0 and round(longest) <= playlist.target, f"{longest} > {playlist.target}"


@rule("4.4.3.7", "PART-INF with PART-TARGET is REQUIRED with parts")
def _part_inf(playlist: Playlist) -> tuple[bool, str]:
    return playlist.part_target > 0, "none"


@rule("4.4.3.8", "PART-HOLD-BACK is REQUIRED with parts, and SHOULD be at least three part targets")
def _part_hold_back(playlist: Playlist) -> tuple[bool, str]:
    seen = playlist.control.get("PART-HOLD-BACK", "0")
    return float(seen) >= 3 * playlist.part_target - EPSILON, seen


@rule("4.4.3.8", "HOLD-BACK MUST be at least three target durations")
def _hold_back(playlist: Playlist) -> tuple[bool, str]:
    seen = playlist.control.get("HOLD-BACK", str(3 * playlist.target))
    return float(seen) >= 3 * playlist.target, seen


@rule("4.4.3.8", "CAN-SKIP-UNTIL MUST be at least six target durations")
def _skip_until(playlist: Playlist) -> tuple[bool, str]:
    seen = playlist.control.get("CAN-SKIP-UNTIL", str(6 * playlist.target))
    return float(seen) >= 6 * playlist.target, seen


@rule("B.1", "the low-latency profile MUST offer blocking reload")
def _blocks(playlist: Playlist) -> tuple[bool, str]:
    return playlist.control.get("CAN-BLOCK-RELOAD") == "YES", str(playlist.control)


@rule("6.2.2", "a live playlist MUST NOT have PLAYLIST-TYPE")
def _no_type(playlist: Playlist) -> tuple[bool, str]:
    return "#EXT-X-PLAYLIST-TYPE" not in playlist.tags, "there is one"


@rule("6.2.2", "MEDIA-SEQUENCE MUST be there if segments are removed, DISCONTINUITY-SEQUENCE if discontinuities are")
def _sequences(playlist: Playlist) -> tuple[bool, str]:
    needed = {"#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE"}
    return needed <= set(playlist.tags), str(needed - set(playlist.tags))


@rule("4.4.4.9", "a part MUST NOT be longer than the part target")
def _part_at_most(playlist: Playlist) -> tuple[bool, str]:
    longest = max((part.duration for each in playlist.segments for part in each.parts), default=0.0)
    return longest <= playlist.part_target + EPSILON, f"{longest} > {playlist.part_target}"


@rule("4.4.4.9", "a part MUST be 85 % of the part target, unless independent, a gap, before a gap, or the last one")
def _part_at_least(playlist: Playlist) -> tuple[bool, str]:
    least = 0.85 * playlist.part_target - EPSILON
    for segment in playlist.segments:
        for index, part in enumerate(segment.parts):
            is_last = segment.uri is not None and index == len(segment.parts) - 1
            before_gap = index + 1 < len(segment.parts) and segment.parts[index + 1].gap
            if not (part.duration >= least or part.independent or part.gap or before_gap or is_last):
                return False, f"{part} of segment {segment.msn}"
    return True, ""


@rule("4.4.4.9", "the parts of a segment add up to it")
def _parts_add_up(playlist: Playlist) -> tuple[bool, str]:
    for segment in playlist.complete:
        total = sum(part.duration for part in segment.parts)
        if segment.parts and abs(total - segment.duration) > EPSILON * (1 + len(segment.parts)):
            return False, f"segment {segment.msn}: {total} and {segment.duration}"
    return True, ""


@rule("4.4.4.9", "URIs of parts and segments name one thing each")
def _unique(playlist: Playlist) -> tuple[bool, str]:
    uris = [part.uri for segment in playlist.segments for part in segment.parts]
    uris += [segment.uri for segment in playlist.complete if segment.uri]
    return len(set(uris)) == len(uris), "twice the same"


@rule("4.4.4.5", "MAP MUST apply to each segment of fragmented MP4")
def _maps(playlist: Playlist) -> tuple[bool, str]:
    without = [segment.msn for segment in playlist.segments if segment.map_uri is None]
    return playlist.skipped > 0 or not without, str(without)


@rule("6.2.1", "a change of encoding parameters MUST have a DISCONTINUITY")
def _map_changes(playlist: Playlist) -> tuple[bool, str]:
    for before, after in zip(playlist.segments, playlist.segments[1:], strict=False):
        if before.map_uri != after.map_uri and not after.starts_discontinuity:
            return False, f"segment {after.msn} has another MAP"
    return True, ""


@rule("6.2.1", "PROGRAM-DATE-TIME SHOULD be on each segment with a DISCONTINUITY; the profile wants it on all")
def _dated(playlist: Playlist) -> tuple[bool, str]:
    without = [segment.msn for segment in playlist.segments if segment.date is None]
    return not without, str(without)


@rule(
    "6.2.1", "PROGRAM-DATE-TIME MUST NOT map a date to two places, but for an overlap of less than a second or a step"
)
def _unambiguous(playlist: Playlist) -> tuple[bool, str]:
    for before, after in zip(playlist.segments, playlist.segments[1:], strict=False):
        assert before.date is not None
        assert after.date is not None
        if after.starts_discontinuity:
            continue
        step = (after.date - before.date).total_seconds()
        if step <= 0 or step < before.lasts - 1:
            return False, f"{before.date} + {before.lasts} s, then {after.date}"
    return True, ""


@rule("6.2.1", "gap segments MUST have EXT-X-GAP, and their parts GAP=YES")
def _gaps(playlist: Playlist) -> tuple[bool, str]:
    for segment in playlist.segments:
        gaps = {part.gap for part in segment.parts}
        if len(gaps) > 1 or (segment.uri and segment.parts and gaps != {segment.gap}):
            return False, f"segment {segment.msn}: {gaps} and {segment.gap}"
    return True, ""


@rule("6.2.2", "PART tags SHOULD go when three target durations from the end")
def _parts_at_the_edge(playlist: Playlist) -> tuple[bool, str]:
    distance = 0.0
    for segment in reversed(playlist.segments):
        if segment.parts and distance > 3 * playlist.target + EPSILON:
            return False, f"segment {segment.msn} is {distance} s from the end"
        distance += segment.lasts
    return True, ""


@rule("6.2.2", "PART tags are there at the live edge, if the last segment is not whole")
def _has_parts(playlist: Playlist) -> tuple[bool, str]:
    last = playlist.segments[-1] if playlist.segments else None
    return last is not None and bool(last.parts or last.uri), "the last segment has none"


@rule("6.2.6", "there SHOULD NOT be more than one PRELOAD-HINT of a type, and there is one after an open segment")
def _one_hint(playlist: Playlist) -> tuple[bool, str]:
    is_open = not playlist.segments or playlist.segments[-1].uri is None
    allowed = [["PART"]] if is_open else [["PART"], []]
    return [hint.get("TYPE") for hint in playlist.hints] in allowed, str(playlist.hints)


@rule("4.4.5.4", "RENDITION-REPORT has a relative URI, LAST-MSN, and LAST-PART where there are parts")
def _reports(playlist: Playlist) -> tuple[bool, str]:
    uris = [report.get("URI", "") for report in playlist.reports]
    are_complete = all({"URI", "LAST-MSN", "LAST-PART"} <= report.keys() for report in playlist.reports)
    are_relative = not any(":" in uri or uri.startswith("/") for uri in uris)
    return are_complete and are_relative and len(set(uris)) == len(uris), str(playlist.reports)


# --- playlists in a row


@dataclass
class Watch:
    """What a client sees who reloads: each playlist is checked by itself and against the one before.

    ``punctual_s``: how late a part may be published. A test in which the camera is away sets ``edge_s`` and
    ``segment_s`` to the time at which it is back.
    """

    punctual_s: float
    last: Playlist | None = None
    last_s: float = 0.0
    edge_s: float = 0.0
    segment_s: float = 0.0
    names: dict[str, str] = field(default_factory=dict)

    def see(self, text: str, now_s: float) -> Playlist:
        """The next playlist, at a time in seconds."""
        after = parse(text)
        check(after)
        before, self.last = self.last, after
        if before is not None:
            self._compare(before, after, now_s)
        else:
            self.edge_s = self.segment_s = now_s
        self.last_s = now_s
        return after

    def _compare(self, before: Playlist, after: Playlist, now_s: float) -> None:
        _that(after.target == before.target, "6.2.1", "TARGETDURATION MUST NOT change")
        _that(after.part_target == before.part_target, "6.2.1", "PART-INF MUST NOT change")
        _that(after.control == before.control, "6.2.1", "SERVER-CONTROL MUST NOT change")
        _that(after.media_sequence >= before.media_sequence, "6.2.2", "MEDIA-SEQUENCE MUST NOT decrease")
        first, then = before.discontinuity_sequence or 0, after.discontinuity_sequence or 0
        _that(then >= first, "6.2.2", "DISCONTINUITY-SEQUENCE MUST NOT decrease")
        _that(after.edge >= before.edge, "6.2.1", "nothing but the oldest MUST be removed")
        known = {segment.msn: segment for segment in before.segments}
        for segment in after.segments:
            if segment.msn in known:
                self._same(known[segment.msn], segment)
        is_afresh = after.media_sequence > before.edge[0]
        if is_afresh:
            _that(after.segments[0].starts_discontinuity, "6.2.2", "a fresh window MUST begin with a discontinuity")
        if after.media_sequence > before.media_sequence and not is_afresh:
            _that(
                after.duration >= 3 * after.target - EPSILON,
                "6.2.2",
                f"removal MUST leave three target durations, and left {after.duration}",
            )
        hint = before.hints[0]["URI"] if before.hints else None
        if hint is not None and after.edge > before.edge and not is_afresh and now_s - self.last_s < 2 * after.target:
            # A later client may not see its PART tag any more.
            new = [part.uri for segment in after.segments for part in segment.parts]
            newer = sum(segment.lasts for segment in after.segments if segment.msn > before.segments[-1].msn)
            is_listed = hint in new or newer > 3 * after.target
            _that(is_listed, "4.4.5.3", f"the hinted part {hint} SHOULD be the one that comes")
        self._punctual(before, after, now_s)

    def _same(self, before: Segment, after: Segment) -> None:
        """A segment may gain parts, lose all its PART tags and become complete; else it MUST NOT change (§6.2.1)."""
        where = f"segment {after.msn}"
        _that(before.discontinuity == after.discontinuity, "6.2.2", f"{where}: its discontinuity number MUST remain")
        _that(before.starts_discontinuity == after.starts_discontinuity, "6.2.1", f"{where}: DISCONTINUITY changed")
        _that(before.map_uri == after.map_uri, "6.2.1", f"{where}: MAP changed")
        _that(before.date == after.date, "6.2.1", f"{where}: PROGRAM-DATE-TIME changed")
        if before.uri is not None:
            same = (before.uri, before.duration, before.gap) == (after.uri, after.duration, after.gap)
            _that(same, "6.2.1", f"{where}: it changed though complete")
        if after.parts:
            _that(after.parts[: len(before.parts)] == before.parts, "6.2.1", f"{where}: its parts changed")

    def _punctual(self, before: Playlist, after: Playlist, now_s: float) -> None:
        if after.edge > before.edge:
            late = now_s - self.edge_s
            limit = after.part_target + self.punctual_s
            _that(late <= limit, "6.2.1", f"a part MUST follow within the part target: it took {late:.3f} s")
            self.edge_s = now_s
        if after.complete[-1].msn > before.complete[-1].msn:
            late = now_s - self.segment_s
            limit = 1.5 * after.target + self.punctual_s
            _that(late <= limit, "6.2.1", f"a segment MUST follow within 1.5 target durations: it took {late:.3f} s")
            self.segment_s = now_s


def check_delta(full: Playlist, delta: Playlist) -> None:
    """A delta update against the whole playlist of the same moment (§6.2.5.1)."""
    check(delta)
    _that(delta.media_sequence == full.media_sequence, "4.4.5.2", "a delta update has the same MEDIA-SEQUENCE")
    boundary = float(full.control["CAN-SKIP-UNTIL"])
    distance = sum(segment.lasts for segment in full.complete)
    may_skip = 0
    for segment in full.complete:
        distance -= segment.lasts
        if distance <= boundary + EPSILON:
            break
        may_skip += 1
    _that(delta.skipped == may_skip, "6.2.5.1", f"{may_skip} segments lie beyond the skip boundary: {delta.skipped}")
    expected = [(each.msn, each.uri, each.parts, each.date, each.gap) for each in full.segments[may_skip:]]
    seen = [(each.msn, each.uri, each.parts, each.date, each.gap) for each in delta.segments]
    _that(seen == expected, "6.2.5.1", "all that is not skipped MUST remain")
    _that(delta.hints == full.hints, "6.2.5.1", "all tags that are not skipped MUST remain")


def check_media(playlist: Playlist, fetch: Callable[[str], bytes | None]) -> None:
    """What is behind the URIs: it is there, parts make their segment, and durations are true."""
    for segment in playlist.segments:
        parts = [fetch(part.uri) for part in segment.parts if not part.gap]
        _that(all(parts), "6.2.1", f"segment {segment.msn}: a part MUST be available when it is listed")
        if segment.map_uri is not None:
            init = fetch(segment.map_uri)
            _that(init is not None and init[4:8] == b"ftyp", "4.4.4.5", "MAP MUST name an init segment")
        for listed, data in zip((part for part in segment.parts if not part.gap), parts, strict=True):
            assert data is not None
            lasts = video_duration_90k(data) / 90_000
            _that(abs(lasts - listed.duration) <= EPSILON, "4.4.4.9", f"{listed.uri} lasts {lasts} s, says {listed}")
        if segment.gap or not segment.uri:
            continue
        whole = fetch(segment.uri)
        _that(bool(whole), "6.2.1", f"segment {segment.msn} MUST be available when it is listed")
        if parts:
            joined = b"".join(part for part in parts if part)
            _that(joined == whole, "4.4.4.9", f"segment {segment.msn} and its parts MUST hold the same")


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes of a piece of MP4: type and payload."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def video_duration_90k(fragment: bytes) -> int:
    """What the samples of track 1 say that they last, in 90 kHz."""
    total = 0
    for moof in (payload for name, payload in boxes(fragment) if name == b"moof"):
        for traf in (payload for name, payload in boxes(moof) if name == b"traf"):
            header = next(payload for name, payload in boxes(traf) if name == b"tfhd")
            if int.from_bytes(header[4:8], "big") == 1:
                total += _trun_duration(traf, header)
    return total


def _trun_duration(traf: bytes, header: bytes) -> int:
    header_flags = int.from_bytes(header[1:4], "big")
    at = 8 + 8 * bool(header_flags & 0x1) + 4 * bool(header_flags & 0x2)
    default = int.from_bytes(header[at : at + 4], "big") if header_flags & 0x8 else 0
    total = 0
    for run in (payload for name, payload in boxes(traf) if name == b"trun"):
        flags, count = int.from_bytes(run[1:4], "big"), int.from_bytes(run[4:8], "big")
        if not flags & 0x100:
            total += count * default
            continue
        at = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
        stride = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
        total += sum(int.from_bytes(run[at + n * stride : at + n * stride + 4], "big") for n in range(count))
    return total
