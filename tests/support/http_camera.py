"""A camera over HTTP on 127.0.0.1, with what each path answers; and streams in the containers that cameras send."""

import contextlib
import io
import ssl
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

Respond = Callable[[BaseHTTPRequestHandler], None]


class HttpCamera:
    """See the module. A context manager. ``resources`` are bodies by path, or functions that answer."""

    def __init__(self, resources: Mapping[str, bytes | Respond], certificate: Path | None = None) -> None:
        """With a ``certificate`` (PEM, with its key), it is a camera over HTTPS."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Path and headers of each request, in order."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers.items())))
                found = resources.get(self.path)
                with contextlib.suppress(OSError):
                    if callable(found):
                        found(self)
                    elif found is None:
                        self.send_error(404)
                    else:
                        self.send_response(200)
                        self.send_header("Content-Length", str(len(found)))
                        self.end_headers()
                        self.wfile.write(found)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port: int = self._server.server_address[1]

    def url(self, path: str, userinfo: str = "") -> str:
        return f"{self._scheme}://{userinfo}{'@' if userinfo else ''}127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@lru_cache
def stream(container: str, frames: int = 50, *, codec: str = "libx264", audio: bool = True) -> bytes:
    """``frames`` pictures at 25 a second, a keyframe every 10, and AAC, in one of libav's containers."""
    file = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"} if container == "mp4" else {}
    with av.open(file, "w", format=container, options=options) as output:
        video = output.add_stream(codec, rate=25)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt, video.gop_size = 160, 96, "yuv420p", 10
        if codec == "libx264":
            video.options = {"preset": "ultrafast", "tune": "zerolatency"}
        else:
            video.pix_fmt = "yuvj420p"
        video.codec_context.time_base = Fraction(1, 25)
        sound = output.add_stream("aac", rate=48_000, layout="stereo") if audio else None
        samples = 0
        for number in range(frames):
            picture = np.full((144, 160), number * 4 % 255, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts = number
            for packet in video.encode(frame):
                output.mux(packet)
            while sound is not None and samples < (number + 1) * 1920:
                heard = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                heard.sample_rate, heard.pts, heard.time_base = 48_000, samples, Fraction(1, 48_000)
                samples += 1024
                for sounding in sound.encode(heard):
                    output.mux(sounding)
        for packet in video.encode(None):
            output.mux(packet)
    return file.getvalue()
