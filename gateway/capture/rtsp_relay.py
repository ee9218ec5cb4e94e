"""RtspRelay: stands between libav and an RTSP camera, so that libav gets nothing that our own client would not take.

Theory of operation. libav bounds neither the bodies of responses nor redirects, it checks no address, and a wait of its
own can only be ended by callbacks that take the GIL for every packet. So it connects to a socket on this machine, and
the relay connects to the camera: every message passes :class:`~gateway.rtsp.messages.StreamParser`, with its limits.
The relay lives on an event loop; libav has no time-out, and a wait of it ends because the relay closes its connection.

    libav ── rtsp://127.0.0.1:PORT/SECRET ── relay ── rtsp:// or rtsps:// with credentials ── camera

Rules:

1. Only the first connection to the port is accepted, and only requests with the secret: others on this machine could
   otherwise watch with the camera's password.
2. The relay answers what libav cannot decide: 401 with the credentials, a refused OPTIONS with success. A redirect ends
   it; the caller follows it by its own rules.
3. Messages are written again and not copied: only known headers pass, and only media that was set up.
4. Over UDP, packets go from the camera to libav directly. The address that libav sends to is the camera's, whatever the
   camera writes (``source=``).
5. A camera that is faster than libav is not read: TCP slows it down. :class:`~gateway.capture.watch.Watch` bounds what
   libav takes in, and the time.
"""

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import Coroutine
from dataclasses import dataclass, replace

from gateway.capture import camera_errors
from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import TUNNEL_SCHEMES, connect, credentials, request_uri
from gateway.capture.rtsp_connection import RtspConnection
from gateway.capture.url import CameraUrl
from gateway.capture.watch import Watch
from gateway.errors import CaptureError
from gateway.rtsp.auth import Authenticator, parse_challenges
from gateway.rtsp.client import RETRIES_MAX, USER_AGENT
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import Headers, Message, Request, Response
from gateway.rtsp.redirect import redirect_location
from gateway.rtsp.sdp import MEDIA_MAX, content_base, parse_sdp

TICK_S = 0.1
"""How often the watch is asked, in seconds."""

FLUSH_S = 0.02
"""How long packets wait for the one that completes their picture, in seconds. libav's thread then wakes up once a
picture, and not once a packet."""

FLUSH_BYTES = 64 * 1024
"""What does not wait any longer."""

GOODBYE_S = 0.2
"""How long the TEARDOWN may take to be sent before the connection is closed anyway, in seconds."""

