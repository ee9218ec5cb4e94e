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

from aiortc import RTCCertificate

from gateway.camera import Camera
from gateway.client_address import client_network
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import (
    BadRequestError,
    ConflictError,
    NegotiationError,
    NotFoundError,
    NotLiveError,
    UnavailableError,
)
from gateway.latency import latency_histogram, remove_series
from gateway.media import Packet, StreamInfo
from gateway.webrtc.compat import SharedCertificate
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.ice.listener import IceListener
from gateway.webrtc.ice.registry import IceRegistry
from gateway.webrtc.ice.servers import IceServer, IceServers
from gateway.webrtc.limits import VIEWERS_PER_CAMERA, VIEWERS_PER_CLIENT, ViewerLimits
from gateway.webrtc.rtp.srtp import SrtpBuffer
from gateway.webrtc.sdp.answer import LocalDescription, write_answer
from gateway.webrtc.sdp.counter_offer import write_counter_offer
from gateway.webrtc.sdp.negotiation import NegotiatedSession, check_video, negotiate, refuse_b_frames
from gateway.webrtc.sdp.offer import Offer, parse_offer
from gateway.webrtc.stats import Totals
from gateway.webrtc.viewer import Viewer

log = logging.getLogger(__name__)

KEYFRAME_WAIT_S = 8.0
"""How long an offer waits for a camera that is starting: for its connection, and the usual keyframe interval."""

TICK_S = 1.0
"""Interval of sender reports, and of the check for silent viewers."""

STALLED_S = 1.0
"""When a tick is this late, the process was stopped (SIGSTOP, a paused virtual machine), and heard no viewer."""

RESOLVE_INTERVAL_S = 60.0
"""How often names in ``WEBRTC_HOSTS`` are resolved again."""

