"""Scripts that use the library: they end cleanly, whatever they leave running."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rtsp import RtspServer

ROOT = Path(__file__).parents[2]

SCRIPT = """
import asyncio, sys
from gateway import CaptureService
from gateway.capture.engines.opencv import OpenCVCaptureEngine
from gateway.capture.engines.pyav import PyAVCaptureEngine

OBJECTS = {"opencv": OpenCVCaptureEngine, "pyav": PyAVCaptureEngine}

async def main():
    engine, url, end = sys.argv[1:]
    sizes = []
    enough = asyncio.Event()

    def on_frame(frame_data):
        sizes.append(len(frame_data))
        enough.set()

    # A name, a class or an object.
    made = {"leave": OBJECTS.get(engine, engine), "stop": OBJECTS[engine]() if engine in OBJECTS else engine}
    service = CaptureService(made.get(end, engine), url)
    service.set_frame_callback(on_frame)
    await service.start_capture()
    async with asyncio.timeout(30):
        await enough.wait()
    if end == "stop":
        await service.stop_capture()
    if end == "raise":
        raise SystemExit(3)
    print(min(sizes))

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["stop", "leave", "raise"])
@pytest.mark.parametrize("engine", ["auto", "pyav", "opencv"])
def test_a_script_ends_with_its_own_exit_code_and_no_complaint(rtsp_server: RtspServer, engine: str, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, engine, rtsp_server.url("/cam"), end],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.stderr == ""
    assert done.returncode == (3 if end == "raise" else 0)
    if end != "raise":
        assert int(done.stdout) > 500
