"""OpenedStream: what DESCRIBE or SETUP opened for a client: a stream of a camera, and how it was described.

Rules:

1. It needs credentials. What they opened is the connection's, and needs no others.
2. A camera that is starting is waited for, :data:`START_TIMEOUT_S`; it is captured while the client decides.
"""

from dataclasses import dataclass
from typing import Protocol

from gateway.hold import Hold
from gateway.rendition import Rendition
from gateway.rtsp.description import Description, describe
from gateway.rtsp.messages import Request
from gateway.rtsp.session import RefusedError
from gateway.rtsp_server.access import ClientAccess
from gateway.rtsp_server.authentication import ClientAuthentication
from gateway.rtsp_server.stream import RtspStream
from gateway.rtsp_server.target import target_of
from gateway.service import CaptureService

START_TIMEOUT_S = 4.0
"""Less than clients wait for an answer: liveedge itself 5 s, others 10 s."""


class Streams(Protocol):
    """Where streams are found."""

    service: CaptureService

    def stream(self, rendition: Rendition) -> RtspStream:
        """The stream of a rendition."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream, its description as the client has it, and who the client is."""

    stream: RtspStream
    description: Description
    access: ClientAccess

    @property
    def is_current(self) -> bool:
        """Whether the camera still sends what was described."""
        info = self.stream.rendition.hub.info
        return info is None or self.description.is_of(describe(info, self.stream.rendition.label))


class OpenedStream:
    """See the module. :meth:`close` it."""

    def __init__(self, streams: Streams, authentication: ClientAuthentication) -> None:
        self._streams = streams
        self._authentication = authentication
        self.opened: Opened | None = None
        self._hold: Hold[Rendition] | None = None
        """Keeps the camera captured between DESCRIBE and PLAY."""

    async def open(self, request: Request, *, has_tracks: bool) -> Opened:
        """Find the stream of a request's address, and describe it. ``has_tracks``: a session of its own uses it.

        Raises :class:`~gateway.rtsp.session.RefusedError` and :class:`~gateway.errors.LiveedgeError`.
        """
        camera_id, name, _ = target_of(request.uri)
        access = await self._authentication.verify(request)
        access.require_view(camera_id)
        rendition = self._streams.service.camera(camera_id).rendition(name)
        if self.opened is not None and has_tracks:
            if self.opened.stream.rendition is not rendition:
                raise RefusedError(459, "all tracks of a session are of one camera's stream")
            self.opened = Opened(self.opened.stream, self.opened.description, access)
            return self.opened
        if self._hold is None or self._hold.rendition is not rendition:
            before, self._hold = self._hold, rendition.hold("")
            if before is not None:
                before.release()
        await rendition.wait_for_keyframe(START_TIMEOUT_S)
        info = rendition.hub.info
        assert info is not None
        description = describe(info, rendition.label)
        if description is None:
            raise RefusedError(415, f"the camera sends {info.video.codec}, which this server does not send as RTP")
        self.opened = Opened(self._streams.stream(rendition), description, access)
        return self.opened

    def close(self) -> None:
        """The camera is not waited for any more. May be called twice."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None
