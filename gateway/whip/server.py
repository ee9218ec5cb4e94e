"""WhipServer: the publishers of all cameras.

Rules:

1. A camera has one publisher; the newest that connects takes the place. This holds for RTSP and WebRTC alike
   (:mod:`gateway.capture.publish_point`): a phone that changes its network comes back before its old session is over.
2. At most :data:`PENDING_MAX` offers of a camera wait for their connection. One more ends the oldest.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.capture.publish_point import PUBLISH_URLS
from gateway.clock import Clock
from gateway.errors import ConflictError, NotFoundError, UnavailableError
from gateway.webrtc.sdp.answer import LocalDescription
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.stats import ViewerState
from gateway.whip.answer import write_publisher_answer
from gateway.whip.negotiation import negotiate_publisher
from gateway.whip.publisher import WebRtcPublisher

PENDING_MAX = 4


class WhipServer:
    """See the module. Uses the port and the certificate of the WebRTC server."""

    def __init__(self, webrtc: WebRtcServer, clock: Clock) -> None:
        self._webrtc = webrtc
        self._clock = clock
        self._publishers: dict[str, WebRtcPublisher] = {}
        self._closed = False
        self._refused = 0
        self._arrivals_dropped = 0
        """Of publishers that have ended."""

    @property
    def connected(self) -> Mapping[str, int]:
        """How many publishers are connected, by camera."""
        connected = (each for each in self._publishers.values() if each.state is ViewerState.CONNECTED)
        return Counter(each.camera_id for each in connected)

    @property
    def packets_refused(self) -> int:
        """Packets that were not authentic, or of no stream of the answer. Never decreases."""
        return self._refused + sum(each.packets_refused for each in self._publishers.values())

    @property
    def arrivals_dropped(self) -> int:
        """Arrivals that a sender was not told of. Never decreases."""
        return self._arrivals_dropped + sum(each.feedback.arrivals.dropped for each in self._publishers.values())

    @property
    def publishers(self) -> Mapping[str, WebRtcPublisher]:
        """All publishers by id."""
        return self._publishers

    def publisher(self, publisher_id: str, camera_id: str) -> WebRtcPublisher:
        """A publisher by its id and camera. Raises :class:`~gateway.errors.NotFoundError`."""
        found = self._publishers.get(publisher_id)
        if found is None or found.camera_id != camera_id:
            raise NotFoundError("there is no such publisher; it has ended, or never existed")
        return found

    def publish(
        self, camera: Camera, offer_sdp: str, *, client_address: str, name: RenditionName = RenditionName.MAIN
    ) -> WebRtcPublisher:
        """Make a publisher from an offer; its ``answer_sdp`` is ready.

        Raises ``ConflictError`` for a camera that is pulled, ``BadRequestError`` for an invalid offer,
        ``NegotiationError`` for one without video that can be taken, ``NotFoundError`` for a rendition that the camera
        does not have, and ``UnavailableError`` while the server is closing.
        """
        if self._closed or not self._webrtc.listener.is_open:
            raise UnavailableError("the gateway is stopping")
        rendition = camera.rendition(name)
        if rendition.settings.url.get_secret_value().strip() not in PUBLISH_URLS:
            raise ConflictError(f'camera {rendition.label} is pulled; one that is published has url = "whip:"')
        negotiated = negotiate_publisher(parse_offer(offer_sdp))
        self._make_room(camera.id)
        publisher = WebRtcPublisher(
            rendition,
            negotiated,
            client_address=client_address,
            new_transport=self._webrtc.new_transport,
            candidates=self._webrtc.listener.candidates,
            clock=self._clock,
            on_closed=self._on_closed,
        )
        self._publishers[publisher.id] = publisher
        self._webrtc.maintained.add(publisher)
        agent = publisher.transport.agent
        local = LocalDescription(
            session_id=secrets.randbits(62),
            stream_name=camera.id,
            credentials=((agent.username, agent.password),),
            fingerprint=self._webrtc.fingerprint,
            candidates=self._webrtc.listener.candidates(),
        )
        publisher.answer_sdp = write_publisher_answer(negotiated, local)
        return publisher

    async def close_camera(self, camera_id: str, reason: str) -> None:
        """Close the publishers of a camera that was removed."""
        await asyncio.gather(*(each.close(reason) for each in self._of(camera_id)))

    async def close(self) -> None:
        """Close all publishers. May be called twice."""
        self._closed = True
        await asyncio.gather(*(each.close("the gateway is stopping") for each in tuple(self._publishers.values())))

    def _of(self, camera_id: str) -> list[WebRtcPublisher]:
        return [each for each in self._publishers.values() if each.camera_id == camera_id]

    def _make_room(self, camera_id: str) -> None:
        """Rule 2."""
        waiting = [each for each in self._of(camera_id) if each.state is ViewerState.NEW]
        for publisher in waiting[: max(0, len(waiting) - PENDING_MAX + 1)]:
            publisher.close_soon("it was not connected, and another publisher came")

    def _on_closed(self, publisher: WebRtcPublisher) -> None:
        if self._publishers.pop(publisher.id, None) is not None:
            self._refused += publisher.packets_refused
            self._arrivals_dropped += publisher.feedback.arrivals.dropped
        self._webrtc.maintained.discard(publisher)
