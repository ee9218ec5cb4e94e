"""The live window: its playlists, names, memory, and answers to blocking reloads."""

import gzip
import random
import weakref
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.errors import BadRequestError
from hls.live import playlist
from hls.live.discontinuities import DiscontinuityNumbers
from hls.live.window import LiveWindow
from hls.parts.target_duration import TargetDurations
from tests.hls.live.llhls_rules import Playlist, check, parse
from tests.support.sources.packets import PCMA, START_90K, PacketSource, Shape


def play(window: LiveWindow, frames: int, source: PacketSource | None = None, from_s: float = 0.0) -> LiveWindow:
    source = source or PacketSource(Shape(gop=30))
    first_90k = source.first_dts_90k
    for packet in source.frames(frames):
        window.feed(packet, from_s + (packet.dts_90k - first_90k) / CLOCK_RATE)
    return window


def read(window: LiveWindow) -> Playlist:
    return parse(window.media_playlist().body.decode())


@pytest.mark.parametrize(
    ("frame_90k", "gop", "part_target", "target"),
    [
        (3000, 60, 0.205, 2),
        (3600, 50, 0.205, 2),
        (6000, 15, 0.205, 2),
        (6000, 5, 0.205, 2),
        (9000, 40, 0.205, 5),
        (45_000, 2, 0.513, 2),
        (90_000, 2, 1.025, 3),
        (6000, 150, 0.205, 10),
    ],
)
def test_target_durations_fit_the_camera(frame_90k: int, gop: int, part_target: float, target: int) -> None:
    window = play(
        LiveWindow(START_90K), 1 + 5 * CLOCK_RATE // frame_90k, PacketSource(Shape(frame_90k=frame_90k, gop=gop))
    )
    assert window.targets == TargetDurations(round(part_target * CLOCK_RATE), target)


def test_a_playlist_that_stands_still_is_kept_with_the_newest_report_alone() -> None:
    window = play(LiveWindow(START_90K), 200)
    before = weakref.ref(window.media_playlist(report="# the other one\n"))
    assert before() is window.media_playlist(report="# the other one\n")
    assert window.media_playlist(report="# the other one, a part later\n").body.endswith(b"later\n")
    assert before() is None


@pytest.mark.parametrize(("gop", "target"), [(30, 2), (75, 6), (120, 9), (150, 11), (300, 21), (900, 10)])
def test_a_long_gop_is_measured_before_there_is_a_viewer(gop: int, target: int) -> None:
    window = play(LiveWindow(START_90K, is_awaited=lambda: False), 600, PacketSource(Shape(gop=gop)))
    assert window.targets is not None
    assert window.targets.target_duration_s == target


def test_a_viewer_does_not_wait_until_a_long_gop_is_measured() -> None:
    viewers: list[str] = []
    source = PacketSource(Shape(gop=150))
    window = play(LiveWindow(START_90K, is_awaited=lambda: bool(viewers)), 100, source)
    assert window.targets is None
    viewers.append("first")
    play(window, 10, source)
    assert window.is_playable


def test_a_target_duration_without_a_known_gop_is_replaced_by_the_right_one() -> None:
    source = PacketSource(Shape(gop=120))
    guessed = play(LiveWindow(START_90K), 120, source)
    assert guessed.targets is not None
    assert (guessed.targets.target_duration_s, guessed.has_better_targets) == (10, False)
    play(guessed, 120, source)
    assert guessed.has_better_targets
    better = play(LiveWindow(START_90K, after=guessed), 70, source)
    assert better.targets is not None
    assert (better.targets.target_duration_s, better.has_better_targets) == (9, False)


def test_a_gop_that_a_loss_has_cut_short_is_not_taken_for_a_whole_one() -> None:
    cut = play(LiveWindow(START_90K), 80, PacketSource(Shape(gop=150)))
    cut.end_run()
    window = play(LiveWindow(START_90K, after=cut), 70, PacketSource(Shape(gop=150), run=2))
    assert window.targets is not None
    assert window.targets.target_duration_s == 10


def test_a_long_gop_is_playable_before_it_ends() -> None:
    window = play(LiveWindow(START_90K), 15 * 4 + 8, PacketSource(Shape(gop=150)))
    assert window.is_playable
    assert read(window).complete[0].parts[0].independent


