"""Gateways that serve the same RTSP camera over WHEP, each in a process of its own: liveedge, MediaMTX and go2rtc.

The other two are measured where their programs are given, in the environment: ``MEDIAMTX`` and ``GO2RTC`` (paths).
"""

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.support.webrtc_load import end
from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import free_port


@dataclass(frozen=True)
class Gateway:
    """One of them. ``page`` is any page of the same origin as ``whep``."""

    name: str
    page: str
    whep: str


@contextmanager
def gateways(folder: Path, camera_url: str, **settings: object) -> Iterator[list[Gateway]]:
    """Start liveedge, with these settings, and the others that are given. All of them capture the camera at once."""
    with ExitStack() as stack:
        found = [stack.enter_context(liveedge(folder, camera_url, **settings))]
        if path := os.environ.get("MEDIAMTX"):
            found.append(stack.enter_context(mediamtx(Path(path), folder, camera_url)))
        if path := os.environ.get("GO2RTC"):
            found.append(stack.enter_context(go2rtc(Path(path), folder, camera_url)))
        yield found


@contextmanager
def liveedge(folder: Path, camera_url: str, **settings: object) -> Iterator[Gateway]:
    """``liveedge serve``."""
    defaults: dict[str, object] = {"RTSP_URL": camera_url, "RECORD": "never", "START": "always"}
    (folder / "liveedge").mkdir()
    with GatewayProcess(folder / "liveedge", **(defaults | settings)) as process:
        process.wait_for_state("live")
        yield Gateway("liveedge", f"{process.url}/health", f"{process.url}/whep/default")


@contextmanager
def mediamtx(program: Path, folder: Path, camera_url: str) -> Iterator[Gateway]:
    """MediaMTX with WebRTC as its only output."""
    port = free_port()
    config = folder / "mediamtx.yml"
    off = "".join(f"{name}: no\n" for name in ("rtsp", "rtmp", "hls", "srt", "moq", "api"))
    config.write_text(
        f"logLevel: warn\n{off}webrtcAddress: 127.0.0.1:{port}\nwebrtcLocalUDPAddress: 127.0.0.1:{free_port()}\n"
        f"paths:\n  cam:\n    source: {camera_url}\n    rtspTransport: tcp\n"
    )
    with _process(folder / "mediamtx.log", str(program), str(config)):
        _wait_for_http(f"http://127.0.0.1:{port}/cam/")
        yield Gateway("MediaMTX", f"http://127.0.0.1:{port}/cam/nothing", f"http://127.0.0.1:{port}/cam/whep")


@contextmanager
def go2rtc(program: Path, folder: Path, camera_url: str) -> Iterator[Gateway]:
    """go2rtc. It captures a camera only while somebody watches, so a preload keeps it captured, as in the others."""
    port = free_port()
    config = folder / "go2rtc.yaml"
    config.write_text(
        f"log: {{level: warn}}\napi: {{listen: '127.0.0.1:{port}'}}\nrtsp: {{listen: ''}}\n"
        f"webrtc: {{listen: '127.0.0.1:{free_port()}', ice_servers: [], filters: {{loopback: true}}}}\n"
        f"streams: {{cam: '{camera_url}'}}\npreload: {{cam: video&audio}}\n"
    )
    with _process(folder / "go2rtc.log", str(program), "-config", str(config)):
        _wait_for_http(f"http://127.0.0.1:{port}/api")
        yield Gateway("go2rtc", f"http://127.0.0.1:{port}/api", f"http://127.0.0.1:{port}/api/webrtc?src=cam")


@contextmanager
def _process(log_path: Path, *command: str) -> Iterator[None]:
    with log_path.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, text=True)
        try:
            yield
        finally:
            end(process)


def _wait_for_http(url: str) -> None:
    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    eventually_sync(answers, f"{url} answers")
