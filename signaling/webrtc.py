"""WebRtcRelay: WebRTC signaling over Socket.IO, for clients that do not use WHEP.

The media path is the same as with WHEP. This module only maps clients to viewers. A viewer belongs to the connection
that its offer came on, and to its ``client_id``. The EMS counts as one connection, even after it has reconnected. A
viewer ends by ``webrtc_close``, by a new offer, or when its client may no longer see the camera. It does not end when
its signaling connection is lost.
"""

from gateway.errors import NotFoundError
from gateway.service import CaptureService
from gateway.webrtc.rendition_request import RenditionRequest
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.viewer import Viewer
from signaling.answers import Done, WebRtcAnswer, WebRtcRendition
from signaling.control import Caller, Control, LiveEdgeSource, Reply
from signaling.requests import IceCandidate, WebRtcCandidate, WebRtcClose, WebRtcOffer, WebRtcRenditionRequest


class WebRtcRelay:
    """Adds the ``webrtc_…`` commands to a :class:`Control`."""

    def __init__(self, control: Control, webrtc: WebRtcServer) -> None:
        self._service: CaptureService = control.service
        self._webrtc = webrtc
        self._viewers: dict[tuple[str, str], Viewer] = {}
        control.add_handler("webrtc_offer", self._offer)
        control.add_handler("webrtc_rendition_request", self._change_rendition)
        control.add_handler("webrtc_ice_candidate", self._candidate)
        control.add_handler("webrtc_close", self._close)

    async def _offer(self, caller: Caller, offer: WebRtcOffer) -> Reply:
        camera = self._service.camera(offer.camera_id)
        key = (caller.connection, offer.client_id)
        viewer = await self._webrtc.join(
            camera,
            offer.sdp,
            client_address=caller.address_of(offer.client_id),
            counted_as=caller.counted_as(offer.client_id),
            is_limited=caller.access.is_limited,
            request=RenditionRequest.parse(offer.rendition, offer.width, offer.height),
        )
        before = self._viewers.get(key)
        self._viewers[key] = viewer
        viewer.close_callbacks.append(lambda: self._forget(key, viewer))
        unsubscribe = caller.access.on_revoke(
            lambda error: viewer.close_soon(f"not allowed: {error}"), "webrtc_offer", camera.id
        )
        viewer.close_callbacks.append(unsubscribe)
        if before is not None:
            await before.close("its client made a new offer")
        answer = WebRtcAnswer(client_id=offer.client_id, camera_id=camera.id, sdp=viewer.answer_sdp)
        return Reply("webrtc_answer", answer.wire())

    async def _change_rendition(self, caller: Caller, wanted: WebRtcRenditionRequest) -> Reply:
        viewer = self._viewer(caller, wanted.client_id)
        switch = viewer.begun_rendition()
        switch.ask(RenditionRequest.parse(wanted.rendition or switch.requested, wanted.width, wanted.height))
        viewer.update_rendition()
        answer = WebRtcRendition(
            client_id=wanted.client_id,
            camera_id=viewer.camera_id,
            rendition=switch.current.name.value,
            transcoded=switch.is_transcoded,
            requested=switch.requested,
            pending=switch.pending.name.value if switch.pending is not None else None,
            available=[name.value for name in switch.camera.renditions],
            codec=switch.codec,
            reason=switch.reason,
        )
        return Reply("webrtc_rendition", answer.wire())

    async def _candidate(self, caller: Caller, trickled: WebRtcCandidate) -> Reply:
        candidate = trickled.candidate
        text = candidate.candidate if isinstance(candidate, IceCandidate) else candidate
        self._viewer(caller, trickled.client_id).add_remote_candidate(text or "")
        return Reply("", Done().wire())

    async def _close(self, caller: Caller, request: WebRtcClose) -> Reply:
        await self._viewer(caller, request.client_id).close("its client closed it")
        return Reply("", Done().wire())

    def _viewer(self, caller: Caller, client_id: str) -> Viewer:
        try:
            return self._viewers[caller.connection, client_id]
        except KeyError:
            raise NotFoundError("this client has no WebRTC connection here; send webrtc_offer first") from None

    def _forget(self, key: tuple[str, str], viewer: Viewer) -> None:
        if self._viewers.get(key) is viewer:
            del self._viewers[key]


def create_control(
    service: CaptureService, webrtc: WebRtcServer | None = None, live_edge: LiveEdgeSource | None = None
) -> Control:
    """A control for all commands, with those of WebRTC if there is a server for it."""
    control = Control(service, live_edge)
    if webrtc is not None:
        WebRtcRelay(control, webrtc)
    return control
