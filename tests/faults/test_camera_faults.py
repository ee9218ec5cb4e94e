"""Cameras that flap, send garbage or too much, and die: their viewers stay, other cameras go on, and nothing leaks."""

import asyncio
import contextlib
import gc
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import psutil
import pytest
from aiohttp import ClientResponse

from gateway.capture.runner import EngineRunner
from gateway.media import Packet
from gateway.session import SessionState
from tests.faults.conftest import Site, Sites
from tests.support.eventually import eventually
from tests.support.fault_injection import Fault, FaultyEngine
from tests.support.hostile import HostileServer, hang_up, say_nothing, talk_garbage
from web.gateway import Gateway

FLAPS = 100


def held() -> dict[str, int]:
    """The resources of this process that could leak."""
    gc.collect()
    alive = Counter(type(item) for item in gc.get_objects())
    return {
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": psutil.Process().num_fds(),
        "runners": alive[EngineRunner],
        "engines": alive[FaultyEngine],
        "packets": alive[Packet],
    }


def forget_log(caplog: pytest.LogCaptureFixture) -> None:
    """Drop the log records that pytest keeps: an exception in a record keeps its frames alive."""
    caplog.set_level(logging.CRITICAL, "gateway")


async def jpegs(reply: ClientResponse) -> AsyncIterator[bytes]:
    """The pictures of an MJPEG answer."""
    while line := await reply.content.readline():
        if line.startswith(b"Content-Length:"):
            while (await reply.content.readline()).strip():
                pass
            yield await reply.content.readexactly(int(line.split(b":")[1]))


async def test_a_camera_that_flaps_a_hundred_times_keeps_its_viewer_and_leaks_nothing(
    sites: Sites, caplog: pytest.LogCaptureFixture
) -> None:
    forget_log(caplog)
    site = await sites({"door": "faulty://door?fps=60&gop=6", "yard": "faulty://yard"}, archive_segment_seconds=2)
    gateway = site.gateway
    door, yard = gateway.service.camera("door"), gateway.service.camera("yard")
    async with site.client.get("/mjpeg/door") as reply:
        assert reply.status == 200
        pictures = jpegs(reply)
        await anext(pictures)
        await eventually(lambda: yard.session.state is SessionState.LIVE, "the other camera is live")
        FaultyEngine.faults["door"] = Fault.HANGS_UP
        await eventually(lambda: FaultyEngine.runs["door"] > 10, "the camera flaps")
        before = held()
        await eventually(lambda: FaultyEngine.runs["door"] > 10 + FLAPS, "the camera has flapped often enough")
        after = held()
        FaultyEngine.faults["door"] = Fault.NONE
        run = FaultyEngine.runs["door"]
        await eventually(
            lambda: door.session.state is SessionState.LIVE and door.hub.newest.run > run,  # type: ignore[union-attr]
            "the camera is live again, with a newer run",
        )
        for _ in range(100):  # frames of earlier runs, and then of the new run
            await anext(pictures)
    assert yard.hub.newest is not None
    assert (yard.hub.newest.run, yard.session.reconnects) == (1, 0)
    assert after["runners"] <= before["runners"] + 1
    assert after["engines"] <= before["engines"] + 1
    # The live window and the GOPs hold packets, but not more than before.
    assert after["packets"] <= before["packets"] * 1.5 + 200
    for name in ("threads", "tasks", "descriptors"):
        assert after[name] <= before[name] + 8, (name, before, after)
    recorded = [
        segment for segment in await gateway.archive_reader.segments.page("door", limit=1000) if segment.end_reason
    ]
    assert len({segment.name for segment in recorded}) == len(recorded) >= FLAPS // 2
    assert not await site.problems()


async def test_a_real_camera_that_hangs_up_a_hundred_times_leaks_nothing(
    sites: Sites, caplog: pytest.LogCaptureFixture
) -> None:
    """The same with FFmpeg, which has its own sockets and threads."""
    forget_log(caplog)
    connections = 0

    def count(connection: object, ending: threading.Event) -> None:
        nonlocal connections
        connections += 1
        hang_up(connection, ending)  # type: ignore[arg-type]

    with HostileServer(count) as server:
        await sites({"door": server.url})
        await eventually(lambda: connections > 10, "the camera refuses connections")
        before = held()
        await eventually(lambda: connections > 10 + FLAPS, "the camera has refused often enough")
        after = held()
    assert after["runners"] <= before["runners"] + 1
    for name in ("threads", "tasks", "descriptors"):
        assert after[name] <= before[name] + 8, (name, before, after)


class Gaps:
    """The frames of some cameras, and whether any of them was missing."""

    def __init__(self, gateway: Gateway, names: list[str]) -> None:
        self.frames: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self._detach = [gateway.service.camera(name).hub.attach(self._sink(name), replay=False) for name in names]

    def _sink(self, name: str) -> Callable[[Packet], None]:
        last: Packet | None = None

        def take(packet: Packet) -> None:
            nonlocal last
            if last is not None and (packet.run, packet.dts_90k) != (last.run, last.dts_90k + last.duration_90k):
                self.missing[name] += 1
            last = packet
            self.frames[name] += 1

        return take

    def close(self) -> None:
        for detach in self._detach:
            detach()


