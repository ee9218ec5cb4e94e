"""RtspClient: the requests of one connection and their answers; what it set up, and its reader.

Rules:

1. DESCRIBE and SETUP need credentials. What they opened is the connection's, and needs no others.
2. A camera that is starting is waited for, :data:`START_TIMEOUT_S`; it is captured while the client decides.
3. A path is ``/{camera}`` for the main stream and ``/{camera}/sub``. All tracks of a session are of one stream.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import unquote, urlsplit

from gateway.camera_settings import RenditionName
from gateway.capture.publish_point import PUBLISH_URLS
from gateway.errors import ForbiddenError, LiveedgeError, UnauthorizedError, UnavailableError
from gateway.hold import Hold
from gateway.rendition import Rendition
from gateway.rtsp.description import Description, control_of, describe
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import Headers, Request, Response
from gateway.rtsp.sdp import parse_sdp
from gateway.rtsp.session import (
    PUBLIC,
    REASONS,
    TIMEOUT_S,
    Interleaved,
    RefusedError,
    ServerSession,
    UdpPorts,
    transport_header,
)
from gateway.rtsp_server.access import ClientAccess
from gateway.rtsp_server.authentication import ClientAuthentication
from gateway.rtsp_server.publisher import RtspPublisher
from gateway.rtsp_server.reader import Outlet, Reader
from gateway.rtsp_server.stream import RtspStream
from gateway.service import CaptureService

START_TIMEOUT_S = 4.0
"""Less than clients wait for an answer: liveedge itself 5 s, others 10 s."""

KIND = "rtsp"
"""The transport of these viewers in ``viewers``."""


class Links(Protocol):
    """What a client needs of its server and its connection."""

    service: CaptureService
    now: Callable[[], float]
    """Monotonic seconds."""

    def stream(self, rendition: Rendition) -> RtspStream:
        """The stream of a rendition."""
        ...

    def server_ports(self) -> tuple[int, int]:
        """The ports that RTP over UDP comes from. Raises ``OSError``."""
        ...

    def outlet(self, tracks: Mapping[int, object]) -> Outlet:
        """Where the packets of a session go."""
        ...

    def disconnect(self, reason: str) -> None:
        """End the connection."""
        ...


class RtspClient:
    """See the module."""

    def __init__(self, links: Links, authentication: ClientAuthentication) -> None:
        self._links = links
        self._authentication = authentication
        self._session = ServerSession(secrets.token_hex(8))
        self._stream: RtspStream | None = None
        self._description: Description | None = None
        self._access: ClientAccess | None = None
        self._waiting_hold: Hold[Rendition] | None = None
        """Keeps the camera captured between DESCRIBE and PLAY."""
        self._hold: Hold[Rendition] | None = None
        self._end_watch: Callable[[], None] | None = None
        self.reader: Reader | None = None
        self.publisher: RtspPublisher | None = None
        self._methods: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "OPTIONS": self._options,
            "DESCRIBE": self._describe,
            "SETUP": self._set_up,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "GET_PARAMETER": self._parameter,
            "SET_PARAMETER": self._parameter,
            "TEARDOWN": self._tear_down,
            "ANNOUNCE": self._announce,
            "RECORD": self._record,
        }

    @property
    def is_active(self) -> bool:
        """Whether it plays or publishes."""
        return self.reader is not None or (self.publisher is not None and self.publisher.is_recording)

    @property
    def is_over_udp(self) -> bool:
        return any(isinstance(each, UdpPorts) for each in self._session.tracks.values())

    @property
    def udp_ports(self) -> tuple[int, ...]:
        """The ports from which its RTCP comes."""
        return tuple(each.rtcp for each in self._session.tracks.values() if isinstance(each, UdpPorts))

    @property
    def rendition(self) -> Rendition | None:
        """The stream that it reads."""
        return None if self._stream is None else self._stream.rendition

    async def answer(self, request: Request) -> Response:
        """The answer to a request. After it was written, :meth:`answered` is called."""
        method = self._methods.get(request.method)
        try:
            if not request.version.startswith("1."):
                raise RefusedError(505, f"this server speaks RTSP/1.0, not RTSP/{request.version}")
            if required := request.headers.get("Require"):
                raise RefusedError(551, "this server has no optional features", (("Unsupported", required[:200]),))
            if method is None:
                raise RefusedError(501, f"this server only serves: {', '.join(PUBLIC)}")
            return await method(request)
        except RefusedError as error:
            return _refusal(error.status, str(error), error.headers)
        except UnauthorizedError as error:
            return _refusal(401, str(error), self._authentication.challenges)
        except ForbiddenError as error:
            return _refusal(403, str(error))
        except UnavailableError as error:
            return _refusal(503, str(error), (("Retry-After", str(error.retry_after_s)),))
        except LiveedgeError as error:
            return _refusal(error.status if error.status in REASONS else 500, str(error))

    def answered(self) -> None:
        """Send what PLAY has asked for."""
        if self.reader is not None:
            self.reader.pump()

    def close(self) -> None:
        """The connection has ended. May be called twice."""
        self._stop()
        if self.publisher is not None:
            self.publisher.close()
            self.publisher = None
        if self._waiting_hold is not None:
            self._waiting_hold.release()
            self._waiting_hold = None

    # --- methods

    async def _options(self, request: Request) -> Response:
        return _response(("Public", ", ".join(PUBLIC)))

    async def _describe(self, request: Request) -> Response:
        if self._session.is_playing or self.publisher is not None:
            raise RefusedError(455, "the session is in use; TEARDOWN comes before another DESCRIBE")
        await self._open(request)
        assert self._description is not None
        base = request.uri.partition("?")[0].rstrip("/") + "/"
        return _response(
            ("Content-Base", base), ("Content-Type", "application/sdp"), body=self._description.text.encode()
        )

    async def _set_up(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        if self.publisher is not None:
            return self._set_up_publisher(self.publisher, request)
        _, _, track = _target(request.uri)
        await self._open(request)
        stream, description = self._stream, self._description
        assert stream is not None
        assert description is not None
        if track is None:
            if description.tracks > 1:
                raise RefusedError(459, f"SETUP is for one track: add /{control_of(0)} to the address")
            track = 0
        if track >= description.tracks:
            raise RefusedError(404, f"there is no track {track}; DESCRIBE names the tracks")
        delivery = self._session.set_up(track, request.headers.get("Transport"))
        ports = None
        if isinstance(delivery, UdpPorts):
            try:
                ports = self._links.server_ports()
            except OSError:
                del self._session.tracks[track]
                raise RefusedError(461, "this server has no UDP ports left; use RTP/AVP/TCP") from None
        transport = transport_header(delivery, stream.ssrc(track, description), ports)
        return _response(("Transport", transport), ("Session", f"{self._session.id};timeout={TIMEOUT_S}"))

    async def _play(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        if self.reader is not None:
            return _response(("Session", self._session.id))
        if self.publisher is not None:
            raise RefusedError(455, "this session publishes; RECORD begins it")
        self._session.play()
        stream, description, access = self._stream, self._description, self._access
        assert stream is not None
        assert description is not None
        assert access is not None
        info = stream.rendition.hub.info
        if info is not None and not description.is_of(describe(info, stream.rendition.label)):
            self._session.pause()
            raise RefusedError(455, "the camera sends another format now; TEARDOWN, and ask again with DESCRIBE")
        outlet = self._links.outlet(self._session.tracks)
        reader = Reader(stream, description, self._session.tracks, outlet, self._links.disconnect)
        self._end_watch = access.on_revoke(lambda error: self._links.disconnect(str(error)), stream.rendition.camera_id)
        self._hold = stream.rendition.hold(KIND)
        begins = reader.join()
        self.reader = reader
        base = request.uri.partition("?")[0].rstrip("/")
        base = base.rpartition("/")[0] if "/trackID=" in base else base
        places = [
            f"url={base}/{control_of(track)};seq={sequence}" + ("" if time is None else f";rtptime={time}")
            for track, (sequence, time) in begins.items()
        ]
        return _response(("RTP-Info", ",".join(places)), ("Range", "npt=now-"), ("Session", self._session.id))

    async def _pause(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        self._session.pause()
        self._stop()
        if self.publisher is not None:
            self.publisher.close()
        return _response(("Session", self._session.id))

    async def _parameter(self, request: Request) -> Response:
        """A sign of life. There are no parameters (RFC 2326 §10.8)."""
        self._session.require(request.headers.get("Session"))
        return _response(("Session", self._session.id))

    async def _tear_down(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        track = self._track_of(request.uri)
        if track in self._session.tracks and len(self._session.tracks) > 1:
            # One of several (RFC 2326 §10.7): the session goes on.
            delivery = self._session.tracks.pop(track)
            if self.reader is not None:
                self.reader.remove(track)
            if self.publisher is not None and isinstance(delivery, Interleaved):
                self.publisher.remove(track, delivery)
            return _response(("Session", self._session.id))
        if track is not None and track not in self._session.tracks:
            raise RefusedError(455, f"track {track} is not set up")
        self.close()
        self._session = ServerSession(secrets.token_hex(8))
        self._stream = self._description = None
        return _response()

    def _track_of(self, uri: str) -> int | None:
        """The track, or the section of a publisher, that an address is of; ``None``: all. Raises ``RefusedError``."""
        if self.publisher is not None:
            return self.publisher.section_at(uri)
        return _target(uri)[2] if self._stream is not None else None

    # --- publishing

    async def _announce(self, request: Request) -> Response:
        if self._session.tracks:
            raise RefusedError(455, "the session is in use; TEARDOWN comes before ANNOUNCE")
        camera_id, name, _ = _target(request.uri)
        access = await self._authentication.verify(request)
        access.require_publish(camera_id)
        rendition = self._links.service.camera(camera_id).rendition(name)
        if rendition.settings.url.get_secret_value().strip() not in PUBLISH_URLS:
            raise RefusedError(405, f'camera {rendition.label} is pulled; one that is published has url = "publish:"')
        try:
            description = parse_sdp(request.body, request.uri.rstrip("/") + "/")
        except RtspProtocolError as error:
            raise RefusedError(400, f"the session description cannot be read: {error}") from None
        publisher = RtspPublisher(rendition.publish_point, description, self._links.now, self._links.disconnect)
        self.close()
        self.publisher, self._access, self._waiting_hold = publisher, access, rendition.hold("")
        return _response(("Session", self._session.id))

    def _set_up_publisher(self, publisher: RtspPublisher, request: Request) -> Response:
        section = publisher.section_of(request.uri)
        delivery = self._session.set_up(section, request.headers.get("Transport"), mode="RECORD")
        transport = transport_header(delivery, None, None)
        return _response(("Transport", transport), ("Session", f"{self._session.id};timeout={TIMEOUT_S}"))

    async def _record(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        publisher, access, hold = self.publisher, self._access, self._waiting_hold
        if publisher is None or access is None or hold is None:
            raise RefusedError(455, "nothing is announced; ANNOUNCE and SETUP come before RECORD")
        if not publisher.is_recording:
            self._session.play()
            publisher.record({n: each for n, each in self._session.tracks.items() if isinstance(each, Interleaved)})
            camera_id = hold.rendition.camera_id
            self._end_watch = access.on_revoke(
                lambda error: self._links.disconnect(str(error)), camera_id, publishes=True
            )
        return _response(("Session", self._session.id))

    # --- the stream

    async def _open(self, request: Request) -> None:
        """Find the stream of a request's address, and describe it."""
        camera_id, name, _ = _target(request.uri)
        access = await self._authentication.verify(request)
        access.require_view(camera_id)
        rendition = self._links.service.camera(camera_id).rendition(name)
        if self._stream is not None and self._stream.rendition is not rendition and self._session.tracks:
            raise RefusedError(459, "all tracks of a session are of one camera's stream")
        self._access = access
        if self._stream is not None and self._stream.rendition is rendition and self._session.tracks:
            return
        if self._waiting_hold is None or self._waiting_hold.rendition is not rendition:
            waiting, self._waiting_hold = self._waiting_hold, rendition.hold("")
            if waiting is not None:
                waiting.release()
        await rendition.wait_for_keyframe(START_TIMEOUT_S)
        info = rendition.hub.info
        assert info is not None
        description = describe(info, rendition.label)
        if description is None:
            raise RefusedError(415, f"the camera sends {info.video.codec}, which this server does not send as RTP")
        self._stream, self._description = self._links.stream(rendition), description

    def _stop(self) -> None:
        if self.reader is not None:
            self.reader.stop()
            self.reader = None
        if self._end_watch is not None:
            self._end_watch()
            self._end_watch = None
        if self._hold is not None:
            self._hold.release()
            self._hold = None


def _target(uri: str) -> tuple[str, RenditionName, int | None]:
    """Camera, rendition and track of an address. Raises :class:`~gateway.rtsp.session.RefusedError`."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise RefusedError(400, "an address that cannot be read") from None
    # Some clients put the control of a track behind the query.
    names = [unquote(each) for each in parts.path.split("/") if each]
    behind_query = parts.query.rpartition("/")[2]
    last = names[-1] if names else ""
    track = None
    for text in (last, behind_query):
        key, _, number = text.partition("=")
        if key == "trackID" and number.isascii() and number.isdigit() and len(number) < 4:
            track = int(number)
            if text is last:
                names.pop()
            break
    if len(names) == 2 and names[1] in (RenditionName.MAIN, RenditionName.SUB):
        return names[0], RenditionName(names[1]), track
    if len(names) == 1:
        return names[0], RenditionName.MAIN, track
    raise RefusedError(404, "there is nothing at this address; cameras are at /{camera} and /{camera}/sub")


def _response(*headers: tuple[str, str], body: bytes = b"") -> Response:
    return Response(200, REASONS[200], Headers(list(headers)), body)


def _refusal(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    text = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, REASONS[status], Headers([*headers, text]), message.encode())