def test_numbers_and_names_grow_over_a_restart_and_a_replacement() -> None:
    first = play(LiveWindow(START_90K), 15 * 60)
    restarted = play(LiveWindow(START_90K + seconds_90k(61)), 200)
    stepped_back = play(LiveWindow(START_90K - seconds_90k(3600), after=first), 200)
    last = read(first).edge[0]
    assert read(restarted).media_sequence > last
    assert read(stepped_back).media_sequence > last
    for later in (restarted, stepped_back):
        assert (read(later).discontinuity_sequence or 0) >= (read(first).discontinuity_sequence or 0)
        names = {part.uri for each in read(later).segments for part in each.parts}
        assert not names & {part.uri for each in read(first).segments for part in each.parts}


def test_a_stream_without_keyframes_follows_a_step_of_the_wall_clock() -> None:
    source = PacketSource(Shape(gop=1000))
    window = play(LiveWindow(START_90K), 15 * 30, source)
    step_90k = seconds_90k(-3600)
    for packet in source.frames(15 * 30, START_90K + step_90k):
        window.feed(packet, packet.dts_90k / CLOCK_RATE)
    last = read(window).complete[-1]
    assert last.date is not None
    clock_s = (START_90K + step_90k) / CLOCK_RATE + 60
    assert 0 <= clock_s - last.date.timestamp() - last.lasts < 12


def test_media_sequence_numbers_fit_31_bits_and_discontinuities_stay_small() -> None:
    first = DiscontinuityNumbers().first(START_90K)
    playlist = read(play(LiveWindow(START_90K, first_discontinuity=first), 100))
    assert playlist.media_sequence < 2**30
    # hls.js visits all numbers up to this one at each reload.
    assert 0 < (playlist.discontinuity_sequence or 0) < 100_000


def test_the_newest_discontinuity_is_that_of_the_last_segment() -> None:
    window = LiveWindow(START_90K, first_discontinuity=40)
    for run in (1, 2, 3):
        play(window, 100, PacketSource(Shape(gop=15), run=run))
        assert window.newest_discontinuity == read(window).segments[-1].discontinuity == 40 + run - 1


def test_segments_and_parts_stay_available_after_they_left_the_playlist_and_then_expire() -> None:
    window = LiveWindow(START_90K)
    source = PacketSource(Shape(gop=15))
    first_names: dict[str, float] = {}
    gone_at_s: dict[str, float] = {}
    unlisted_at_s: dict[str, float] = {}
    for packet in source.frames(15 * 60):
        now_s = packet.dts_90k / CLOCK_RATE
        window.feed(packet, now_s)
        if not window.live_edge:
            continue
        text = window.media_playlist().body.decode()
        if not first_names and window.is_playable:
            segment = parse(text).complete[0]
            names = [segment.uri or "", *(part.uri for part in segment.parts)]
            first_names = dict.fromkeys(names, now_s)
        for name in first_names:
            if name not in text:
                unlisted_at_s.setdefault(name, now_s)
            if window.media(name) is None:
                gone_at_s.setdefault(name, now_s)
    assert set(gone_at_s) == set(first_names)
    target_s = 2
    segment_name, *part_names = first_names
    for name in part_names:
        assert gone_at_s[name] - unlisted_at_s[name] >= 3 * target_s
    assert gone_at_s[segment_name] > unlisted_at_s[segment_name]
    # Memory is bounded: the init segment, some twenty segments, and their parts.
    assert len(window._buffer) < 1 + 20 * 7


def test_a_camera_that_nobody_watches_keeps_what_a_new_player_needs() -> None:
    source = PacketSource(Shape(gop=30))
    window = play(LiveWindow(START_90K), 60 * 15 + 5, source)
    held = window.media_bytes
    first = read(window)
    check(first)
    names = [segment.uri or "" for segment in first.complete]
    assert all(window.media(name) for name in names)
    assert sum(segment.lasts for segment in first.complete) >= 4 * first.target
    assert held <= 6 * max(len(window.media(name) or b"") for name in names), "nothing is kept that nobody knows of"
    # As soon as somebody watches, it grows.
    watched = [read(play(window, 30, source)) for _ in range(8)]
    assert {segment.uri for segment in first.complete} < {segment.uri for segment in watched[3].complete}
    assert sum(segment.lasts for segment in watched[-1].complete) >= 8 * first.target
    # When nobody does any more, the memory is free again.
    play(window, 30 * 30, source)
    assert window.media_bytes <= held * 1.2


