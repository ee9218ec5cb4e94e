"""Faults of the process: ended under load, frozen, out of descriptors, its clock stepped, its loop blocked."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from gateway.clock import CLOCK_RATE, SystemClock
from gateway.session import SessionState
from hls.archive.segment import EndReason
from tests.faults.conftest import Site, Sites
from tests.faults.test_camera_faults import Gaps, jpegs, playable
from tests.support.eventually import eventually, eventually_sync
from tests.support.fault_injection import ENGINE
from tests.support.ffprobe import decode
from tests.support.gateway_process import GatewayProcess

HOUR_90K = 3600 * CLOCK_RATE

CAMERAS = "".join(f'[cameras.cam{number}]\nurl = "faulty://cam{number}"\nengine = "{ENGINE}"\n' for number in range(4))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway process with four recorded cameras."""
    (tmp_path / "liveedge.toml").write_text(CAMERAS)
    with GatewayProcess(tmp_path, ARCHIVE_SEGMENT_SECONDS=3) as gateway:
        for number in range(4):
            gateway.wait_for_state("live", f"cam{number}")
        eventually_sync(
            lambda: all(
                (camera["live_edge"] or {}).get("media_sequence") for camera in gateway.json("/api/status")["cameras"]
            ),
            "every camera has a live playlist",
        )
        yield gateway


def connect(gateway: GatewayProcess, path: str) -> socket.socket:
    """A connection with a request whose answer is not read."""
    host, port = urlsplit(gateway.url).netloc.split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return connection


def blocked_reload(gateway: GatewayProcess, camera: str) -> str:
    """A playlist request that waits for a future part."""
    text = gateway.fetch(f"/hls/{camera}/index.m3u8")[2].decode()
    name = next(line for line in text.splitlines() if line and not line.startswith("#"))
    edge = gateway.camera(camera)["live_edge"]["media_sequence"]
    return f"/hls/{camera}/{name}?_HLS_msn={edge + 2}"