async def test_five_dead_cameras_of_twenty_do_not_affect_the_others(sites: Sites, free_port: int) -> None:
    alive = [f"alive{number}" for number in range(15)]
    site = await sites(
        {name: f"faulty://{name}" for name in alive}, record="never", capture_timeout=300, connection_retry_delay=0.05
    )
    service = site.gateway.service
    await eventually(
        lambda: all(service.camera(name).session.state is SessionState.LIVE for name in alive),
        "the healthy cameras are live",
    )
    well = Gaps(site.gateway, alive)
    await asyncio.sleep(2)
    well.close()
    with ExitStack() as stack:
        hostile = [stack.enter_context(HostileServer(each)).url for each in (say_nothing, hang_up, talk_garbage)]
        dead = [*hostile, f"rtsp://127.0.0.1:{free_port}/", "rtsp://camera.invalid/stream"]
        for number, url in enumerate(dead):
            await site.gateway.changes.add(f"dead{number}", {"url": url, "record": "never"})
        among = Gaps(site.gateway, alive)
        await asyncio.sleep(4)
        among.close()
        states = {service.camera(f"dead{number}").session.state for number in range(len(dead))}
        assert SessionState.LIVE not in states
        ill = {problem["camera_id"] for problem in (await site.json("/api/status"))["problems"]}
        assert ill == {f"dead{number}" for number in range(len(dead))}
    assert not well.missing
    assert not among.missing
    # Twice the time gives twice the frames: a ratio of the same machine in the same minute.
    ratio = sum(among.frames.values()) / sum(well.frames.values())
    assert 1.5 < ratio < 2.7
    assert min(among.frames.values()) > 0.7 * max(among.frames.values())
    assert all(service.status(name).packets_dropped == 0 for name in alive)


FAULTS = (
    Fault.GARBAGE,
    Fault.INVALID_TIMES,
    Fault.WRONG_CLOCK,
    Fault.HALF_SIZE,
    Fault.SILENT,
    Fault.FLOOD,
    Fault.ENGINE_ERROR,
)


async def test_no_fault_of_a_camera_affects_another_and_each_recovers(
    sites: Sites, caplog: pytest.LogCaptureFixture
) -> None:
    """All faults at once, each on its own camera."""
    faults = dict(zip("abcdefg", FAULTS, strict=True))
    cameras = {name: f"faulty://{name}" for name in (*faults, "yard")}
    site = await sites(cameras, capture_timeout=500)
    service = site.gateway.service
    await asyncio.gather(*(playable(site, name) for name in cameras))
    neighbour = Gaps(site.gateway, ["yard"])
    async with contextlib.AsyncExitStack() as stack:
        viewers = {
            name: jpegs(await stack.enter_async_context(site.client.get(f"/mjpeg/{name}?width=80"))) for name in faults
        }
        await asyncio.gather(*(anext(pictures) for pictures in viewers.values()))
        FaultyEngine.faults.update(faults)
        await asyncio.sleep(2.0)
        for name in faults:
            for path in (f"/api/cameras/{name}", "/api/status", "/metrics", f"/api/cameras/{name}/segments"):
                async with site.client.get(path) as answer:
                    assert answer.status == 200, (path, await answer.text())
        await asyncio.gather(*(playlist_is_no_fault(site, name) for name in faults))
        FaultyEngine.faults.clear()
        for name, fault in faults.items():
            camera = service.camera(name)
            await eventually(
                lambda camera=camera: camera.session.state is SessionState.LIVE and bool(camera.hub.gop),  # type: ignore[misc]
                "the camera is live and has a GOP",
            )
            await playable(site, name)
            try:
                async with asyncio.timeout(20):
                    for _ in range(30):
                        await anext(viewers[name])
            except TimeoutError:
                raise AssertionError(f"the viewer under {fault} sees nothing any more") from None
    assert not neighbour.missing
    assert neighbour.frames["yard"] > 15
    assert service.camera("yard").session.reconnects == 0
    assert "hunter2" not in caplog.text
    for name, fault in {**faults, "yard": Fault.NONE}.items():
        assert service.camera(name).hub.sink_faults == 0, (fault, caplog.text[:4000])


async def playlist_is_no_fault(site: Site, camera_id: str) -> None:
    with contextlib.suppress(TimeoutError):  # the camera is still connecting
        async with asyncio.timeout(1), site.client.get(f"/hls/{camera_id}/index.m3u8") as answer:
            assert answer.status in (200, 503)


async def playable(site: Site, camera_id: str) -> None:
    """Wait until a new player gets playlist and media."""
    async with asyncio.timeout(30):
        while True:
            async with site.client.get(f"/hls/{camera_id}/index.m3u8") as reply:
                if reply.status == 200:
                    return
            await asyncio.sleep(0.1)