def test_memory_is_bounded_and_evicted_segments_are_counted() -> None:
    window = LiveWindow(START_90K, max_bytes=20_000)
    source = PacketSource(Shape(gop=30))
    for _ in range(60):
        play(window, 15, source)
        # At most that much, plus the open segment and one complete one that a player may begin with.
        assert window.media_bytes <= max(20_000, 2 * 7_000)
    assert len(read(window).complete) < 6
    assert window.counters.segments_evicted > 0
    assert window.is_playable


def test_a_stream_without_a_keyframe_uses_no_memory() -> None:
    window = LiveWindow(START_90K)
    source = PacketSource(Shape(gop=1000), number=1)
    play(window, 900, source)
    assert window.targets is None
    assert not window.is_playable
    assert window.live_edge is None


def test_playlists_are_rendered_once_per_version() -> None:
    window = play(LiveWindow(START_90K), 200)
    assert window.media_playlist() is window.media_playlist()
    assert window.media_playlist().gzipped is window.media_playlist().gzipped
    assert gzip.decompress(window.media_playlist().gzipped) == window.media_playlist().body
    before, version = window.media_playlist(), window.version
    play(window, 4, PacketSource(Shape(gop=30), run=2), from_s=14)
    assert window.version > version
    assert window.media_playlist() is not before


def test_blocking_reload_answers_for_existing_parts_and_waits_for_the_next_ones() -> None:
    window = play(LiveWindow(START_90K), 15 * 6 + 8)
    playlist = read(window)
    last = playlist.complete[-1]
    open_parts = len(playlist.segments[-1].parts)
    assert open_parts == 2
    assert window.has(last.msn, None)
    assert window.has(last.msn - 100, None)
    assert window.has(last.msn, len(last.parts) - 1)
    assert not window.has(last.msn + 1, None)
    assert window.has(last.msn + 1, open_parts - 1)
    assert not window.has(last.msn + 1, open_parts)
    assert not window.has(last.msn + 2, None)
    assert not window.has(last.msn + 2, 0)
    # Beyond the last part of a segment is the first of the next one.
    assert window.has(last.msn, len(last.parts))
    for msn, part in [
        (last.msn + 3, None),
        (last.msn + 3, 0),
        (last.msn + 1, open_parts + 15),
        (last.msn + 2, 15),
        (last.msn, len(last.parts) + 15),
    ]:
        with pytest.raises(BadRequestError):
            window.has(msn, part)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**63), st.one_of(st.none(), st.integers(0, 2**63)), st.booleans())
def test_any_delivery_directive_is_answered_or_refused(msn: int, part: int | None, delta: bool) -> None:
    try:
        answer = PLAYED.has(msn, part)
    except BadRequestError:
        return
    assert isinstance(answer, bool)
    assert PLAYED.media_playlist(delta=delta).body.startswith(b"#EXTM3U\n")


PLAYED = play(LiveWindow(START_90K), 15 * 30)


def test_the_live_edge_is_the_newest_part() -> None:
    window = play(LiveWindow(START_90K), 15 * 6 + 4)
    edge = window.live_edge
    assert edge is not None
    msn, part, captured_at_90k = edge
    segment = read(window).segments[-1]
    assert (msn, part) == (segment.msn, len(segment.parts) - 1)
    assert captured_at_90k == START_90K + 6 * CLOCK_RATE


def test_the_multivariant_playlist_describes_the_stream() -> None:
    window = LiveWindow(START_90K)
    for packet in PacketSource(Shape(gop=15, audio=PCMA)).with_sound(100):
        window.feed(packet, packet.dts_90k / CLOCK_RATE)
    variant = window.variant()
    assert variant is not None
    text = playlist.multivariant([(variant, "live.m3u8")])
    assert 'CODECS="avc1.42c00a,mp4a.40.2"' in text
    assert "RESOLUTION=160x120" in text
    assert "FRAME-RATE=15.000" in text
    peak = int(text.partition("BANDWIDTH=")[2].partition(",")[0])
    media = [window.media(segment.uri or "") for segment in read(window).complete]
    assert peak == max(len(data) * 8 for data in media if data is not None)
    assert text.splitlines()[-1] == "live.m3u8"


