"""WebRtcServer: owns the port, the certificate, the fan-outs and the viewers.

Theory of operation. :meth:`WebRtcServer.join` makes a viewer and an answer from an offer, no matter how the offer came
(WHEP, Socket.IO, a test). It does not wait for the network, only for a camera that is starting. One task runs once a
second for all viewers: it sends reports, ends silent viewers, and resolves the names in ``WEBRTC_HOSTS`` again.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from aiortc import RTCCertificate

from gateway.camera import Camera
from gateway.client_address import client_network
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from gateway.latency import latency_histogram, remove_series
from gateway.webrtc.compat import SharedCertificate
from gateway.webrtc.counter_offers import CounterOffer, videos_to_offer
from gateway.webrtc.fanouts import Fanouts, Source
from gateway.webrtc.first_rendition import KEYFRAME_WAIT_S, FirstRendition, first_rendition
from gateway.webrtc.ice.listener import IceListener
from gateway.webrtc.ice.registry import IceRegistry
from gateway.webrtc.ice.servers import IceServer, IceServers
from gateway.webrtc.limits import VIEWERS_PER_CAMERA, VIEWERS_PER_CLIENT, ViewerLimits
from gateway.webrtc.media_transport import MediaTransport, TransportOwner
from gateway.webrtc.rendition_request import AUTO, RenditionRequest, preferred
from gateway.webrtc.rendition_switch import KIND, RenditionSwitch
from gateway.webrtc.rtp.srtp import SrtpBuffer
from gateway.webrtc.sdp.answer import LocalDescription, write_answer
from gateway.webrtc.sdp.counter_offer import write_counter_offer
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.sdp.voice import codec_name, with_voice
from gateway.webrtc.stats import Totals
from gateway.webrtc.viewer import Viewer
from gateway.webrtc.voice import VoicePermit

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Interval of sender reports, and of the check for silent viewers."""

STALLED_S = 1.0
"""When a tick is this late, the process was stopped (SIGSTOP, a paused virtual machine), and heard no viewer."""

RESOLVE_INTERVAL_S = 60.0
"""How often names in ``WEBRTC_HOSTS`` are resolved again."""

DEFAULT_UDP_PORT = 8189


