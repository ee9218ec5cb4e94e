"""RtspCaptureEngine: RTSP cameras on the event loop, without a thread and without libav.

Theory of operation. :mod:`gateway.rtsp` holds the protocol, this module its sockets and its times. A packet goes from
the socket to the consumers in one call: the parser finds the interleaved frame in the receive buffer, the depacketizer
appends its payload to the picture, and with the last packet of a picture (the marker bit) the picture is published.

Rules:

1. ``timeout_s`` bounds the opening, and later the time without a frame of video: audio alone does not keep a run alive.
2. RTP comes over TCP, on the RTSP connection; over UDP where the camera refuses TCP (461).
3. Redirects are followed :data:`REDIRECTS_MAX` times. Each target passes the same address check, and gets the
   credentials only where host and port stay the same.
4. After a loss, frames are dropped up to the next keyframe, and counted; frames on which no other depends only when
   they are hit themselves. Where no keyframe comes within :data:`KEYFRAME_WAIT_S`, such a camera sends none (intra
   refresh), and frames are passed on again.
5. UDP is only accepted from the address that the RTSP connection goes to.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from urllib.parse import unquote

from gateway.capture import camera_errors, resolver
from gateway.capture.camera_errors import host_and_port
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import Address, AsyncCaptureEngine, CaptureSource
from gateway.capture.packets import PacketBuilder
from gateway.capture.rtsp_connection import RtspConnection
from gateway.capture.rtsp_tracks import ReceivedTrack
from gateway.capture.rtsp_udp import UdpPair, open_pair
from gateway.capture.timeline import ArrivalTime, SourceTime
from gateway.capture.url import CameraUrl, parse
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.codec.annexb import join
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnreachableError, CaptureError
from gateway.media import Packet
from gateway.rtsp import rtcp
from gateway.rtsp.auth import Authenticator, Credentials
from gateway.rtsp.client import ClientSession, RedirectError, State, Track, TransportKind
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.h264 import H264Depacketizer
from gateway.rtsp.depacketize.h265 import H265Depacketizer
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.formats import AudioFormat, VideoFormat, audio_format, video_format
from gateway.rtsp.messages import Message, Request
from gateway.rtsp.sdp import SessionDescription

log = logging.getLogger(__name__)

REDIRECTS_MAX = 3
"""A camera behind a load balancer needs one; more is a loop."""

KEYFRAME_TIMEOUT_S = 60.0
"""How long packets may come without a keyframe, in seconds. Cameras with a smart codec send one every 20 s or so.
After a minute, none will come."""

KEYFRAME_WAIT_S = 12.0
"""How long a keyframe is awaited after a loss, in seconds: longer than the GOP of most cameras."""

TICK_S = 1.0
"""How often silence, keep-alive and reports are checked, in seconds."""

UDP_TICK_S = 0.1
"""The same over UDP, where packets that wait for an earlier one have to be released in time."""

TEARDOWN_S = 0.2
"""How long a TEARDOWN may take to be sent before the connection is closed anyway, in seconds."""

VIDEO_CODECS = frozenset({"h264", "hevc"})

SCHEMES = frozenset({"rtsp", "rtsps"})


class RtspCaptureEngine(AsyncCaptureEngine):
    """One connection to an RTSP camera; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._on_packet: Callable[[Packet], None] = lambda packet: None
        self._run: _Run | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on with their last RTP packet, by the marker bit."""
        return self._run is not None and self._run.is_low_latency

    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        self._on_packet = on_packet
        url = parse(self.source.url)
        for _ in range(REDIRECTS_MAX + 1):
            if url.scheme not in SCHEMES:
                raise CaptureError(f"{url.scheme}:// is not how cameras are pulled; write rtsp:// or rtsps://")
            try:
                await self._open_and_play(url)
                return
            except RedirectError as redirect:
                url = _redirected(url, redirect.location)
        raise CameraRefusedError(
            f"the camera at {host_and_port(url)} redirects again and again; write the address of the stream itself"
        )

    async def _open_and_play(self, url: CameraUrl) -> None:
        """One connection, from its opening to its end. Raises ``RedirectError`` and :class:`CaptureError`."""
        run = self._run = _Run(self.source, self.clock, self.counters, url, self._on_packet)
        try:
            try:
                async with asyncio.timeout(self.source.timeout_s):
                    await run.open()
            except TimeoutError:
                raise camera_errors.timed_out(url, self.source.timeout_s) from None
            await run.play()
        except RtspStatusError as error:
            raise camera_errors.refused(url, error.status, error.method) from None
        except RtspProtocolError as error:
            raise camera_errors.not_rtsp(url, str(error)) from None
        finally:
            await run.close()


class _Run:
    """One RTSP session and its tracks."""

    def __init__(
        self,
        source: CaptureSource,
        clock: Clock,
        counters: CaptureCounters,
        url: CameraUrl,
        on_packet: Callable[[Packet], None],
    ) -> None:
        self._source = source
        self._clock = clock
        self._counters = counters
        self._url = url
        self._on_packet = on_packet
        self._connection: RtspConnection | None = None
        self._is_playing = asyncio.Event()
        self._session = ClientSession(
            uri=_request_uri(url),
            authenticator=Authenticator(_credentials(url)),
            choose=self._choose,
            open_udp_ports=self._open_udp_ports,
        )
        self._formats: dict[int, VideoFormat | AudioFormat] = {}
        self._tracks: dict[int, ReceivedTrack] = {}
        self._pairs: list[UdpPair] = []
        self._channels: dict[int, tuple[ReceivedTrack, bool]] = {}
        self._builder: PacketBuilder | None = None
        self._video_at = 0.0
        self._opened_at = 0.0
        self._lost_at: float | None = None
        self._counted = 0

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins."""
        found = [track.depacketizer for track in self._tracks.values()]
        return any(each.pictures.is_prompt for each in found if isinstance(each, H264Depacketizer | H265Depacketizer))

    # --- opening

    async def open(self) -> None:
        """Connect, and go on until the server plays. The answers drive the session, in :meth:`_receive_message`."""
        self._connection = await self._connect()
        self._send_due()
        playing = asyncio.ensure_future(self._is_playing.wait())
        ended = asyncio.ensure_future(self._connection.wait_ended())
        try:
            await asyncio.wait({playing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                try:
                    await ended
                except OSError as error:
                    raise camera_errors.connect_failed(error, self._url) from None
                raise camera_errors.hung_up(self._url)
        finally:
            playing.cancel()
            ended.cancel()

    async def _connect(self) -> RtspConnection:
        source, url = self._source, self._url
        addresses = await resolver.addresses(url, source)
        tls = _tls_context(source) if url.scheme == "rtsps" else None
        for number, address in enumerate(addresses, start=1):
            try:
                # Each address has its share of the time.
                async with asyncio.timeout(source.timeout_s * number / len(addresses)):
                    return await RtspConnection.open(
                        str(address), url.connect_port, self._receive, self._receive_message, tls, url.host
                    )
            except (OSError, TimeoutError) as error:
                if number == len(addresses):
                    raise _polled(camera_errors.connect_failed(error, url, source.timeout_s), address, url) from None
        raise camera_errors.not_opened(url, "its name has no address")

    def _choose(self, description: SessionDescription) -> list[Track]:
        """The first video track that is known and the first audio track that is."""
        chosen: list[Track] = []
        names: list[str] = []
        for kind in ("video", "audio"):
            for media in description.media:
                if media.kind != kind or media.is_back_channel:
                    continue
                found = video_format(media) if kind == "video" else audio_format(media)
                if isinstance(found, VideoFormat) and found.codec not in VIDEO_CODECS:
                    found = None
                if found is None:
                    names += [each.encoding for each in media.formats if kind == "video"]
                    continue
                self._formats[len(chosen)] = found
                chosen.append(Track(media, is_required=kind == "video"))
                break
            if kind == "video" and not chosen:
                raise camera_errors.unusable_codec(self._url, ", ".join(names))
        return chosen

    def _open_udp_ports(self) -> tuple[int, int]:
        assert self._connection is not None
        try:
            pair = open_pair(self._connection.local, self._connection.peer)
        except OSError as error:
            raise CaptureError(f"no UDP port could be opened for the camera ({error.strerror or error})") from None
        self._pairs.append(pair)
        return pair.ports

    def _start_tracks(self) -> None:
        """Make what receives each track that was set up."""
        session = self._session
        is_udp = session.transport is TransportKind.UDP
        audio: AudioFormat | None = None
        video: VideoFormat | None = None
        pairs = iter(self._pairs)
        for number, track in enumerate(session.tracks):
            pair = next(pairs, None) if is_udp else None
            found = self._formats[number]
            if track.refused is not None:
                log.info(
                    "the camera refuses its %s track (%d); it is left out",
                    track.media.kind,
                    track.refused,
                    extra={"camera": self._source.camera_id},
                )
                continue
            on_frame = self._take_video if isinstance(found, VideoFormat) else self._take_audio
            received = ReceivedTrack(
                found.make(),
                found.payload_type,
                found.clock_rate,
                on_frame,
                first_timestamp=partial(getattr, track, "first_timestamp"),
                is_reordered=is_udp,
            )
            self._tracks[number] = received
            if isinstance(found, VideoFormat):
                video = found
            else:
                audio = found
            if pair is not None:
                pair.start(self._receiver(received), self._control_receiver(received))
                if track.server_ports is not None:
                    pair.open_path(track.server_ports)
            elif track.channels is not None:
                self._channels[track.channels[0]] = (received, False)
                self._channels[track.channels[1]] = (received, True)
        assert video is not None
        self._video_base = Fraction(1, video.clock_rate)
        self._audio_base = Fraction(1, audio.clock_rate) if audio is not None else self._video_base
        self._builder = PacketBuilder(
            video.codec,
            self._source.run,
            parameter_sets=join(*video.parameter_sets),
            frame_rate=_frame_rate(session),
            audio=audio.info if audio is not None else None,
            counters=self._counters,
        )

    # --- playing

    async def play(self) -> None:
        """Hand over packets until the end. Raises a :class:`CaptureError`, or an error of :mod:`gateway.rtsp`."""
        assert self._connection is not None
        self._opened_at = self._video_at = self._clock.monotonic()
        reports_at = self._opened_at + rtcp.REPORT_INTERVAL_S
        tick_s = UDP_TICK_S if self._pairs else TICK_S
        ended = asyncio.ensure_future(self._connection.wait_ended())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=tick_s)
                now = self._clock.monotonic()
                for track in self._tracks.values():
                    track.expire(now)
                self._count()
                self._check_silence(now)
                if self._session.state is State.ENDED or any(track.has_ended for track in self._tracks.values()):
                    raise camera_errors.ended(self._url)
                if now >= self._session.keep_alive_at:
                    self._connection.send(self._session.keep_alive(now))
                if now >= reports_at:
                    reports_at = now + rtcp.REPORT_INTERVAL_S
                    self._send_reports(now)
            try:
                await ended
            except OSError:
                raise camera_errors.ended(self._url) from None
            raise camera_errors.ended(self._url)
        finally:
            ended.cancel()

    async def close(self) -> None:
        """Say goodbye and release everything. Twice is fine."""
        connection, self._connection = self._connection, None
        self._count()
        for pair in self._pairs:
            pair.close()
        self._pairs.clear()
        if connection is None:
            return
        teardown = self._session.teardown()
        if teardown is not None:
            connection.send(teardown)
        connection.close()
        try:
            async with asyncio.timeout(TEARDOWN_S):
                await connection.wait_ended()
        except Exception:
            connection.abort()
        except asyncio.CancelledError:
            connection.abort()
            raise

    def _count(self) -> None:
        """Bring the counters up to date with what the tracks count."""
        counters = self._counters
        tracks = [track.counters for track in self._tracks.values()]
        before, self._counted = self._counted, sum(each.lost for each in tracks)
        counters.rtp_packets_lost += max(0, self._counted - before)

    def _check_silence(self, now: float) -> None:
        if now - self._video_at > self._source.timeout_s:
            raise camera_errors.silent(self._url, self._source.timeout_s)
        has_begun = self._builder is not None and self._builder.info is not None
        if not has_begun and now - self._opened_at > KEYFRAME_TIMEOUT_S:
            raise camera_errors.no_keyframe(self._url, KEYFRAME_TIMEOUT_S)

    def _send_reports(self, now: float) -> None:
        assert self._connection is not None
        for number, track in self._tracks.items():
            report = track.receiver_report(now)
            if report is None:
                continue
            setup = self._session.tracks[number]
            if self._pairs:
                if setup.server_ports is not None and number < len(self._pairs):
                    self._pairs[number].send_control(report, setup.server_ports[1])
            elif setup.channels is not None:
                header = b"$" + bytes((setup.channels[1],)) + len(report).to_bytes(2, "big")
                self._connection.write(header + report)

    # --- what comes in

    def _receive(self, channel: int, frame: memoryview) -> None:
        found = self._channels.get(channel)
        if found is None:
            return
        track, is_control = found
        if is_control:
            track.receive_control(frame, self._clock.monotonic())
        else:
            track.receive(frame, self._clock.monotonic())

    def _receiver(self, track: ReceivedTrack) -> Callable[[memoryview], None]:
        return lambda datagram: self._guarded(track.receive, datagram)

    def _control_receiver(self, track: ReceivedTrack) -> Callable[[memoryview], None]:
        return lambda datagram: self._guarded(track.receive_control, datagram)

    def _guarded(self, receive: Callable[[memoryview, float], None], datagram: memoryview) -> None:
        """Errors of what comes over UDP end the run as those of TCP do."""
        try:
            receive(datagram, self._clock.monotonic())
        except Exception as error:
            if self._connection is not None:
                self._connection.fail(error)

    def _receive_message(self, message: Message) -> None:
        assert self._connection is not None
        if isinstance(message, Request):
            self._connection.send(self._session.answer(message))
            return
        self._session.receive(message, self._clock.monotonic())
        if self._session.state is State.PLAY and self._builder is None:
            # Before PLAY is sent: the first packets may come together with its answer, or even before it.
            self._start_tracks()
        self._send_due()
        if self._session.state is State.PLAYING:
            self._is_playing.set()

    def _send_due(self) -> None:
        assert self._connection is not None
        request = self._session.next_request()
        if request is not None:
            self._connection.send(request)

    def _take_video(self, frame: Frame, now: float) -> None:
        assert self._builder is not None
        if self._builder.info is None:
            # Before the first keyframe, every picture shows that the camera works.
            self._video_at = now
        if frame.is_keyframe:
            self._lost_at = None
        elif frame.follows_loss and self._lost_at is None:
            self._lost_at = now
        if self._lost_at is not None:
            if now - self._lost_at < KEYFRAME_WAIT_S:
                self._counters.frames_dropped_after_loss += 1
                self._video_at = now
                return
            self._lost_at = None
        arrival = ArrivalTime(self._clock.wall_90k(), now)
        packet = self._builder.video(
            frame.data, frame.timestamp, self._video_base, arrival, is_keyframe=frame.is_keyframe
        )
        if packet is not None:
            self._video_at = now
            self._on_packet(packet)

    def _take_audio(self, frame: Frame, now: float) -> None:
        assert self._builder is not None
        time = SourceTime(frame.timestamp, None, self._audio_base, frame.duration)
        packet = self._builder.audio(frame.data, time, ArrivalTime(self._clock.wall_90k(), now))
        if packet is not None:
            self._on_packet(packet)


def _polled(fault: CaptureError, address: Address, url: CameraUrl) -> CaptureError:
    """Let the port of a camera that did not answer be polled, at the address that was checked."""
    if isinstance(fault, CameraUnreachableError | CameraTimeoutError):
        fault.silent_at = (str(address), url.connect_port)
    return fault


def _request_uri(url: CameraUrl) -> str:
    """The URL as it stands in requests: without credentials (RFC 2326 §3.2)."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{host}{port}{url.target}"


def _credentials(url: CameraUrl) -> Credentials | None:
    if not url.userinfo:
        return None
    user, _, password = url.userinfo.partition(":")
    return Credentials(unquote(user), unquote(password))


def _redirected(url: CameraUrl, location: str) -> CameraUrl:
    """Rule 3."""
    target = parse(location)
    is_same_place = (target.host, target.connect_port) == (url.host, url.connect_port)
    userinfo = url.userinfo if is_same_place else ""
    return CameraUrl(target.scheme, userinfo, target.host, target.port, target.target)


def _frame_rate(session: ClientSession) -> Fraction | None:
    rate = session.tracks[0].media.frame_rate
    return Fraction(rate).limit_denominator(1001) if rate else None


def _tls_context(source: CaptureSource) -> ssl.SSLContext:
    """Most cameras sign their certificates themselves, and many speak only old versions: without ``tls_verify``, TLS is
    for privacy alone, and every version is better than none."""
    if source.tls_verify:
        return ssl.create_default_context(cafile=str(source.tls_ca_file) if source.tls_ca_file is not None else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