def test_after_an_outage_of_hours_the_window_begins_afresh_with_the_first_part() -> None:
    window = play(LiveWindow(START_90K), 15 * 30)
    before = read(window)
    window.advance(10 * 3600)
    assert not window.is_playable
    assert read(window) == before, "there is no gap: nothing happened"
    again = PacketSource(Shape(gop=15), run=2)
    play(window, 3, again, from_s=10 * 3600)
    assert not window.is_playable, "the old segments are no live video"
    play(window, 2, again, from_s=10 * 3600 + 0.2)
    assert window.is_playable
    after = read(window)
    assert [segment.msn for segment in after.complete] == [before.edge[0] + 1]
    assert after.complete[0].starts_discontinuity
    check(after)
    play(window, 15, again, from_s=10 * 3600 + 1)
    assert window.media_bytes < 100_000


def test_after_a_short_outage_the_window_continues_with_a_discontinuity() -> None:
    window = play(LiveWindow(START_90K), 15 * 30)
    before = read(window)
    window.advance(32)
    assert window.is_stalled
    play(window, 31, PacketSource(Shape(gop=15), run=2), from_s=34)
    after = read(window)
    assert after.media_sequence <= before.edge[0]
    assert sum(segment.starts_discontinuity for segment in after.segments) == 1
    assert not any(segment.gap for segment in after.segments)


def test_the_segments_of_a_stopped_camera_can_be_discarded() -> None:
    window = play(LiveWindow(START_90K), 15 * 30)
    size = window.media_bytes
    window.clear()
    assert window.media_bytes < size / 5
    assert not window.is_playable
    play(window, 5, PacketSource(Shape(gop=15), run=2), from_s=100)
    assert window.is_playable
    check(read(window))


def test_dates_join_exactly_although_capture_times_have_jitter() -> None:
    window = LiveWindow(START_90K)
    source = PacketSource(Shape(gop=15))
    jitter = random.Random(1)
    for number in range(15 * 60):
        captured_90k = START_90K + number * 6000 + jitter.randrange(-3600, 3600)
        window.feed(source.frame(captured_90k, number * 6000), number / 15)
    segments = read(window).complete
    for before, after in pairwise(segments):
        assert before.date is not None
        assert after.date is not None
        assert abs((after.date - before.date).total_seconds() - before.lasts) < 0.006


def test_the_bytes_of_a_complete_segment_are_in_memory_once() -> None:
    window = play(LiveWindow(START_90K), 300)
    segments = window._buffer.segments
    assert segments
    for segment in segments:
        whole = window.media(segment.name)
        assert isinstance(whole, memoryview)
        for part in segment.parts:
            assert isinstance(part.part.data, memoryview)
            assert part.part.data.obj is whole.obj
        assert b"".join(part.part.data for part in segment.parts) == whole


def test_segments_of_a_slow_camera_have_no_parts_and_answer_requests_for_them_when_they_are_complete() -> None:
    window = LiveWindow(START_90K)
    source = PacketSource(Shape(gop=25))
    dts_90k = 0
    newest: list[int] = []
    first: TargetDurations | None = None
    for number in range(150):
        window.feed(source.frame(START_90K + dts_90k, dts_90k), dts_90k / CLOCK_RATE)
        dts_90k += CLOCK_RATE // (25 if number < 60 else 2)
        first = first or window.targets
        if number < 70:
            continue
        seen = read(window)
        assert first is not None
        assert (seen.target, seen.part_target) == (first.target_duration_s, first.part_target_90k / CLOCK_RATE)
        assert not seen.hints
        assert seen.segments[-1].uri is not None
        assert not seen.segments[-1].parts
        assert window.media(seen.segments[-1].uri)
        newest.append(seen.complete[-1].msn)
        assert window.has(newest[-1], 0)
        assert window.has(newest[-1], 3)
        assert not window.has(newest[-1] + 1, 0)
        assert not window.is_stalled
    assert newest[-1] - newest[0] > 10
    # It goes back to parts when the camera is fast again.
    for _ in range(120):
        window.feed(source.frame(START_90K + dts_90k, dts_90k), dts_90k / CLOCK_RATE)
        dts_90k += CLOCK_RATE // 25
    assert read(window).hints
    assert read(window).segments[-1].parts
    assert "EXT-X-DISCONTINUITY\n" not in window.media_playlist().body.decode()
