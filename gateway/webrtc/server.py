"""WebRtcServer: the owner of the port, the certificate, the fan-outs and the viewers.

Theory of operation. :meth:`WebRtcServer.join` turns an offer into a viewer and an answer, whatever carried the offer
(WHEP, Socket.IO, a test). Nothing in it waits for the network, except for a camera that is coming up. One task looks
after everybody once a second: reports, silence, and names in ``WEBRTC_HOSTS`` that moved.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from aiortc import RTCCertificate

from gateway.camera import Camera
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NotFoundError, SettingsError, UnavailableError
from gateway.latency import latency_histogram, remove_series
from gateway.media import Packet
from gateway.webrtc.compat import SharedCertificate, candidate_foundation, get_host_addresses
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.ice.agent import IceRegistry
from gateway.webrtc.ice.servers import IceServer, IceServers
from gateway.webrtc.ice.tcp import TcpPort
from gateway.webrtc.ice.udp import UdpPort
from gateway.webrtc.rtp.srtp import SrtpBuffer
from gateway.webrtc.sdp.answer import LocalDescription, write_answer
from gateway.webrtc.sdp.negotiation import negotiate, refuse_b_frames
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.stats import Totals
from gateway.webrtc.viewer import Viewer

log = logging.getLogger(__name__)

KEYFRAME_WAIT_S = 8.0
"""How long an offer waits for a camera that is coming up: opening, and a keyframe interval of most cameras."""

VIEWERS_PER_CAMERA = 256
VIEWERS_PER_ADDRESS = 128
"""Limits; an office behind one address has this many, an attack more."""

TICK_S = 1.0
"""Sender reports go out, and silence is noticed, at this interval."""

RESOLVE_INTERVAL_S = 60.0
"""How often names in ``WEBRTC_HOSTS`` are looked up again."""

DEFAULT_UDP_PORT = 8189

BIND_ATTEMPTS = 8
"""How many free UDP ports are tried for one that is free for TCP as well."""


class WebRtcServer:
    """See the module. Made outside of the loop, started and closed on it."""

    def __init__(
        self,
        *,
        udp_port: int = DEFAULT_UDP_PORT,
        hosts: Sequence[str] = (),
        listen: Sequence[str] = ("0.0.0.0", "::"),  # noqa: S104  (the documented default: every address)
        ice_servers: Sequence[str] = (),
        clock: Clock = SYSTEM_CLOCK,
        viewers_per_camera: int = VIEWERS_PER_CAMERA,
        viewers_per_address: int = VIEWERS_PER_ADDRESS,
    ) -> None:
        self.udp_port = udp_port
        self.ice_servers = IceServers(ice_servers)
        """What viewers that come are given. May be replaced at any time."""
        self._hosts = tuple(hosts)
        self._listen = tuple(listen)
        self._clock = clock
        self._viewers_per_camera = viewers_per_camera
        self._viewers_per_address = viewers_per_address
        self._certificate: RTCCertificate = SharedCertificate.generateCertificate()
        self._fingerprint = next(
            (item.algorithm, item.value) for item in self._certificate.getFingerprints() if item.algorithm == "sha-256"
        )
        self._srtp_buffer = SrtpBuffer()
        self.registry = IceRegistry()
        self._ports: list[UdpPort] = []
        self._tcp = TcpPort(self.registry)
        self._fanouts: dict[str, CameraFanout] = {}
        self._viewers: dict[str, Viewer] = {}
        self._joining: Counter[str] = Counter()
        """Joins under way, by ``camera:`` and ``address:`` keys: they count against the limits."""
        self._resolved: tuple[str, ...] = ()
        self._keeper: asyncio.Task[None] | None = None
        self._past: dict[str, Totals] = {}
        """What the viewers that have gone were sent, by camera."""
        self.first_picture_s = latency_histogram(
            "liveedge_webrtc_first_frame_seconds",
            "Time to first frame: from a viewer's offer to when the first picture has left the gateway; the way to the"
            " viewer and its decoding come on top",
            ["camera"],
        )
        self._closed = False

    @property
    def viewers(self) -> Mapping[str, Viewer]:
        """All viewers by id."""
        return self._viewers

    async def start(self) -> None:
        """Bind the port, UDP and TCP, on every address. Raises :class:`~gateway.errors.SettingsError`."""
        wanted = self.udp_port
        for attempt in range(1, BIND_ATTEMPTS + 1):
            try:
                await self._bind()
                break
            except OSError as error:
                self._unbind()
                # A free UDP port that was found need not be free for TCP, or on the other address.
                if wanted == 0 and attempt < BIND_ATTEMPTS:
                    self.udp_port = 0
                    continue
                raise SettingsError(
                    f"port {self.udp_port} cannot be used for WebRTC ({error.strerror or error}); set WEBRTC_UDP_PORT"
                    " to one that is free for UDP and TCP, or stop who has it"
                ) from None
        await self._resolve()
        self._keeper = asyncio.create_task(self._keep(), name="webrtc-keeper")

    async def close(self) -> None:
        """End all viewers and release everything. Twice is fine."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        await asyncio.gather(*(viewer.close("the gateway is stopping") for viewer in tuple(self._viewers.values())))
        self._unbind()

    def ice_server_offers(self) -> list[IceServer]:
        """The ICE servers for a viewer that comes now, with credentials of its own where they are limited in time."""
        return self.ice_servers.offers(self._clock.wall_90k())

    def viewer(self, viewer_id: str, camera_id: str | None = None) -> Viewer:
        """A viewer by its id (and camera). Raises :class:`~gateway.errors.NotFoundError`."""
        viewer = self._viewers.get(viewer_id)
        if viewer is None or (camera_id is not None and viewer.camera_id != camera_id):
            raise NotFoundError("there is no such viewer; it has ended, or never was")
        return viewer

    def viewers_of(self, camera_id: str) -> list[Viewer]:
        """The viewers of one camera."""
        return [viewer for viewer in self._viewers.values() if viewer.camera_id == camera_id]

    def totals(self, camera_id: str) -> Totals:
        """What all viewers of a camera were sent since the start, those that have gone included. It only grows."""
        totals = self._past.get(camera_id, Totals())
        for viewer in self.viewers_of(camera_id):
            totals = totals.plus(viewer.stats())
        return totals

    @property
    def datagrams_refused(self) -> Mapping[str, int]:
        """Datagrams, UDP and TCP, that reached no viewer, by why; they only grow."""
        return self.registry.refused

    @property
    def sends_failed(self) -> Mapping[str, int]:
        """Sendings over UDP that the kernel refused: its buffer was ``full``, or another ``error``; they only grow."""
        return {
            "full": sum(port.full for port in self._ports),
            "error": sum(port.send_errors for port in self._ports),
        }

    async def close_camera(self, camera_id: str, reason: str) -> None:
        """End all viewers of a camera that was removed."""
        await asyncio.gather(*(viewer.close(reason) for viewer in self.viewers_of(camera_id)))
        self._past.pop(camera_id, None)
        remove_series(self.first_picture_s, camera_id)

    async def join(self, camera: Camera, offer_sdp: str, *, client_address: str) -> Viewer:
        """Make a viewer out of an offer; its ``answer_sdp`` is ready. The camera is held while the viewer lives.

        Raises ``BadRequestError`` for what is not an offer, ``NegotiationError`` where camera and viewer have nothing
        in common, and ``UnavailableError`` where the camera does not come up, a limit is reached or the server ends.
        """
        offer = parse_offer(offer_sdp)
        began_s = self._clock.monotonic()
        with self._place(camera.id, client_address):
            hold = camera.hold("webrtc")
            try:
                await camera.wait_for_keyframe(KEYFRAME_WAIT_S)
                info = camera.hub.info
                if info is None or self._closed:
                    raise UnavailableError("the gateway is stopping")
                negotiated = negotiate(offer, info, camera.id)
                if _reorders(camera.hub.gop):
                    raise refuse_b_frames(camera.id)
                fanout = self._fanouts.get(camera.id)
                if fanout is None:
                    fanout = CameraFanout(camera.hub, self._clock, lambda why: self._end_viewers(camera.id, why))
                    self._fanouts[camera.id] = fanout
                viewer = Viewer(
                    camera_id=camera.id,
                    client_address=client_address,
                    negotiated=negotiated,
                    fanout=fanout,
                    certificate=self._certificate,
                    srtp_buffer=self._srtp_buffer,
                    clock=self._clock,
                    on_restart=self._restart_ice,
                    on_closed=self._forget,
                )
            except BaseException:
                hold.release()
                raise
            viewer.close_callbacks.append(hold.release)
            first_picture_s = self.first_picture_s.labels(camera.id)
            viewer.on_first_frame = lambda: first_picture_s.observe(self._clock.monotonic() - began_s)
            self._viewers[viewer.id] = viewer
            self.registry.add(viewer.agent)
        viewer.answer_sdp = write_answer(
            negotiated,
            LocalDescription(
                session_id=secrets.randbits(62),
                stream_name=camera.id,
                username=viewer.agent.username,
                password=viewer.agent.password,
                fingerprint=self._fingerprint,
                candidates=self.candidates(),
                video_ssrc=viewer.ssrcs.video,
                rtx_ssrc=viewer.ssrcs.retransmission,
                audio_ssrc=viewer.ssrcs.audio,
            ),
        )
        viewer.start()
        return viewer

    def candidates(self) -> tuple[str, ...]:
        """The values of ``a=candidate`` lines (RFC 8839 §5.1): every address at which the port can be reached."""
        addresses = list(dict.fromkeys([*self._resolved, *self._local_addresses()]))
        lines = []
        for place, address in enumerate(addresses):
            # Type preference 126 for hosts; the first address is preferred (RFC 8445 §5.1.2).
            priority = (126 << 24) + ((65_535 - place) << 8) + 255
            foundation = candidate_foundation("host", "udp", address)[:8]
            lines.append(f"{foundation} 1 udp {priority} {address} {self.udp_port} typ host")
        for place, address in enumerate(addresses):
            # RFC 6544 §4.2: below UDP, direction preference 4 for passive hosts.
            priority = (90 << 24) + ((4 << 13) + 8191 - place << 8) + 255
            foundation = candidate_foundation("host", "tcp", address)[:8]
            lines.append(f"{foundation} 1 tcp {priority} {address} {self.udp_port} typ host tcptype passive")
        return tuple(lines)

    async def _bind(self) -> None:
        for host in self._listen:
            try:
                port = UdpPort(host, self.udp_port, self.registry)
            except OSError as error:
                # A machine without IPv6 still has IPv4, and the other way round.
                if len(self._listen) > 1 and error.errno in _NO_SUCH_FAMILY:
                    log.info("WebRTC does without %s: %s", host, error.strerror)
                    continue
                raise
            self._ports.append(port)
            self.udp_port = port.port
            port.start()
            await self._tcp.start(host, self.udp_port)
        if not self._ports:
            raise OSError(f"none of {', '.join(self._listen)} can be bound")

    def _unbind(self) -> None:
        for port in self._ports:
            port.close()
        self._ports.clear()
        self._tcp.close()

    def _local_addresses(self) -> list[str]:
        addresses: list[str] = []
        for port in self._ports:
            is_ipv6 = port.family == socket.AF_INET6
            if port.host in _WILDCARDS:
                addresses += get_host_addresses(not is_ipv6, is_ipv6) or ["::1" if is_ipv6 else "127.0.0.1"]
            else:
                addresses.append(port.host)
        return addresses

    async def _resolve(self) -> None:
        """Look up the names in ``WEBRTC_HOSTS``. What cannot be resolved now is left out, and tried again."""
        found: list[str] = []
        for host in self._hosts:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                try:
                    results = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
                except OSError as error:
                    log.warning("WEBRTC_HOSTS: %s cannot be resolved (%s) and is not offered for now", host, error)
                    continue
                found += [str(result[4][0]) for result in results]
            else:
                found.append(host)
        families = {port.family for port in self._ports}
        fitting = [address for address in found if (socket.AF_INET6 if ":" in address else socket.AF_INET) in families]
        self._resolved = tuple(dict.fromkeys(fitting))

    async def _keep(self) -> None:
        resolve_at = self._clock.monotonic() + RESOLVE_INTERVAL_S
        while True:
            await asyncio.sleep(TICK_S)
            now, wall_90k = self._clock.monotonic(), self._clock.wall_90k()
            for viewer in tuple(self._viewers.values()):
                try:
                    viewer.tick(now, wall_90k)
                except Exception as error:
                    log.exception("viewer %s: its reports failed", viewer.id, extra={"viewer": viewer.id})
                    viewer.close_soon(f"failed: {error}")
            if self._hosts and now >= resolve_at:
                resolve_at = now + RESOLVE_INTERVAL_S
                with contextlib.suppress(OSError):
                    await self._resolve()

    @contextlib.contextmanager
    def _place(self, camera_id: str, client_address: str) -> Iterator[None]:
        """A place under both limits while a join is under way. Raises ``UnavailableError``."""
        if self._closed or not self._ports:
            raise UnavailableError("the gateway is stopping")
        camera_key, address_key = f"camera:{camera_id}", f"address:{client_address}"
        of_camera = self._joining[camera_key] + len(self.viewers_of(camera_id))
        of_address = self._joining[address_key] + sum(
            viewer.client_address == client_address for viewer in self._viewers.values()
        )
        if of_camera >= self._viewers_per_camera:
            raise UnavailableError(f"camera {camera_id} has {of_camera} WebRTC viewers, its limit", retry_after_s=10)
        if of_address >= self._viewers_per_address:
            raise UnavailableError(f"your address has {of_address} WebRTC viewers, its limit", retry_after_s=10)
        self._joining.update((camera_key, address_key))
        try:
            yield
        finally:
            self._joining.subtract((camera_key, address_key))
            self._joining += Counter()

    def _restart_ice(self, viewer: Viewer) -> tuple[str, ...]:
        """Give a viewer new ICE credentials; returns our candidates."""
        self.registry.restart(viewer.agent)
        return self.candidates()

    def _end_viewers(self, camera_id: str, reason: str) -> None:
        for viewer in self.viewers_of(camera_id):
            viewer.close_soon(reason)

    def _forget(self, viewer: Viewer) -> None:
        self.registry.remove(viewer.agent)
        if self._viewers.pop(viewer.id, None) is not None:
            self._past[viewer.camera_id] = self._past.get(viewer.camera_id, Totals()).plus(viewer.stats())
        if not self.viewers_of(viewer.camera_id):
            fanout = self._fanouts.pop(viewer.camera_id, None)
            if fanout is not None:
                fanout.close()


_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104
_NO_SUCH_FAMILY = frozenset({97, 99})
"""EAFNOSUPPORT and EADDRNOTAVAIL: the machine has no IPv6."""


def _reorders(gop: Sequence[Packet]) -> bool:
    """Whether pictures come in another order than they are shown."""
    return any(packet.is_video and packet.pts_90k != packet.dts_90k for packet in gop)
