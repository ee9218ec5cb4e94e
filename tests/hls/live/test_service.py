"""The life of a camera's window: who holds, who waits, and when it begins anew."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.camera import Camera
from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError, UnavailableError
from gateway.service import CaptureService
from hls.live.service import RENEW_S, LiveService, LiveStream
from tests.hls.live.llhls_rules import parse
from tests.support.hls_server import reel_camera
from tests.support.reel import START_90K, Reel, Shape


class HandClock:
    """A clock in the hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_90k(self) -> int:
        return START_90K + round(self.now_s * CLOCK_RATE)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    """A camera that sends what the test publishes, and nothing else."""
    settings = reel_camera("reel://still", start="on-demand", engine="tests.support.scripted:ScriptedEngine")
    service = CaptureService({"yard": settings})
    yield service.camera("yard")
    await service.close()


@pytest.fixture
async def window(camera: Camera, clock: HandClock) -> AsyncIterator[LiveStream]:
    window = LiveStream(camera, clock)
    yield window
    window.close()


def play(camera: Camera, clock: HandClock, reel: Reel, frames: int) -> None:
    for packet in reel.frames(frames, clock.wall_90k()):
        camera.hub.publish(packet)
        clock.now_s += reel.shape.frame_90k / CLOCK_RATE


async def test_it_is_fed_unwatched_and_answers_at_once(camera: Camera, clock: HandClock, window: LiveStream) -> None:
    play(camera, clock, Reel(Shape(gop=15)), 60)
    assert not camera.is_wanted
    assert (await window.multivariant_playlist()).body.endswith(b"live.m3u8\n")
    assert camera.viewers == {"hls": 1}
    assert (await window.media_playlist()) is (await window.media_playlist())
    assert camera.viewers == {"hls": 1}
    assert window.live_edge is not None


async def test_all_who_wait_for_a_part_get_the_same_playlist(
    camera: Camera, clock: HandClock, window: LiveStream
) -> None:
    reel = Reel(Shape(gop=15))
    play(camera, clock, reel, 38)
    playlist = parse((await window.media_playlist()).body.decode())
    msn, part = playlist.edge
    hint = playlist.hints[0]["URI"]
    waiting = [asyncio.create_task(window.media_playlist(msn, part)) for _ in range(20)]
    media = asyncio.create_task(window.media(hint))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    play(camera, clock, reel, 4)
    answers = await asyncio.gather(*waiting)
    assert len({id(answer) for answer in answers}) == 1
    assert parse(answers[0].body.decode()).edge == (msn, part + 1)
    assert await media == window.live.media(hint)


async def test_closing_sends_away_who_waits_and_lets_the_camera_go(
    camera: Camera, clock: HandClock, window: LiveStream
) -> None:
    waiting = asyncio.create_task(window.multivariant_playlist())
    await asyncio.sleep(0)
    assert camera.viewers == {"hls": 1}
    window.close()
    with pytest.raises(UnavailableError):
        await waiting
    assert camera.viewers == {}


async def test_who_stops_waiting_leaves_nothing_behind(camera: Camera, clock: HandClock, window: LiveStream) -> None:
    waiting = asyncio.create_task(window.multivariant_playlist())
    await asyncio.sleep(0)
    assert len(window._waiters) == 1
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not window._waiters


async def test_a_hinted_part_that_becomes_a_gap_is_not_found(
    camera: Camera, clock: HandClock, window: LiveStream
) -> None:
    play(camera, clock, Reel(Shape(gop=15)), 60)
    hint = parse((await window.media_playlist()).body.decode()).hints[0]["URI"]
    clock.now_s += 1.0
    window.live.advance(clock.now_s + 5)
    playlist = parse((await window.media_playlist()).body.decode())
    assert playlist.segments[-1].parts[-1].gap
    gap = playlist.segments[-1].parts[-1].uri
    with pytest.raises(NotFoundError):
        await window.media(gap)
    # The open part was closed by the silence: it is there, under the name that was hinted at.
    assert len(await window.media(hint)) > 0


async def test_a_camera_that_was_set_up_anew_gets_a_new_plan_once_nobody_watches(
    camera: Camera, clock: HandClock, window: LiveStream
) -> None:
    play(camera, clock, Reel(Shape(gop=30)), 100)
    before = parse((await window.media_playlist()).body.decode())
    clock.now_s += RENEW_S / 2
    play(camera, clock, Reel(Shape(gop=4, frame_90k=45_000), run=2), 20)
    assert parse((await window.media_playlist()).body.decode()).part_target == before.part_target
    clock.now_s += RENEW_S + 1
    play(camera, clock, Reel(Shape(gop=4, frame_90k=45_000), run=3), 20)
    after = parse((await window.media_playlist()).body.decode())
    assert (before.part_target, after.part_target) == (0.205, 0.513)
    assert after.media_sequence > before.media_sequence


async def test_gops_that_outgrow_the_target_duration_are_learnt(
    camera: Camera, clock: HandClock, window: LiveStream
) -> None:
    play(camera, clock, Reel(Shape(gop=300)), 905)
    playlist = parse((await window.media_playlist()).body.decode())
    assert playlist.target == 24
    assert all(segment.parts[0].independent for segment in playlist.complete[:1])


async def test_windows_are_found_by_camera(camera: Camera, clock: HandClock) -> None:
    service = CaptureService({"yard": reel_camera(start="on-demand")})
    live = LiveService(service, clock=clock)
    window = live.open(service.camera("yard"))
    assert live.window("yard") is window
    with pytest.raises(NotFoundError):
        live.window("attic")
    await live.forget("yard")
    assert live.window("yard") is not window
    await live.close()
    await service.close()