class MaintainedSession(Protocol):
    """A session of another kind that has a transport of the server."""

    @property
    def id(self) -> str: ...

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long."""

    def tick(self, now: float, wall_90k: int) -> None:
        """Called once a second. ``now`` is monotonic seconds."""

    def close_soon(self, reason: str) -> None:
        """End it without waiting."""


class WebRtcServer:
    """See the module. Created outside of the event loop, started and closed in it."""

    def __init__(
        self,
        *,
        udp_port: int = DEFAULT_UDP_PORT,
        hosts: Sequence[str] = (),
        listen: Sequence[str] = ("0.0.0.0", "::"),  # noqa: S104  (the documented default: every address)
        ice_servers: Sequence[str] = (),
        clock: Clock = SYSTEM_CLOCK,
        viewers_per_camera: int = VIEWERS_PER_CAMERA,
        viewers_per_client: int = VIEWERS_PER_CLIENT,
    ) -> None:
        self.ice_servers = IceServers(ice_servers)
        """The ICE servers for viewers. May be replaced at any time."""
        self._clock = clock
        self.limits = ViewerLimits(clock, viewers_per_camera, viewers_per_client)
        """How many viewers there may be; counts those that were refused."""
        self._certificate: RTCCertificate = SharedCertificate.generateCertificate()
        self.fingerprint = next(
            (item.algorithm, item.value) for item in self._certificate.getFingerprints() if item.algorithm == "sha-256"
        )
        self._srtp_buffer = SrtpBuffer()
        self.registry = IceRegistry()
        self.listener = IceListener(udp_port, listen, hosts, self.registry)
        self._fanouts = Fanouts(clock, self._on_unsupported)
        self._viewers: dict[str, Viewer] = {}
        self.id_prefix = ""
        """Of the ids of all viewers."""
        self.maintained: set[MaintainedSession] = set()
        """Sessions that are not viewers, and are kept and ended with them."""
        self._maintenance: asyncio.Task[None] | None = None
        self._closed_totals: dict[str, Totals] = {}
        """Totals of the closed viewers, by camera."""
        self.first_frame_s = latency_histogram(
            "liveedge_webrtc_first_frame_seconds",
            "Time to first frame: from a viewer's offer to when the first frame has left the gateway; the way to the"
            " viewer and its decoding come on top",
            ["camera"],
        )
        self._closed = False

    @property
    def viewers(self) -> Mapping[str, Viewer]:
        """All viewers by id."""
        return self._viewers

    @property
    def udp_port(self) -> int:
        """The port, UDP and TCP; of a free port (0) only after :meth:`start`."""
        return self.listener.udp_port

    async def start(self) -> None:
        """Bind the port, UDP and TCP, on every address. Raises :class:`~gateway.errors.SettingsError`."""
        await self.listener.start()
        self._maintenance = asyncio.create_task(self._maintain(), name="webrtc-maintenance")

    async def close(self) -> None:
        """Close all viewers and release everything. May be called twice."""
        self._closed = True
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.wait([self._maintenance])
            self._maintenance = None
        await asyncio.gather(*(viewer.close("the gateway is stopping") for viewer in tuple(self._viewers.values())))
        self.listener.close()

    def ice_server_offers(self) -> list[IceServer]:
        """The ICE servers for a viewer that joins now, with its own credentials if they are limited in time."""
        return self.ice_servers.offers(self._clock.wall_90k())

    def viewer(self, viewer_id: str, camera_id: str | None = None) -> Viewer:
        """A viewer by its id (and camera). Raises :class:`~gateway.errors.NotFoundError`."""
        viewer = self._viewers.get(viewer_id)
        if viewer is None or (camera_id is not None and viewer.camera_id != camera_id):
            raise NotFoundError("there is no such viewer; it has ended, or never existed")
        return viewer

    def viewers_of(self, camera_id: str) -> list[Viewer]:
        """The viewers of one camera."""
        return [viewer for viewer in self._viewers.values() if viewer.camera_id == camera_id]

    def totals(self, camera_id: str) -> Totals:
        """Totals of all viewers of a camera since the start, including closed ones. They never decrease."""
        totals = self._totals_of_closed(camera_id)
        for viewer in self.viewers_of(camera_id):
            totals = totals.plus(viewer.stats())
        return replace(totals, audio_faults=self._fanouts.audio_faults(camera_id))

    @property
    def datagrams_refused(self) -> Mapping[str, int]:
        """Datagrams, UDP and TCP, that were refused, by reason. They never decrease."""
        return self.registry.refused

    @property
    def sends_failed(self) -> Mapping[str, int]:
        """UDP sends that the kernel refused: its buffer was ``full``, or another ``error``. They never decrease."""
        return self.listener.sends_failed

    async def close_camera(self, camera_id: str, reason: str) -> None:
        """Close all viewers of a camera that was removed."""
        await asyncio.gather(*(viewer.close(reason) for viewer in self.viewers_of(camera_id)))
        self._closed_totals.pop(camera_id, None)
        self._fanouts.forget(camera_id)
        remove_series(self.first_frame_s, camera_id)

    async def join(
        self,
        camera: Camera,
        offer_sdp: str,
        *,
        client_address: str,
        may_counter: bool = False,
        counted_as: str | None = None,
        is_limited: bool = True,
        request: RenditionRequest = AUTO,
        wait_s: float = KEYFRAME_WAIT_S,
        voice: VoicePermit | None = None,
    ) -> Viewer:
        """Make a viewer from an offer; its ``answer_sdp`` is ready. The camera is held until the viewer is closed.

        It begins with the rendition of ``request`` that can be shown first, see
        :mod:`gateway.webrtc.first_rendition`. It waits at most ``wait_s`` for a camera that is not live.

        With ``may_counter`` an offer of no use makes a viewer with a ``counter_offer`` instead, which waits for
        :meth:`answer`. With ``voice`` it may talk to the camera, if its offer sends sound.

        Limits count it for ``counted_as``, or else for the network of its address. Without ``is_limited`` it is counted
        and never refused.

        Raises ``BadRequestError`` for an invalid offer, ``NegotiationError`` if camera and viewer have no codec in
        common, ``NotLiveError`` if the camera does not start, ``NotFoundError`` for a rendition that the camera does
        not have, and ``UnavailableError`` if a limit is reached or the server is closing.
        """
        offer = parse_offer(offer_sdp)
        began_s = self._clock.monotonic()
        client = counted_as or client_network(client_address)
        if self._closed or not self.listener.is_open:
            raise UnavailableError("the gateway is stopping")
        renditions = preferred(camera, request)
        place = self.limits.take(camera.id, client, is_limited=is_limited)
        first: FirstRendition | None = None
        try:
            first = await first_rendition(
                camera,
                renditions,
                offer,
                self._clock,
                is_pinned=request.pinned is not None,
                may_counter=may_counter,
                wait_s=wait_s,
            )
            if self._closed:
                raise UnavailableError("the gateway is stopping")
            viewer = place.occupant = self._new_viewer(camera, client_address)
            negotiated = first.negotiated
            if negotiated is not None:
                if voice is not None:
                    negotiated = with_voice(negotiated, offer, voice.codecs)
                if voice is not None and negotiated.voice is not None:
                    viewer.allow_voice(voice, codec_name(negotiated.voice))
                self._begin(viewer, camera, replace(first, negotiated=negotiated), request)
                viewer.answer_sdp = write_answer(negotiated, self._local(viewer))
            else:
                self._offer(viewer, camera, first, request)
        except BaseException:
            self.limits.free(place)
            raise
        finally:
            if first is not None:
                first.hold.release()
        viewer.close_callbacks.append(lambda: self.limits.free(place))
        first_frame_s = self.first_frame_s.labels(camera.id)
        viewer.on_first_frame = lambda: first_frame_s.observe(self._clock.monotonic() - began_s)
        return viewer

    async def answer(self, camera: Camera, viewer: Viewer, answer_sdp: str) -> None:
        """Take a viewer's answer to our counter-offer. It begins as with an offer of its own.

        Raises what :meth:`join` raises, and ``ConflictError`` if it has answered already. A viewer may answer again
        after an error.
        """
        counter = viewer.counter_offer
        answer = parse_offer(answer_sdp)
        if any(section.transport.setup == "actpass" for section in answer.sections):
            raise BadRequestError("an SDP answer has to choose its DTLS role: setup active or passive (RFC 8842 §5.3)")
        if counter is None or viewer.negotiated is not None:
            raise _already_answered()
        first = await first_rendition(
            camera,
            preferred(camera, counter.request),
            answer,
            self._clock,
            is_pinned=counter.request.pinned is not None,
            may_counter=False,
            may_have_own_transports=False,  # The counter-offer has one.
            wait_s=KEYFRAME_WAIT_S,
        )
        try:
            if viewer.negotiated is not None:
                raise _already_answered()
            if viewer.reason is not None:
                raise NotFoundError(f"this viewer has ended: {viewer.reason}")
            self._begin(viewer, camera, first, counter.request)
        finally:
            first.hold.release()
        counter.hold.release()

    def new_transport(self, name: str, owner: TransportOwner) -> MediaTransport:
        """A transport on the server's port, with its certificate. ``name`` is for the log."""
        return MediaTransport(
            name,
            owner,
            certificate=self._certificate,
            srtp_buffer=self._srtp_buffer,
            registry=self.registry,
            clock=self._clock,
        )

    def _new_viewer(self, camera: Camera, client_address: str) -> Viewer:
        viewer = Viewer(
            camera_id=camera.id,
            client_address=client_address,
            certificate=self._certificate,
            srtp_buffer=self._srtp_buffer,
            registry=self.registry,
            clock=self._clock,
            candidates=self.listener.candidates,
            on_closed=self._on_viewer_closed,
            id_prefix=self.id_prefix,
        )
        self._viewers[viewer.id] = viewer
        return viewer

    def _begin(self, viewer: Viewer, camera: Camera, first: FirstRendition, request: RenditionRequest) -> None:
        """Let it connect, and send it this."""
        assert first.negotiated is not None
        switch = RenditionSwitch(camera, first.hold.rendition, request, self._fanouts, self._clock, viewer.move)
        switch.viewer_id = viewer.id
        viewer.rendition = switch
        viewer.update_rendition()
        viewer.start(first.negotiated)

    def _offer(self, viewer: Viewer, camera: Camera, first: FirstRendition, request: RenditionRequest) -> None:
        """Make it a counter-offer."""
        local, videos = self._local(viewer), videos_to_offer(camera, first.info.video)
        sdp = write_counter_offer(videos, first.info.audio, local, str(first.refusal))
        hold = first.hold.rendition.hold(KIND)
        viewer.counter_offer = CounterOffer(sdp, request, hold)
        viewer.close_callbacks.append(hold.release)

    def _local(self, viewer: Viewer) -> LocalDescription:
        return LocalDescription(
            session_id=secrets.randbits(62),
            stream_name=viewer.camera_id,
            credentials=tuple((each.agent.username, each.agent.password) for each in viewer.transports),
            fingerprint=self.fingerprint,
            candidates=self.listener.candidates(),
            video_ssrc=viewer.ssrcs.video,
            rtx_ssrc=viewer.ssrcs.retransmission,
            audio_ssrc=viewer.ssrcs.audio,
        )

    async def _maintain(self) -> None:
        resolve_at = self._clock.monotonic() + RESOLVE_INTERVAL_S
        now = self._clock.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            before, now, wall_90k = now, self._clock.monotonic(), self._clock.wall_90k()
            stalled_s = now - before - TICK_S
            if stalled_s > STALLED_S:
                log.warning("the process was stopped for %.1f s; WebRTC viewers go on", stalled_s)
                for session in self._sessions():
                    session.resume(stalled_s)
            for session in self._sessions():
                try:
                    session.tick(now, wall_90k)
                except Exception as error:
                    log.exception("WebRTC session %s: its reports failed", session.id, extra={"viewer": session.id})
                    session.close_soon(f"failed: {error}")
            if self.listener.hosts and now >= resolve_at:
                resolve_at = now + RESOLVE_INTERVAL_S
                with contextlib.suppress(OSError):
                    await self.listener.resolve_hosts()

    def _sessions(self) -> list[MaintainedSession]:
        return [*self._viewers.values(), *self.maintained]

    def _on_unsupported(self, rendition: Source, reason: str) -> None:
        """A viewer gets the camera's other rendition; without one it ends."""
        for viewer in self.viewers_of(rendition.camera_id):
            if viewer.rendition is not None and not viewer.rendition.leave(rendition):
                viewer.close_soon(reason)

    def _on_viewer_closed(self, viewer: Viewer) -> None:
        if self._viewers.pop(viewer.id, None) is not None:
            self._closed_totals[viewer.camera_id] = self._totals_of_closed(viewer.camera_id).plus(viewer.stats())

    def _totals_of_closed(self, camera_id: str) -> Totals:
        return self._closed_totals.get(camera_id, Totals())


def _already_answered() -> ConflictError:
    return ConflictError("this session has its SDP answer, and there is no renegotiation; make a new one")