def test_sigterm_under_load(gateway: GatewayProcess) -> None:
    """Endless answers, blocked requests and clients that do not read do not delay the end. Every file is finished."""
    with ExitStack() as stack:
        for number in range(40):
            camera = f"cam{number % 4}"
            paths = (f"/mjpeg/{camera}", blocked_reload(gateway, camera), f"/hls/{camera}/dvr.m3u8", "/api/status")
            stack.enter_context(connect(gateway, paths[number // 4 % 4]))
        eventually_sync(lambda: gateway.camera("cam0")["viewers"].get("mjpeg", 0) >= 2, "the MJPEG viewers are counted")
        took_s = gateway.stop()
    assert gateway.process is not None
    assert gateway.process.returncode == 0, gateway.log()
    assert took_s < 5, "the contract's bound, not a measure of speed"
    assert "Traceback" not in gateway.log(), gateway.log()
    assert "Task was destroyed" not in gateway.log()
    files = sorted((gateway.folder / "data").rglob("*.mp4"))
    assert len(files) >= 4
    assert not [path for path in files if decode(path)]


def test_a_frozen_process_continues_at_the_live_edge(gateway: GatewayProcess) -> None:
    """As with a paused virtual machine, or a laptop that slept."""
    before = gateway.camera("cam0")["live_edge"]["media_sequence"]
    os.kill(gateway.pid, signal.SIGSTOP)
    time.sleep(3)  # frozen for real
    os.kill(gateway.pid, signal.SIGCONT)
    eventually_sync(
        lambda: gateway.camera("cam0")["live_edge"]["media_sequence"] > before + 2, "the live playlist goes on"
    )
    eventually_sync(lambda: gateway.json("/api/status")["status"] == "ok", "no problem is reported any more")
    assert "Traceback" not in gateway.log(), gateway.log()


def test_out_of_descriptors(gateway: GatewayProcess) -> None:
    """Viewers stay, new clients wait, failed writes are reported. With free descriptors the gateway recovers."""
    process = psutil.Process(gateway.pid)
    limit = process.rlimit(psutil.RLIMIT_NOFILE)
    with connect(gateway, "/mjpeg/cam0") as watching:
        assert b"200 OK" in watching.recv(4096)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 2, limit[1]))
        idle_connections: list[socket.socket] = []
        try:
            for _ in range(20):
                with suppress(OSError):
                    idle_connections.append(connect(gateway, "/mjpeg/cam1"))
            got = 0
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and got < 200_000:
                got += len(watching.recv(65536))
            assert got >= 50_000, "the one who watched goes on watching"
            eventually_sync(
                lambda: "too many open files" in gateway.log().lower(),
                "the log says that there are too many open files",
            )
        finally:
            for connection in idle_connections:
                connection.close()
            process.rlimit(psutil.RLIMIT_NOFILE, limit)
    eventually_sync(lambda: gateway.json("/api/status")["status"] == "ok", "no problem is reported any more")
    recorded = len(list((gateway.folder / "data").rglob("*.mp4")))
    eventually_sync(lambda: len(list((gateway.folder / "data").rglob("*.mp4"))) > recorded + 4, "recording goes on")
    assert gateway.process is not None
    assert gateway.process.poll() is None


class StepClock(SystemClock):
    """The machine's clocks; the wall clock can be set."""

    step_90k = 0

    def wall_90k(self) -> int:
        return super().wall_90k() + self.step_90k


async def whep(site: Site, camera_id: str) -> tuple[RTCPeerConnection, MediaStreamTrack]:
    """A real WebRTC viewer that has its first frame."""
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Content-Type": "application/sdp"}
    async with site.client.post(f"/whep/{camera_id}", data=peer.localDescription.sdp, headers=headers) as reply:
        assert reply.status == 201, await reply.text()
        await peer.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
    track = peer.getReceivers()[0].track
    async with asyncio.timeout(60):
        await track.recv()
    return peer, track


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves out the loopback address, the only one that a test may rely on."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda *_, **__: ["127.0.0.1"])


@pytest.mark.parametrize("step_90k", [HOUR_90K, -HOUR_90K], ids=["ahead", "back"])
async def test_the_wall_clock_is_set_by_an_hour(sites: Sites, step_90k: int) -> None:
    clock = StepClock()
    site = await sites({"door": "faulty://door"}, clock, archive_segment_seconds=2)
    gateway = site.gateway
    camera = gateway.service.camera("door")
    await playable(site, "door")
    await eventually(lambda: gateway.archive.recorders()["door"].segments_closed > 0, "a segment is closed")
    peer, track = await whep(site, "door")
    async with site.client.get("/mjpeg/door") as reply:
        pictures = jpegs(reply)
        await anext(pictures)
        edge = gateway.live.stream("door").live_edge
        assert edge is not None
        closed = gateway.archive.recorders()["door"].segments_closed
        clock.step_90k = step_90k
        async with asyncio.timeout(30):
            for _ in range(30):
                await anext(pictures)
            for _ in range(30):
                await track.recv()
        await eventually(
            lambda: (gateway.live.stream("door").live_edge or edge)[0] > edge[0] + 2, "the live edge moves on"
        )
        await eventually(lambda: gateway.archive.recorders()["door"].segments_closed > closed + 1, "recording goes on")
    await peer.close()
    assert camera.session.reconnects == 0
    segments = (await site.json("/api/cameras/door/segments?limit=500"))["segments"]
    assert EndReason.CLOCK_STEPPED in {segment["end_reason"] for segment in segments}
    # New recordings have the new time, and can be found there.
    now_s = clock.wall_90k() / CLOCK_RATE
    found = await site.json(f"/api/cameras/door/segments/at?time={now_s - 1:.3f}")
    assert abs(datetime.fromisoformat(found["segment"]["start"]).timestamp() - now_s) < 60
    await eventually(site.problems, "the step is reported")
    [problem] = await site.problems()
    assert problem.startswith("the clock of the host was set"), "nothing else is degraded"
    assert (await site.json("/api/cameras/door"))["live_edge"]["time"]


async def test_the_event_loop_is_blocked_for_three_seconds(sites: Sites) -> None:
    """Longer than CAPTURE_TIMEOUT: a blocked loop is not mistaken for a silent camera, and nothing is lost."""
    site = await sites({"door": "faulty://door", "yard": "faulty://yard"}, capture_timeout=1000)
    service = site.gateway.service
    await playable(site, "door")
    await playable(site, "yard")
    peer, track = await whep(site, "door")
    gaps = Gaps(site.gateway, ["door", "yard"])
    time.sleep(3)
    async with asyncio.timeout(60):
        for _ in range(30):
            await track.recv()
    gaps.close()
    await peer.close()
    assert not gaps.missing
    assert all(service.camera(name).session.state is SessionState.LIVE for name in ("door", "yard"))
    assert all(service.camera(name).session.reconnects == 0 for name in ("door", "yard"))
    assert all(service.status(name).packets_dropped == 0 for name in ("door", "yard"))
    assert await site.metric("liveedge_event_loop_lag_seconds") > 1
