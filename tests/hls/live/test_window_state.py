"""A live window over a restart of the gateway: its playlist goes on, as over a loss of the camera."""

from dataclasses import replace

import pytest

from gateway.clock import CLOCK_RATE
from hls.live.playlist import Rendered
from hls.live.window import LiveWindow
from hls.live.window_state import dump, load
from hls.mp4.fragments import FragmentMuxer
from tests.hls.live.llhls_rules import Playlist, Watch, check, parse
from tests.support.sources.packets import AAC, START_90K, PacketSource, Shape

SHAPE = Shape(gop=15, audio=AAC)


def play(window: LiveWindow, frames: int, run: int, from_s: float) -> None:
    """A run of the camera, whose first frame comes at ``from_s``."""
    source = PacketSource(SHAPE, run=run)
    for packet in source.with_sound(frames, START_90K + round(from_s * CLOCK_RATE)):
        window.feed(packet, from_s + packet.dts_90k / CLOCK_RATE)


def restarted(window: LiveWindow, now_s: float) -> LiveWindow:
    """The window of the next process."""
    window.end_run()
    state = window.state(now_s)
    assert state is not None
    return LiveWindow(START_90K + round(now_s * CLOCK_RATE), state=load(b"".join(dump(state))))


def text(rendered: Rendered) -> str:
    return rendered.body.decode()


def read(window: LiveWindow) -> Playlist:
    return parse(text(window.media_playlist()))


@pytest.mark.parametrize("outage_s", [1.0, 5.0])
def test_the_playlist_goes_on(outage_s: float) -> None:
    before = LiveWindow(START_90K)
    watch = Watch(punctual_s=1.0)
    play(before, 300, 1, 0.0)
    play(before, 75, 2, 21.0)
    end_s = 26.0
    before.end_run()
    told = text(before.media_playlist())
    watch.see(told, end_s)
    after = restarted(before, end_s)
    assert text(after.media_playlist()) == told
    assert (after.variant(), after.newest_discontinuity) == (before.variant(), before.newest_discontinuity)
    for segment in parse(told).segments:
        for uri in (segment.uri, *(part.uri for part in segment.parts)):
            assert after.media(uri or "") == before.media(uri or "") is not None
    assert not after.is_playable, "a new player waits for live video"
    play(after, 40, 1, end_s + outage_s)
    assert after.is_playable
    back_s = watch.edge_s = watch.segment_s = end_s + outage_s + 2.6
    playlist = watch.see(text(after.media_playlist()), back_s)
    check(playlist)
    new = [segment for segment in playlist.segments if segment.msn > parse(told).segments[-1].msn]
    assert [segment.starts_discontinuity for segment in new] == [True] + [False] * (len(new) - 1)
    assert new[0].msn == parse(told).segments[-1].msn + 1


def test_after_a_long_outage_the_playlist_begins_afresh_with_the_same_numbers() -> None:
    before = LiveWindow(START_90K)
    play(before, 300, 1, 0.0)
    after = restarted(before, 20.0)
    play(after, 40, 1, 50.0)
    playlist = read(after)
    check(playlist)
    assert playlist.segments[0].msn == read(before).segments[-1].msn + 1
    assert playlist.segments[0].starts_discontinuity
    assert after.newest_discontinuity == before.newest_discontinuity + 1


def test_the_init_segment_keeps_its_name_if_another_version_would_write_it_differently() -> None:
    before = LiveWindow(START_90K)
    play(before, 60, 1, 0.0)
    state = before.state(4.0)
    assert state is not None
    for segment in state.segments:
        segment.muxer = FragmentMuxer(segment.muxer.info, b"of an older version")
    loaded = load(b"".join(dump(state)))
    assert loaded.segments[0].init_name == state.segments[0].init_name
    assert LiveWindow(START_90K, state=loaded).media(loaded.segments[0].init_name) == b"of an older version"


def test_a_window_without_a_segment_leaves_nothing() -> None:
    window = LiveWindow(START_90K)
    assert window.state(0.0) is None
    window.feed(PacketSource(SHAPE).frame(START_90K), 0.0)
    window.end_run()
    assert window.state(0.0) is None


def test_bytes_that_are_no_window_are_refused() -> None:
    window = LiveWindow(START_90K)
    play(window, 60, 1, 0.0)
    state = window.state(4.0)
    assert state is not None
    data = b"".join(dump(state))
    empty = b"".join(dump(replace(state, segments=())))
    for damaged in (b"", b"{}\n", data[:-1], data + b"x", data[: len(data) // 2], data[1:], data[:40], empty):
        with pytest.raises(ValueError, match=r"."):
            load(damaged)
