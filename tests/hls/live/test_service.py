"""A camera's live stream: when it holds the camera, who waits, and when its window is replaced."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import NegotiationError, NotFoundError, UnavailableError
from gateway.relay import Relay
from gateway.service import CaptureService
from hls.live.multivariant import MultivariantPlaylist
from hls.live.service import LiveService
from hls.live.stream import HOLD_S, READY_S, RENEW_S, LiveStream
from tests.hls.live.llhls_rules import check, parse
from tests.support.eventually import eventually
from tests.support.hls_server import source_camera
from tests.support.manual_clock import ManualClock
from tests.support.sources.packets import START_90K, PacketSource, Shape
from tests.support.sources.scripted import ScriptedEngine


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_90K)


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    """A camera that sends what the test publishes, and nothing else."""
    settings = source_camera(
        "packets://still", start="on-demand", engine="tests.support.sources.scripted:ScriptedEngine"
    )
    service = CaptureService({"yard": settings})
    yield service.camera("yard")
    await service.close()


@pytest.fixture
async def stream(camera: Camera, clock: ManualClock) -> AsyncIterator[LiveStream]:
    stream = LiveStream(camera.main, clock)
    yield stream
    stream.close()


def play(camera: Camera, clock: ManualClock, source: PacketSource, frames: int) -> None:
    for packet in source.frames(frames, clock.wall_90k()):
        camera.hub.publish(packet)
        clock.now += source.shape.frame_90k / CLOCK_RATE


async def test_a_stream_without_viewers_is_fed_and_answers_at_once(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    play(camera, clock, PacketSource(Shape(gop=15)), 60)
    assert not camera.is_wanted
    assert (await MultivariantPlaylist(stream, clock).get()).body.endswith(b"live.m3u8\n")
    assert camera.viewers == {"hls": 1}
    assert (await stream.media_playlist()) is (await stream.media_playlist())
    assert camera.viewers == {"hls": 1}
    assert stream.live_edge is not None


async def test_all_requests_that_wait_for_a_part_get_the_same_playlist(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    source = PacketSource(Shape(gop=15))
    play(camera, clock, source, 38)
    playlist = parse((await stream.media_playlist()).body.decode())
    msn, part = playlist.edge
    hint = playlist.hints[0]["URI"]
    waiting = [asyncio.create_task(stream.media_playlist(msn, part)) for _ in range(20)]
    media = asyncio.create_task(stream.media(hint))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    play(camera, clock, source, 4)
    answers = await asyncio.gather(*waiting)
    assert len({id(answer) for answer in answers}) == 1
    assert parse(answers[0].body.decode()).edge == (msn, part + 1)
    assert await media == stream.window.media(hint)


async def test_video_that_mp4_is_not_used_for_is_refused_with_what_works(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    for packet in PacketSource(Shape(gop=1)).frames(60, clock.wall_90k()):
        video = replace(packet.info.video, codec="mjpeg", parameter_sets=b"")
        camera.hub.publish(replace(packet, info=replace(packet.info, video=video)))
    for asked in (MultivariantPlaylist(stream, clock).get(), stream.media_playlist()):
        with pytest.raises(NegotiationError, match=r"mjpeg.*CAPTURE_ENGINE=opencv") as caught:
            await asked
        assert caught.value.transports == ("webrtc", "mjpeg")
    assert not camera.is_wanted
    # The camera is set to H.264.
    play(camera, clock, PacketSource(Shape(gop=15)), 60)
    assert (await stream.media_playlist()).body


async def test_closing_fails_waiting_requests_and_releases_the_camera(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    waiting = asyncio.create_task(MultivariantPlaylist(stream, clock).get())
    await eventually(lambda: stream._waits, "it waits")
    assert camera.viewers == {"hls": 1}
    stream.close()
    with pytest.raises(UnavailableError):
        await waiting
    assert camera.viewers == {}


async def test_a_cancelled_request_leaves_no_waiter(camera: Camera, clock: ManualClock, stream: LiveStream) -> None:
    waiting = asyncio.create_task(MultivariantPlaylist(stream, clock).get())
    await eventually(lambda: len(stream._waits) == 1, "it waits")
    waiting.cancel()
    await asyncio.wait([waiting])
    await eventually(lambda: not stream._waits, "nothing waits")


async def test_a_hinted_part_is_the_end_of_a_run_that_broke_off(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    play(camera, clock, PacketSource(Shape(gop=15)), 60)
    playlist = parse((await stream.media_playlist()).body.decode())
    hint = playlist.hints[0]["URI"]
    waiting = asyncio.create_task(stream.media(hint))
    msn, part = playlist.edge
    blocked = asyncio.create_task(stream.media_playlist(msn, part))
    await asyncio.sleep(0)
    clock.now += 4.0
    assert not waiting.done()
    play(camera, clock, PacketSource(Shape(gop=15), run=2), 1)
    assert len(await waiting) > 0
    after = parse((await blocked).body.decode())
    assert after.media_sequence == playlist.media_sequence
    assert not any(segment.gap for segment in after.segments)


async def test_while_the_camera_is_away_the_playlist_stands_still_for_its_players_and_new_ones_wait(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    play(camera, clock, PacketSource(Shape(gop=15)), 60)
    await stream.media_playlist()
    clock.now += 3.0
    plain = asyncio.create_task(stream.media_playlist())
    first = asyncio.create_task(MultivariantPlaylist(stream, clock).get())
    await asyncio.sleep(0.01)
    assert not plain.done()
    assert not first.done()
    clock.now += 8.0
    stream._on_timer()
    # ffmpeg, mpv and VLC end at an error: they get the playlist as it was.
    assert parse((await plain).body.decode()).complete
    assert not first.done()
    clock.now += READY_S
    stream._on_timer()
    with pytest.raises(UnavailableError):
        await first


async def test_nobody_gets_the_playlist_that_a_camera_had_before_it_was_stopped(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    source = PacketSource(Shape(gop=15))
    play(camera, clock, source, 60)
    before = parse((await stream.media_playlist()).body.decode())
    clock.now += HOLD_S + 1
    stream._on_timer()
    assert camera.viewers == {}
    clock.now += 3600
    stream._on_timer()
    assert stream.window.media_bytes < 10_000, "its segments are discarded"
    asked = [
        asyncio.create_task(stream.media_playlist()),
        asyncio.create_task(stream.media_playlist(before.edge[0], 0)),
        asyncio.create_task(MultivariantPlaylist(stream, clock).get()),
    ]
    await asyncio.sleep(0)
    assert camera.viewers == {"hls": 1}
    again = PacketSource(Shape(gop=15), run=2)
    play(camera, clock, again, 3)
    await asyncio.sleep(0)
    assert not any(task.done() for task in asked)
    play(camera, clock, again, 1)
    text = (await asked[0]).body.decode()
    await asyncio.gather(*asked)
    check(parse(text))
    assert len(parse(text).complete) == 1
    assert parse(text).media_sequence > before.edge[0]


async def test_a_reconfigured_camera_gets_new_target_durations_once_it_has_no_viewers(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    play(camera, clock, PacketSource(Shape(gop=30)), 100)
    before = parse((await stream.media_playlist()).body.decode())
    clock.now += RENEW_S / 2
    play(camera, clock, PacketSource(Shape(gop=4, frame_90k=45_000), run=2), 20)
    assert parse((await stream.media_playlist()).body.decode()).part_target == before.part_target
    clock.now += RENEW_S + 1
    play(camera, clock, PacketSource(Shape(gop=4, frame_90k=45_000), run=3), 20)
    after = parse((await stream.media_playlist()).body.decode())
    assert (before.part_target, after.part_target) == (0.205, 0.513)
    assert after.media_sequence > before.media_sequence


async def test_a_window_without_viewers_is_replaced_if_gops_exceed_the_target_duration(
    camera: Camera, clock: ManualClock, stream: LiveStream
) -> None:
    play(camera, clock, PacketSource(Shape(gop=300)), 905)
    playlist = parse((await stream.media_playlist()).body.decode())
    assert playlist.target == 21
    assert all(segment.parts[0].independent for segment in playlist.complete[:1])


async def test_streams_are_found_by_camera(camera: Camera, clock: ManualClock) -> None:
    service = CaptureService({"yard": source_camera(start="on-demand")})
    live = LiveService(service, clock=clock)
    stream = live.add_camera(service.camera("yard"))
    assert live.stream("yard") is stream
    with pytest.raises(NotFoundError):
        live.stream("attic")
    await live.remove_camera("yard")
    assert live.stream("yard") is not stream
    await live.close()
    await service.close()


class Kept:
    """What is between two processes."""

    def __init__(self) -> None:
        self.left: dict[tuple[str, RenditionName], bytes] = {}

    def leave(self, camera_id: str, name: RenditionName, data: Sequence[bytes | memoryview]) -> None:
        self.left[camera_id, name] = b"".join(data)

    def take(self) -> list[tuple[tuple[str, RenditionName], bytes]]:
        taken, self.left = list(self.left.items()), {}
        return taken


async def test_a_restart_of_the_gateway_is_a_pause_for_players(camera: Camera, clock: ManualClock) -> None:
    kept = Kept()
    service = CaptureService({"yard": camera.settings})
    before = LiveService(service, clock=clock, kept=kept)
    stream = before.add_camera(service.camera("yard"))
    play(service.camera("yard"), clock, PacketSource(Shape(gop=15)), 60)
    msn, _ = parse((await stream.media_playlist()).body.decode()).edge
    await before.close()
    assert list(kept.left) == [("yard", RenditionName.MAIN)]

    await service.close()
    service = CaptureService({"yard": camera.settings})
    clock.now += 3.0
    after = LiveService(service, clock=clock, kept=kept)
    await after.start()
    stream = after.add_camera(service.camera("yard"))
    reload = asyncio.create_task(stream.media_playlist(msn + 1, 0))
    await asyncio.sleep(0)
    assert not reload.done()
    play(service.camera("yard"), clock, PacketSource(Shape(gop=15), run=2), 8)
    playlist = parse((await reload).body.decode())
    check(playlist)
    assert playlist.edge[0] == msn + 1
    assert playlist.segments[0].msn < msn
    assert playlist.segments[-1].starts_discontinuity
    await after.close()
    await service.close()


@pytest.mark.parametrize(("has_player", "away_s"), [(False, 3.0), (True, RENEW_S + 1.0)])
async def test_without_a_player_the_playlist_begins_afresh(
    camera: Camera, clock: ManualClock, has_player: bool, away_s: float
) -> None:
    kept = Kept()
    service = CaptureService({"yard": camera.settings})
    before = LiveService(service, clock=clock, kept=kept)
    stream = before.add_camera(service.camera("yard"))
    play(service.camera("yard"), clock, PacketSource(Shape(gop=15)), 60)
    if has_player:
        await stream.media_playlist()
    await before.close()
    assert bool(kept.left) == has_player
    await service.close()
    service = CaptureService({"yard": camera.settings})
    clock.now += away_s
    after = LiveService(service, clock=clock, kept=kept)
    await after.start()
    assert after.add_camera(service.camera("yard")).window.targets is None
    await after.close()
    await service.close()


async def test_the_window_of_a_new_owner_begins_with_the_gop_that_was_relayed(clock: ManualClock) -> None:
    """Where a camera is handed over, no picture lacks between the two owners' playlists."""
    relays: list[Relay] = [Relay("b", ScriptedEngine)]
    settings = source_camera("packets://still", start="on-demand", engine=f"{ScriptedEngine.__module__}:ScriptedEngine")
    async with CaptureService({"yard": settings}, relay_of=lambda _, __: relays[0] if relays else None) as service:
        camera = service.camera("yard")
        stream = LiveStream(camera.main, clock)
        source = PacketSource(Shape(gop=15))
        play(camera, clock, source, 38)
        assert stream.live_edge is None, "another node has it"
        first = camera.hub.gop[0]
        relays.clear()
        stream.owner_changed()
        play(camera, clock, source, 60)
        text = (await stream.media_playlist()).body.decode()
        dates = [line for line in text.splitlines() if line.startswith("#EXT-X-PROGRAM-DATE-TIME:")]
        assert dates[0] == f"#EXT-X-PROGRAM-DATE-TIME:{to_rfc3339(first.captured_at_90k)}"
        stream.close()