DEFAULT_UDP_PORT = 8189


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
        self._fingerprint = next(
            (item.algorithm, item.value) for item in self._certificate.getFingerprints() if item.algorithm == "sha-256"
        )
        self._srtp_buffer = SrtpBuffer()
        self.registry = IceRegistry()
        self.listener = IceListener(udp_port, listen, hosts, self.registry)
        self._fanouts: dict[str, CameraFanout] = {}
        self._viewers: dict[str, Viewer] = {}
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
        fanout = self._fanouts.get(camera_id)
        return totals if fanout is None else replace(totals, audio_faults=totals.audio_faults + fanout.audio_faults)

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
    ) -> Viewer:
        """Make a viewer from an offer; its ``answer_sdp`` is ready. The camera is held until the viewer is closed.

        With ``may_counter`` an offer of no use makes a viewer with a ``counter_offer_sdp`` instead, which waits for
        :meth:`answer`.

        Limits count it for ``counted_as``, or else for the network of its address. Without ``is_limited`` it is counted
        and never refused.

        Raises ``BadRequestError`` for an invalid offer, ``NegotiationError`` if camera and viewer have no codec in
        common, ``NotLiveError`` if the camera does not start, and ``UnavailableError`` if a limit is reached or the
        server is closing.
        """
        offer = parse_offer(offer_sdp)
        began_s = self._clock.monotonic()
        client = counted_as or client_network(client_address)
        if self._closed or not self.listener.is_open:
            raise UnavailableError("the gateway is stopping")
        place = self.limits.take(camera.id, client, is_limited=is_limited)
        hold = camera.hold("webrtc")
        try:
            info = await self._wait_for_stream(camera)
            negotiated, refusal = _negotiate(offer, info, camera.id)
            if refusal is not None and not may_counter:
                raise refusal
            viewer = place.occupant = self._new_viewer(camera, client_address)
        except BaseException:
            hold.release()
            self.limits.free(place)
            raise
        viewer.close_callbacks += [hold.release, lambda: self.limits.free(place)]
        first_frame_s = self.first_frame_s.labels(camera.id)
        viewer.on_first_frame = lambda: first_frame_s.observe(self._clock.monotonic() - began_s)
        if negotiated is not None:
            viewer.answer_sdp = write_answer(negotiated, self._local(viewer))
            self._start(viewer, negotiated)
        else:
            viewer.counter_offer_sdp = write_counter_offer(info, self._local(viewer), str(refusal))
        return viewer

    def answer(self, camera: Camera, viewer: Viewer, answer_sdp: str) -> None:
        """Take a viewer's answer to our counter-offer.

        Raises ``BadRequestError``, ``NegotiationError``, and ``ConflictError`` if it has answered already, or the
        camera sends nothing at present. A viewer may answer again after an error.
        """
        if viewer.negotiated is not None:
            raise ConflictError("this session has its SDP answer, and there is no renegotiation; make a new one")
        info = camera.hub.info
        if info is None:
            raise ConflictError(f"camera {camera.id} sends nothing at present; answer again in a moment")
        answer = parse_offer(answer_sdp)
        if any(section.transport.setup == "actpass" for section in answer.sections):
            raise BadRequestError("an SDP answer has to choose its DTLS role: setup active or passive (RFC 8842 §5.3)")
        negotiated, refusal = _negotiate(answer, info, camera.id)
        if negotiated is None:
            raise refusal or UnavailableError("the answer cannot be used")
        self._start(viewer, negotiated)

    def _new_viewer(self, camera: Camera, client_address: str) -> Viewer:
        fanout = self._fanouts.get(camera.id)
        info = camera.hub.info
        if fanout is not None and info is not None and fanout.codec not in (None, info.video.codec):
            # The camera has another codec now. The viewers of this fan-out are being closed.
            fanout.close()
            fanout = None
        if fanout is None:
            fanout = CameraFanout(camera.hub, self._clock, lambda why: self._end_viewers(camera.id, why))
            self._fanouts[camera.id] = fanout
        viewer = Viewer(
            camera_id=camera.id,
            client_address=client_address,
            fanout=fanout,
            certificate=self._certificate,
            srtp_buffer=self._srtp_buffer,
            clock=self._clock,
            on_restart=self._restart_ice,
            on_closed=self._on_viewer_closed,
        )
        self._viewers[viewer.id] = viewer
        return viewer

    def _start(self, viewer: Viewer, negotiated: NegotiatedSession) -> None:
        self.registry.add(viewer.agent)
        viewer.start(negotiated)

    async def _wait_for_stream(self, camera: Camera) -> StreamInfo:
        """What the camera sends. Raises ``NotLiveError``, and ``NegotiationError`` if WebRTC cannot carry it."""
        try:
            await camera.wait_for_keyframe(KEYFRAME_WAIT_S)
        except UnavailableError as error:
            raise NotLiveError(str(error), error.retry_after_s) from None
        info = camera.hub.info
        if info is None or self._closed:
            raise UnavailableError("the gateway is stopping")
        check_video(info.video, camera.id)
        if _reorders(camera.hub.gop):
            raise refuse_b_frames(camera.id)
        return info

    def _local(self, viewer: Viewer) -> LocalDescription:
        return LocalDescription(
            session_id=secrets.randbits(62),
            stream_name=viewer.camera_id,
            username=viewer.agent.username,
            password=viewer.agent.password,
            fingerprint=self._fingerprint,
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
                for viewer in tuple(self._viewers.values()):
                    viewer.resume(stalled_s)
            for viewer in tuple(self._viewers.values()):
                try:
                    viewer.tick(now, wall_90k)
                except Exception as error:
                    log.exception("viewer %s: its reports failed", viewer.id, extra={"viewer": viewer.id})
                    viewer.close_soon(f"failed: {error}")
            if self.listener.hosts and now >= resolve_at:
                resolve_at = now + RESOLVE_INTERVAL_S
                with contextlib.suppress(OSError):
                    await self.listener.resolve_hosts()

    def _restart_ice(self, viewer: Viewer, remote: tuple[str, str]) -> tuple[str, ...]:
        """Give a viewer new ICE credentials. Returns our candidates."""
        self.registry.restart(viewer.agent, remote)
        return self.listener.candidates()

    def _end_viewers(self, camera_id: str, reason: str) -> None:
        for viewer in self.viewers_of(camera_id):
            viewer.close_soon(reason)

    def _on_viewer_closed(self, viewer: Viewer) -> None:
        self.registry.remove(viewer.agent)
        if self._viewers.pop(viewer.id, None) is not None:
            self._closed_totals[viewer.camera_id] = self._totals_of_closed(viewer.camera_id).plus(viewer.stats())
        if not self.viewers_of(viewer.camera_id):
            fanout = self._fanouts.pop(viewer.camera_id, None)
            if fanout is not None:
                fanout.close()
                totals = self._totals_of_closed(viewer.camera_id)
                faults = totals.audio_faults + fanout.audio_faults
                self._closed_totals[viewer.camera_id] = replace(totals, audio_faults=faults)

    def _totals_of_closed(self, camera_id: str) -> Totals:
        return self._closed_totals.get(camera_id, Totals())


def _negotiate(
    offer: Offer, info: StreamInfo, camera_id: str
) -> tuple[NegotiatedSession | None, NegotiationError | None]:
    """The result, or why there is none. Raises ``BadRequestError``."""
    try:
        return negotiate(offer, info, camera_id), None
    except NegotiationError as error:
        return None, error


def _reorders(gop: Sequence[Packet]) -> bool:
    """Whether frames are sent in another order than they are shown."""
    return any(packet.is_video and packet.pts_90k != packet.dts_90k for packet in gop)
