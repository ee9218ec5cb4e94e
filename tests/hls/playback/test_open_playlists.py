"""Playlists that are loaded again while the clock is set, and recordings are lost and deleted (RFC 8216 §6.2.1).

A model of the archive: the table is the real one, in SQLite, and the files are not there. Times are seconds.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError, UnavailableError
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import HLS_SEGMENT_MIN_S, HLS_TARGET_S
from hls.archive.recording import SequenceNumbers
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.archive.service import Archive
from hls.archive.table import SegmentTable
from hls.playback.playlists import PlaylistRequest, Playlists
from hls.playback.rendition_merge import parse_past
from tests.support.manual_clock import ManualClock

MAIN, SUB = RenditionName.MAIN, RenditionName.SUB
T0_S = 1_764_000_000
CAMERAS = count()

EVENTS = st.sampled_from(["main", "sub", "main", "sub", "cut", "step"])

Entry = tuple[str, str]
"""The address and the range of an HLS segment."""


class Index:
    """The real table, called at once."""

    def __init__(self, table: SegmentTable) -> None:
        self._table = table

    async def hls_span(self, *args: Any) -> Any:
        return self._table.hls_span(*args)

    async def hls_before(self, *args: Any) -> Any:
        return self._table.hls_before(*args)

    async def newest_with_sound(self, *args: Any) -> Any:
        return self._table.newest_with_sound(*args)


@dataclass
class Stream:
    """The recorder of one stream, and all that it has on disk."""

    numbers: SequenceNumbers = field(default_factory=SequenceNumbers)
    growing: Segment | None = None
    files: list[tuple[Segment, tuple[Fragment, ...]]] = field(default_factory=list)


@dataclass
class Player:
    """A player and what it saw last: numbers and entries."""

    request: PlaylistRequest
    seen: dict[int, Entry] = field(default_factory=dict)
    has_deleted: bool = False
    """Retention has deleted something since then."""


def fragments_of(seconds: int) -> tuple[Fragment, ...]:
    """One of each HLS segment; the last one is whatever is left."""
    starts = range(0, seconds, HLS_SEGMENT_MIN_S)
    return tuple(
        Fragment(1000 + 100 * n, 100, at * CLOCK_RATE, min(HLS_SEGMENT_MIN_S, seconds - at) * CLOCK_RATE, 4, True)
        for n, at in enumerate(starts)
    )


def entries(text: str) -> dict[int, Entry]:
    """The entries of a media playlist by their numbers."""
    found = re.search(r"MEDIA-SEQUENCE:(\d+)", text)
    assert found is not None
    listed = re.findall(r"#EXT-X-BYTERANGE:(\S+)\n(\S+)", text)
    return {number: (uri, bytes_) for number, (bytes_, uri) in enumerate(listed, start=int(found[1]))}


class Recordings(RuleBasedStateMachine):
    """A camera with a main and a sub stream, and players that load their playlists again and again."""

    table: SegmentTable
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.camera = f"camera-{next(CAMERAS)}"
        self.streams = {MAIN: Stream(), SUB: Stream()}
        self.clock = ManualClock(T0_S * CLOCK_RATE)
        self.names = count()
        self.players: list[Player] = []
        archive = SimpleNamespace(
            index=Index(self.table), unindexed=lambda *_: [], is_recorded=lambda _, name=None: True
        )
        self.playlists = Playlists(cast(Archive, archive), self.clock)

    # --- what happens

    @property
    def now_s(self) -> int:
        return self.clock.wall_90k() // CLOCK_RATE

    def begin(self, name: RenditionName) -> None:
        stream = self.streams[name]
        stream.growing = Segment(
            camera_id=self.camera,
            name=f"{name.value}-{next(self.names)}",
            state=SegmentState.GROWING,
            start_90k=self.clock.wall_90k(),
            duration_90k=0,
            size=1000,
            codec="h264",
            codec_string="avc1.42e01f",
            width=640,
            height=360,
            head=b"",
            init_size=1000,
            init_id=f"{name.value}-3e8",
            rendition=name,
            sequence=stream.numbers.sequence,
            discontinuities=stream.numbers.discontinuities,
        )

    def save(self, name: RenditionName, seconds: int, reason: EndReason | None = None) -> None:
        stream = self.streams[name]
        assert stream.growing is not None
        fragments = fragments_of(seconds)
        state = SegmentState.GROWING if reason is None else SegmentState.CLOSED
        segment = replace(
            stream.growing,
            state=state,
            end_reason=reason,
            duration_90k=seconds * CLOCK_RATE,
            size=1000 + 100 * len(fragments),
            hls_segments=0 if reason is None else len(fragments),
            frames=seconds,
        )
        stream.growing = segment
        self.table.save(segment, fragments)
        stream.files = [each for each in stream.files if each[0].name != segment.name] + [(segment, fragments)]

    def end(self, name: RenditionName, reason: EndReason) -> None:
        stream = self.streams[name]
        if stream.growing is None:
            return
        seconds = stream.growing.duration_90k // CLOCK_RATE
        if seconds:
            self.save(name, seconds, reason)
            stream.numbers.sequence += len(fragments_of(seconds))
            stream.numbers.discontinuities += 1
        stream.growing = None

    @initialize(history=st.lists(st.tuples(EVENTS, st.sampled_from([1, 9, 30, 70, 400])), min_size=2, max_size=8))
    def something_was_recorded(self, history: list[tuple[str, int]]) -> None:
        for event, seconds in history:
            if event == "step":
                self.the_clock_is_set(-seconds)
            elif event == "cut":
                self.a_file_is_full(MAIN)
                self.a_file_is_full(SUB)
            else:
                self.a_camera_is_lost_or_comes_back(RenditionName(event))
            self.time_passes(seconds)
        for back_s in (30, 500):
            self.a_player_begins(back_s, MAIN, None)
            self.a_player_begins(back_s, None, None)

    @rule(seconds=st.sampled_from([1, 3, 8, 30, 70, 400, 3000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds
        for name, stream in self.streams.items():
            if stream.growing is not None:
                self.save(name, stream.growing.duration_90k // CLOCK_RATE + seconds)

    @rule(name=st.sampled_from([MAIN, SUB]))
    def a_camera_is_lost_or_comes_back(self, name: RenditionName) -> None:
        if self.streams[name].growing is None:
            self.begin(name)
        else:
            self.end(name, EndReason.CAMERA_LOST)

    @rule(name=st.sampled_from([MAIN, SUB]))
    def a_file_is_full(self, name: RenditionName) -> None:
        if self.streams[name].growing is not None:
            self.end(name, EndReason.BOUNDARY)
            self.begin(name)

    @rule(seconds=st.sampled_from([40, -40, 400, -400, 4000, -4000, 90_000, -90_000]))
    def the_clock_is_set(self, seconds: int) -> None:
        recorded = [name for name, stream in self.streams.items() if stream.growing is not None]
        for name in recorded:
            self.end(name, EndReason.CLOCK_STEPPED)
        self.clock.start_90k += seconds * CLOCK_RATE
        for name in recorded:
            self.begin(name)

    @rule(name=st.sampled_from([MAIN, SUB]), leave=st.integers(0, 1))
    def the_oldest_file_is_deleted(self, name: RenditionName, leave: int) -> None:
        """``leave``: those that are protected, and older. The newest file stays: nothing tells its numbers later."""
        files = self.streams[name].files
        if len(files) > leave + 1:
            for player in self.players:
                player.has_deleted = True
            segment, _ = files.pop(leave)
            self.table.begin_delete([segment])
            self.table.end_delete([segment])

    # --- players

    @precondition(lambda self: len(self.players) < 8)
    @rule(
        back_s=st.sampled_from([None, 0, 5, 100, 1000, 5000, 80_000]),
        rendition=st.sampled_from([None, MAIN, SUB]),
        prefer=st.sampled_from([None, MAIN, SUB]),
    )
    def a_player_begins(
        self, back_s: int | None, rendition: RenditionName | None, prefer: RenditionName | None
    ) -> None:
        start_90k = None if back_s is None else (self.now_s - back_s) * CLOCK_RATE
        request = PlaylistRequest(
            self.camera, start_90k, rendition=rendition, prefer=None if rendition is not None else prefer
        )
        text = self.load(request)
        if text is not None and "#EXT-X-STREAM-INF" in text:
            self.players += [Player(each) for each in self.variants(text)]
        elif rendition is not None:
            self.players.append(Player(request))

    def variants(self, text: str) -> Iterator[PlaylistRequest]:
        for uri in re.findall(r"^dvr\.m3u8\?(\S+)", text, re.MULTILINE):
            query = {name: value for name, [value] in parse_qs(uri).items()}
            start_90k = round(float(query["start"]) * CLOCK_RATE)
            prefer, past = RenditionName(query["prefer"]), parse_past(query["past"])
            yield PlaylistRequest(self.camera, start_90k, prefer=prefer, past=past)

    def load(self, request: PlaylistRequest) -> str | None:
        try:
            return self.runner.run(self.playlists.playlist(request, ""))
        except (NotFoundError, UnavailableError):
            return None

    @invariant()
    def every_player_goes_on(self) -> None:
        for player in self.players:
            text = self.load(player.request)
            if text is None:
                continue
            old, new = player.seen, entries(text)
            if old:
                assert min(new) >= min(old), "it begins earlier"
                assert {n: new[n] for n in new if n in old} == {n: old[n] for n in old if n in new}, (
                    "a number is reused"
                )
                assert max(new) >= max(old), "the end is lost"
                if min(new) > min(old) and not player.has_deleted:
                    seconds = sum(map(float, re.findall(r"#EXTINF:([\d.]+)", text)))
                    assert seconds >= 3 * HLS_TARGET_S, "less is left than RFC 8216 §6.2.2 asks for"
            player.seen, player.has_deleted = new, False
            stream = self.streams[player.request.rendition or player.request.prefer or MAIN]
            newest = self.newest(stream)
            if newest is not None and player.request.rendition is not None:
                assert list(new.values())[-1] == newest

    def newest(self, stream: Stream) -> Entry | None:
        """The newest complete HLS segment."""
        for segment, fragments in reversed(stream.files):
            complete = fragments if segment.end_reason is not None else fragments[:-1]
            if complete:
                return f"{segment.camera_id}/{segment.name}.mp4", f"{complete[-1].size}@{complete[-1].offset}"
        return None

    def teardown(self) -> None:
        """Every moment that is on disk is in the playlist of its date."""
        for name in self.streams:
            self.end(name, EndReason.STOPPED)
        latest = max((s.end_90k for each in self.streams.values() for s, _ in each.files), default=0)
        self.clock.start_90k += max(0, latest - self.clock.wall_90k()) + CLOCK_RATE
        for name, stream in self.streams.items():
            for segment, fragments in stream.files:
                request = PlaylistRequest(self.camera, segment.start_90k, segment.end_90k, name)
                text = self.load(request)
                assert text is not None
                listed = [ranges for uri, ranges in entries(text).values() if uri.endswith(f"/{segment.name}.mp4")]
                assert listed == [f"{each.size}@{each.offset}" for each in fragments]


def test_a_playlist_that_goes_on_keeps_its_entries_and_their_numbers() -> None:
    with TemporaryDirectory() as folder, asyncio.Runner() as Recordings.runner:
        Recordings.table = SegmentTable(Path(folder))
        Recordings.table.open()
        machine = cast(Any, Recordings.TestCase)
        machine.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
        machine().runTest()
        Recordings.table.close()
