"""IPyCam in its own process: a camera that somebody else wrote. It has WS-Discovery, media and PTZ, no events."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import av
import numpy as np

from tests.support.eventually import eventually_sync
from tests.support.rtsp import free_port

USER, PASSWORD = "admin", "p@ss:w&rd"


class IPyCam:
    """See the module. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._log = folder / "ipycam.log"
        video = folder / "video.mp4"
        _write(video)
        config = folder / "camera_config.json"
        config.write_text(
            json.dumps(
                {
                    "name": "Yard_1",
                    "auth_enabled": True,
                    "username": USER,
                    "password": PASSWORD,
                    "onvif_port": self.port,
                    "rtsp_port": free_port(),
                    "local_ip": "127.0.0.1",
                    "main_width": 640,
                    "main_height": 360,
                    "sub_width": 320,
                    "sub_height": 180,
                }
            )
        )
        self._command = [sys.executable, "-m", "ipycam", "--config", str(config), "--source", str(video)]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/onvif/device_service"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
            )
        eventually_sync(lambda: b"IP Camera is running" in self._log.read_bytes(), "the camera runs", 20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _write(path: Path) -> None:
    """Ten seconds of video."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(100):
            picture = np.full((360, 640, 3), number * 2, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
