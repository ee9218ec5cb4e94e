"""RtspClient: the requests of one connection and their answers; what it set up, and its reader.

Rules:

1. DESCRIBE and SETUP open a stream (:mod:`gateway.rtsp_server.opened_stream`). All tracks of a session are of it.
2. ANNOUNCE needs credentials, too. What it announced is the connection's: SETUP and RECORD need no others.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.capture.publish_point import PUBLISH_URLS
from gateway.errors import ForbiddenError, LiveedgeError, UnauthorizedError, UnavailableError
from gateway.hold import Hold
from gateway.rendition import Rendition
from gateway.rtsp.description import control_of
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import Request, Response
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
from gateway.rtsp_server.opened_stream import OpenedStream
from gateway.rtsp_server.publisher import RtspPublisher
from gateway.rtsp_server.reader import Outlet, Reader
from gateway.rtsp_server.responses import ok, refusal
from gateway.rtsp_server.stream import RtspStream
from gateway.rtsp_server.target import Elsewhere, at_host, target_of
from gateway.service import CaptureService

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

    def elsewhere(self, camera_id: str) -> Elsewhere | None:
        """Where a camera is captured, if not here."""
        ...


class RtspClient:
    """See the module."""

    def __init__(self, links: Links, authentication: ClientAuthentication) -> None:
        self._links = links
        self._authentication = authentication
        self._session = ServerSession(secrets.token_hex(8))
        self._opened = OpenedStream(links, authentication)
        self._announced: tuple[ClientAccess, Hold[Rendition]] | None = None
        """Who publishes, and what keeps the camera captured meanwhile."""
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
        return None if self._opened.opened is None else self._opened.opened.stream.rendition

    @property
    def published(self) -> Rendition | None:
        """The stream that it publishes."""
        return None if self.publisher is None or self._announced is None else self._announced[1].rendition

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
            return refusal(error.status, str(error), error.headers)
        except UnauthorizedError as error:
            return refusal(401, str(error), self._authentication.challenges)
        except ForbiddenError as error:
            return refusal(403, str(error))
        except UnavailableError as error:
            return refusal(503, str(error), (("Retry-After", str(error.retry_after_s)),))
        except LiveedgeError as error:
            return refusal(error.status if error.status in REASONS else 500, str(error))

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
        self._opened.close()
        if self._announced is not None:
            self._announced[1].release()
            self._announced = None

    # --- methods

    async def _options(self, request: Request) -> Response:
        return ok(("Public", ", ".join(PUBLIC)))

    async def _describe(self, request: Request) -> Response:
        if self._session.is_playing or self.publisher is not None:
            raise RefusedError(455, "the session is in use; TEARDOWN comes before another DESCRIBE")
        opened = await self._opened.open(request, has_tracks=bool(self._session.tracks))
        base = request.uri.partition("?")[0].rstrip("/") + "/"
        return ok(("Content-Base", base), ("Content-Type", "application/sdp"), body=opened.description.text.encode())

    async def _set_up(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        if self.publisher is not None:
            return self._set_up_publisher(self.publisher, request)
        _, _, track = target_of(request.uri)
        opened = await self._opened.open(request, has_tracks=bool(self._session.tracks))
        stream, description = opened.stream, opened.description
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
        return ok(("Transport", transport), ("Session", f"{self._session.id};timeout={TIMEOUT_S}"))

    async def _play(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        if self.reader is not None:
            return ok(("Session", self._session.id))
        if self.publisher is not None:
            raise RefusedError(455, "this session publishes; RECORD begins it")
        self._session.play()
        opened = self._opened.opened
        assert opened is not None
        stream, description, access = opened.stream, opened.description, opened.access
        if not opened.is_current:
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
        return ok(("RTP-Info", ",".join(places)), ("Range", "npt=now-"), ("Session", self._session.id))

    async def _pause(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        self._session.pause()
        self._stop()
        if self.publisher is not None:
            self.publisher.close()
        return ok(("Session", self._session.id))

    async def _parameter(self, request: Request) -> Response:
        """A sign of life. There are no parameters (RFC 2326 §10.8)."""
        self._session.require(request.headers.get("Session"))
        return ok(("Session", self._session.id))

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
            return ok(("Session", self._session.id))
        if track is not None and track not in self._session.tracks:
            raise RefusedError(455, f"track {track} is not set up")
        self.close()
        self._session = ServerSession(secrets.token_hex(8))
        self._opened.opened = None
        return ok()

    def _track_of(self, uri: str) -> int | None:
        """The track, or the section of a publisher, that an address is of; ``None``: all. Raises ``RefusedError``."""
        if self.publisher is not None:
            return self.publisher.section_at(uri)
        return target_of(uri)[2] if self._opened.opened is not None else None

    # --- publishing

    async def _announce(self, request: Request) -> Response:
        if self._session.tracks:
            raise RefusedError(455, "the session is in use; TEARDOWN comes before ANNOUNCE")
        camera_id, name, _ = target_of(request.uri)
        access = await self._authentication.verify(request)
        access.require_publish(camera_id)
        rendition = self._links.service.camera(camera_id).rendition(name)
        if rendition.settings.url.get_secret_value().strip() not in PUBLISH_URLS:
            raise RefusedError(405, f'camera {rendition.label} is pulled; one that is published has url = "publish:"')
        self._require_owned(camera_id, request.uri)
        try:
            description = parse_sdp(request.body, request.uri.rstrip("/") + "/")
        except RtspProtocolError as error:
            raise RefusedError(400, f"the session description cannot be read: {error}") from None
        publisher = RtspPublisher(rendition.publish_point, description, self._links.now, self._links.disconnect)
        self.close()
        self.publisher, self._announced = publisher, (access, rendition.hold(""))
        return ok(("Session", self._session.id))

    def _require_owned(self, camera_id: str, uri: str) -> None:
        """Who publishes a camera goes to the node of the cluster that captures it (RFC 2326 §11.3.3)."""
        elsewhere = self._links.elsewhere(camera_id)
        if elsewhere is None:
            return
        if elsewhere.host is None:
            raise RefusedError(503, elsewhere.message, (("Retry-After", "2"),))
        raise RefusedError(302, elsewhere.message, (("Location", at_host(uri, elsewhere.host)),))

    def _set_up_publisher(self, publisher: RtspPublisher, request: Request) -> Response:
        section = publisher.section_of(request.uri)
        delivery = self._session.set_up(section, request.headers.get("Transport"), mode="RECORD")
        transport = transport_header(delivery, None, None)
        return ok(("Transport", transport), ("Session", f"{self._session.id};timeout={TIMEOUT_S}"))

    async def _record(self, request: Request) -> Response:
        self._session.require(request.headers.get("Session"))
        publisher, announced = self.publisher, self._announced
        if publisher is None or announced is None:
            raise RefusedError(455, "nothing is announced; ANNOUNCE and SETUP come before RECORD")
        access, hold = announced
        if not publisher.is_recording:
            self._session.play()
            publisher.record({n: each for n, each in self._session.tracks.items() if isinstance(each, Interleaved)})
            camera_id = hold.rendition.camera_id
            self._end_watch = access.on_revoke(
                lambda error: self._links.disconnect(str(error)), camera_id, publishes=True
            )
        return ok(("Session", self._session.id))

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