_REQUEST_HEADERS = ("Accept", "Transport", "Session", "Range", "Content-Type")
_RESPONSE_HEADERS = ("Public", "Transport", "Session", "Content-Type", "RTP-Info", "Range")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request to the camera, and the ``CSeq`` under which libav asked for it (``None``: it did not)."""

    request: Request
    libav_cseq: str | None
    retries: int = 0


class RtspRelay:
    """One connection of libav; see the module. All methods are called on the loop.

    After its end, ``redirect`` is where the camera's stream is instead, and ``error`` is what the camera did wrong, as
    far as it is known.
    """

    def __init__(self, url: CameraUrl, source: CaptureSource, watch: Watch) -> None:
        self.redirect: str | None = None
        self.error: CaptureError | None = None
        self.refusal: CaptureError | None = None
        """The camera's last refusal, or that it hung up: the reason if libav gives up."""
        self._url = url
        self._source = source
        self._watch = watch
        self._camera_uri = request_uri(url)
        self._libav_uri = ""
        self._authenticator = Authenticator(credentials(url))
        self._camera: RtspConnection | None = None
        self._libav: RtspConnection | None = None
        self._listener: socket.socket | None = None
        self._asked: dict[int, _Asked] = {}
        self._cseq = 0
        self._session: str | None = None
        self._control_uri = self._camera_uri
        self._channels: set[int] = set()
        """The interleaved channels that SETUP agreed on."""
        self._out = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._is_ended = False
        self._is_playing = False
        self._is_camera_lost = False
        self._has_left = False
        """Whether libav has said goodbye. Neither its answer nor the end of the connection is why libav gave up."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Connect to the camera; the URL that libav opens. Raises a :class:`~gateway.errors.CaptureError`."""
        loop = asyncio.get_running_loop()
        self._camera = await connect(self._url, self._source, self._frame_of_camera, self._message_of_camera)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.setblocking(False)
        loop.add_reader(self._listener, self._accept)
        port = self._listener.getsockname()[1]
        self._libav_uri = f"rtsp://127.0.0.1:{port}/{secrets.token_urlsafe(16)}"
        self._spawn(self._wait_for_camera(self._camera))
        self._tick()
        return self._libav_uri

    def end(self, error: CaptureError | None = None) -> None:
        """Close both connections at once; libav's wait ends."""
        if self._is_ended:
            return
        self._is_ended = True
        self.error = self.error or error
        self._stop_listening()
        if self._libav is not None:
            self._libav.abort()
        if self._camera is not None:
            if self._session is not None:
                self._ask(Request("TEARDOWN", self._control_uri, Headers([("Session", self._session)])), None)
            self._camera.close()

    async def close(self) -> None:
        """End, and wait until everything is closed."""
        self.end()
        for connection in filter(None, (self._libav, self._camera)):
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await connection.wait_ended()
            except Exception:
                connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- ends

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tick(self) -> None:
        if self._is_ended:
            return
        fault = self._watch.fault
        if fault is not None:
            self.end(fault)
        else:
            asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def _wait_for_camera(self, camera: RtspConnection) -> None:
        """libav has what came before the end, and then the end."""
        try:
            await camera.wait_ended()
        except RtspProtocolError as error:
            failure = camera_errors.broken_stream if self._is_playing else camera_errors.not_rtsp
            self.end(failure(self._url, str(error)))
        except CaptureError as error:
            self.end(error)
        except OSError:
            pass
        self._is_camera_lost = True
        if self.refusal is None and not self._has_left:
            self.refusal = (camera_errors.ended if self._is_playing else camera_errors.hung_up)(self._url)
        self._flush()
        if self._libav is not None:
            self._libav.close()
        else:
            self.end()

    # --- libav's side

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        self._stop_listening()
        accepted.setblocking(False)
        self._libav = connection = RtspConnection(self._frame_of_libav, self._message_of_libav)
        connection.on_write_paused = self._pause_camera
        self._spawn(self._serve(accepted, connection))

    async def _serve(self, accepted: socket.socket, libav: RtspConnection) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: libav, accepted)
        if self._is_ended or self._is_camera_lost:
            libav.close()
        # Whatever ended it: libav knows.
        with contextlib.suppress(OSError, RtspProtocolError):
            await libav.wait_ended()
        self.end()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _pause_camera(self, is_paused: bool) -> None:
        if self._camera is not None:
            self._camera.pause_reading(is_paused)

    def _frame_of_libav(self, channel: int, frame: memoryview) -> None:
        if self._camera is not None and self._cseq:
            self._camera.write(b"$" + bytes((channel,)) + len(frame).to_bytes(2, "big") + frame)

    def _message_of_libav(self, message: Message) -> None:
        if isinstance(message, Response):
            return
        uri = message.uri
        if uri.startswith(self._libav_uri):
            uri = self._camera_uri + uri[len(self._libav_uri) :]
        elif not self._cseq:
            raise RtspProtocolError("not our libav")
        transport = message.headers.get("Transport") or ""
        if "client_port" in transport and self._url.scheme in TUNNEL_SCHEMES:
            # A tunnel is there for networks that let no UDP through.
            assert self._libav is not None
            self._libav.send(Response(461, "No UDP", Headers([("CSeq", message.headers.get("CSeq") or "0")])))
            return
        headers = [(name, value) for name in _REQUEST_HEADERS if (value := message.headers.get(name)) is not None]
        request = Request(message.method, uri, Headers(headers), message.body)
        if message.method == "TEARDOWN":
            self._session = None
            self._has_left = True
        self._ask(request, message.headers.get("CSeq") or "0")

    # --- the camera's side

    def _ask(self, request: Request, libav_cseq: str | None, retries: int = 0) -> None:
        assert self._camera is not None
        self._cseq += 1
        headers = [("CSeq", str(self._cseq)), ("User-Agent", USER_AGENT), *request.headers]
        authorization = self._authenticator.authorization(request.method, request.uri)
        if authorization is not None:
            headers.append(("Authorization", authorization))
        # Some servers answer no keep-alive.
        for cseq in [cseq for cseq in self._asked if cseq < self._cseq - 8]:
            del self._asked[cseq]
        self._asked[self._cseq] = _Asked(request, libav_cseq, retries)
        self._camera.send(replace(request, headers=Headers(headers)))

    def _frame_of_camera(self, channel: int, frame: memoryview) -> None:
        if channel not in self._channels:
            return
        if not self._out:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)
        self._out += b"$" + bytes((channel,)) + len(frame).to_bytes(2, "big")
        self._out += frame
        if len(self._out) > FLUSH_BYTES or (len(frame) > 1 and frame[1] & 0x80):
            # The marker bit: with this packet, a picture is complete.
            self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._out and self._libav is not None:
            self._watch.count(len(self._out))
            fault = self._watch.fault
            if fault is not None:
                self.end(fault)
            self._libav.write(bytes(self._out))
        self._out.clear()

    def _message_of_camera(self, message: Message) -> None:
        assert self._camera is not None
        if isinstance(message, Request):
            is_known = message.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN", "REDIRECT")
            headers = Headers([("CSeq", message.headers.get("CSeq") or "0")])
            self._camera.send(Response(200, "OK", headers) if is_known else Response(501, "Not Implemented", headers))
            if message.method in ("TEARDOWN", "REDIRECT"):
                self.end(camera_errors.ended(self._url))
            return
        if message.status < 200:
            return
        cseq = message.cseq if message.cseq is not None else max(self._asked, default=0)
        asked = self._asked.pop(cseq, None)
        if asked is None or asked.libav_cseq is None:
            return
        answer = self._answer(asked, message)
        if answer is not None and self._libav is not None:
            self._flush()
            self._libav.send(answer)

    def _answer(self, asked: _Asked, response: Response) -> Response | None:
        """What libav gets for it; ``None`` where it gets nothing yet, or no more."""
        method, status = asked.request.method, response.status
        headers = response.headers
        if (
            status == 401
            and asked.retries < RETRIES_MAX
            and self._authenticator.accept(parse_challenges(headers.get_all("WWW-Authenticate")))
        ):
            self._ask(asked.request, asked.libav_cseq, asked.retries + 1)
            return None
        if status != 401:
            self._authenticator.succeeded()
        if 300 <= status < 400:
            location = redirect_location(self._camera_uri, headers.get("Location"))
            if location is not None:
                self.redirect = location
                self.end()
                return None
        if method == "OPTIONS" and status >= 400 and status != 401:
            status = 200
        if method == "TEARDOWN":
            pass
        elif status >= 300 and method == "PLAY" and self._session is None:
            self.refusal = None  # libav has found no track that it wants
        elif status >= 300:
            after = headers.get("Retry-After") or ""
            wait_s = float(after) if re.fullmatch(r"[0-9]{1,6}", after) else None
            self.refusal = camera_errors.refused(self._url, status, method, wait_s)
        else:
            self.refusal = None
        return self._rewritten(asked, response, status)

    def _rewritten(self, asked: _Asked, response: Response, status: int) -> Response:
        method = asked.request.method
        passed = {name: value for name in _RESPONSE_HEADERS if (value := response.headers.get(name)) is not None}
        if method == "DESCRIBE" and status == 200:
            base = content_base(
                self._camera_uri, response.headers.get("Content-Base"), response.headers.get("Content-Location")
            )
            self._check_description(response.body, base)
            passed["Content-Base"] = base
            self._control_uri = base
        self._is_playing |= method == "PLAY" and status == 200
        if method == "SETUP" and status == 200:
            self._session = passed.get("Session", self._session or "").partition(";")[0].strip() or None
            passed["Transport"] = self._transport(passed.get("Transport", asked.request.headers.get("Transport") or ""))
        headers = [("CSeq", asked.libav_cseq or "0"), *passed.items()]
        return Response(status, "OK" if status < 300 else "Refused", Headers(headers), response.body)

    def _check_description(self, body: bytes, base: str) -> None:
        """Raises :class:`~gateway.rtsp.errors.RtspProtocolError` for what libav should not get."""
        parse_sdp(body, base)
        if len(re.findall(rb"(?:\A|[\r\n])[ \t]*m=", body)) > MEDIA_MAX:
            raise RtspProtocolError(f"a description of more than {MEDIA_MAX} tracks")

    def _transport(self, header: str) -> str:
        """Rule 4."""
        assert self._camera is not None
        named = header.split(",")[0].split(";")
        parts = [part for part in named if not re.match(r"(?i)\s*(source|destination)\s*=", part)]
        for part in parts:
            channels = re.fullmatch(r"(?i)\s*interleaved\s*=\s*([0-9]{1,3})(?:-([0-9]{1,3}))?\s*", part)
            if channels:
                self._channels |= {int(channels[1]), int(channels[2] or int(channels[1]) + 1)}
        if any(part.strip().lower().startswith("client_port=") for part in parts):
            parts.append(f"source={self._camera.peer}")
        return ";".join(parts)
