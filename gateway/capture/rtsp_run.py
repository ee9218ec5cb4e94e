"""RtspRun: one RTSP session from connect to teardown, with its sockets and times.

Theory of operation. :class:`~gateway.rtsp.client.ClientSession` says which request comes next, and
:class:`~gateway.capture.rtsp_media.RtspMedia` makes packets of the media. :meth:`RtspRun.open` returns when the server
plays, :meth:`RtspRun.play` raises when the stream ends.
"""

import asyncio
import logging
from collections.abc import Callable
from fractions import Fraction
from functools import partial

from gateway.capture import camera_errors
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import CaptureSource
from gateway.capture.packets import KEYFRAME_TIMEOUT_S
from gateway.capture.rtsp_channels import FrameRoutes, InterleavedChannels, Receiver
from gateway.capture.rtsp_choice import choose_tracks
from gateway.capture.rtsp_connect import TUNNEL_SCHEMES, connect, credentials, request_uri
from gateway.capture.rtsp_connection import RtspConnection
from gateway.capture.rtsp_control import RtspControl, SetUpTrack
from gateway.capture.rtsp_media import RtspMedia, TrackFormat
from gateway.capture.rtsp_udp import UdpPair, open_pair
from gateway.capture.url import CameraUrl
from gateway.clock import Clock
from gateway.errors import CameraEndedError, CaptureError
from gateway.media import Packet
from gateway.rtsp import rtcp
from gateway.rtsp.auth import Authenticator
from gateway.rtsp.client import ClientSession, State
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import Message, Request
from gateway.rtsp.track import TransportKind

log = logging.getLogger(__name__)

TICK_S = 1.0
"""How often silence, keep-alive and reports are checked, in seconds."""

UDP_TICK_S = 0.1
"""The same over UDP, where packets that wait for an earlier one have to be released in time."""

LOST_SILENT_S = 2.5
"""Without video for so long, in seconds, a session that the server does not know any more has ended."""

STILL_FIRST_S, STILL_LATE, STILL_MAX_S = 15.0, 2.2, 600.0
"""Stills: how far apart they are before that is known, by what factor one may be late, and the longest silence, in
seconds."""

STILL_ASK_SHARE = 0.4
"""The share of the time-out after which a camera of stills is asked whether it is there."""

OPTIONS_WAIT_S = 1.5
"""How long the answer to OPTIONS is awaited, in seconds: nobody needs it."""


class RtspRun:
    """One RTSP session and its tracks; see the module."""

    def __init__(
        self,
        source: CaptureSource,
        clock: Clock,
        counters: CaptureCounters,
        url: CameraUrl,
        on_packet: Callable[[Packet], None],
        keyframe_timeout_s: float = KEYFRAME_TIMEOUT_S,
    ) -> None:
        """Without a keyframe for ``keyframe_timeout_s`` it ends with ``NoKeyframeError``."""
        self._source = source
        self._clock = clock
        self._counters = counters
        self._url = self.url = url
        self._on_packet = on_packet
        self._connection: RtspConnection | None = None
        self._is_playing = asyncio.Event()
        self._session = self._new_session(has_options=True)
        self._pairs: list[UdpPair] = []
        self._media: RtspMedia | None = None
        self._set_up: list[SetUpTrack] = []
        """The tracks of :attr:`_media`, in its order."""
        self._channels = InterleavedChannels()
        """By the tracks' places in :attr:`_media`."""
        self._routes = FrameRoutes(self._receiver_of, clock.monotonic)
        self._opened_at = self._answered_at = self._asked_at = 0.0
        """When it played, when the newest answer came, and when a camera of stills was asked, in monotonic seconds."""
        self._keyframe_timeout_s = keyframe_timeout_s
        self._control = RtspControl(source, counters, self._set_up, self._write)

    @property
    def video_at(self) -> float:
        """When the newest sign of working video came, in monotonic seconds."""
        return self._media.video_at if self._media is not None else 0.0

    @property
    def keyframe_awaited_s(self) -> float | None:
        """For how long there has been video and no keyframe to begin with; ``None`` where there was one."""
        media = self._media
        if media is None or media.has_begun or media.keyframe_wanted_since is None:
            return None
        return self._clock.monotonic() - media.keyframe_wanted_since

    @property
    def keyframes_asked(self) -> int:
        """How often the camera was asked for a keyframe."""
        return self._control.keyframes_asked

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins."""
        return self._media is not None and self._media.is_low_latency

    # --- opening

    @property
    def is_playing(self) -> bool:
        """Whether the camera has answered PLAY."""
        return self._is_playing.is_set()

    async def open(self) -> None:
        """Connect, and go on until the server plays. The answers drive the session, in :meth:`_receive_message`.

        Where OPTIONS ends the connection, it is tried again without.
        """
        try:
            await self._open()
        except (CameraEndedError, RtspProtocolError):
            if not self._session.is_ended_by_options:
                raise
            await self.close()
            self._session = self._new_session(has_options=False)
            await self._open()

    def _new_session(self, *, has_options: bool) -> ClientSession:
        return ClientSession(
            uri=request_uri(self._url),
            authenticator=Authenticator(credentials(self._url)),
            choose=partial(choose_tracks, url=self._url, wants_metadata=self._source.on_metadata is not None),
            open_udp_ports=None if self._url.scheme in TUNNEL_SCHEMES else self._open_udp_ports,
            has_options=has_options,
        )

    async def _open(self) -> None:
        self._connection = connection = await connect(
            self._url, self._source, self._routes.receive, self._receive_message
        )
        self._send_due()
        playing = asyncio.ensure_future(self._is_playing.wait())
        ended = asyncio.ensure_future(connection.wait_ended())
        try:
            timeout_s = OPTIONS_WAIT_S if self._session.state is State.OPTIONS else None
            done, _ = await asyncio.wait({playing, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                if self._session.state is State.OPTIONS:
                    self._session.skip_options()
                    self._send_due()
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

    def _open_udp_ports(self) -> tuple[int, int]:
        assert self._connection is not None
        try:
            pair = open_pair(self._connection.local, self._connection.peer)
        except OSError as error:
            raise CaptureError(f"no UDP port could be opened for the camera ({error.strerror or error})") from None
        self._pairs.append(pair)
        return pair.ports

    def _start_tracks(self) -> None:
        """Make what receives the tracks that were set up."""
        session = self._session
        is_udp = session.transport is TransportKind.UDP
        formats: list[TrackFormat] = []
        for number, track in enumerate(session.tracks):
            if track.refused is not None:
                log.info(
                    "the camera refuses its %s track (%d); it is left out",
                    track.media.kind,
                    track.refused,
                    extra={"camera": self._source.camera_id},
                )
                continue
            pair = self._pairs[number] if is_udp else None
            place = len(formats)
            assert track.format is not None
            formats.append(
                TrackFormat(
                    track.format, partial(getattr, track, "first_timestamp"), partial(getattr, track, "first_sequence")
                )
            )
            self._set_up.append(SetUpTrack(track, pair))
            if pair is not None:
                pair.start(self._datagram_receiver(place), track.source)
                if track.server_ports is not None:
                    pair.open_path(track.server_ports)
            elif track.channels is not None:
                self._channels.add(place, track.channels, *track.format.payload_types)
        self._media = RtspMedia(
            formats,
            self._on_packet,
            self._clock,
            run=self._source.run,
            camera_id=self._source.camera_id,
            frame_rate=_frame_rate(session),
            is_reordered=is_udp,
            counters=self._counters,
            on_metadata=self._source.on_metadata,
            is_watched=self._source.is_watched,
        )

    # --- playing

    async def play(self) -> None:
        """Hand over packets until the end. Raises a :class:`CaptureError`, or an error of :mod:`gateway.rtsp`."""
        media = self._media
        assert self._connection is not None
        assert media is not None
        self._opened_at = media.video_at = self._clock.monotonic()
        self._connection.reads_in_batches = lambda: not self._source.is_watched()
        self._control.begin(self._opened_at)
        tick_s = UDP_TICK_S if self._pairs else TICK_S
        ended = asyncio.ensure_future(self._connection.wait_ended())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=tick_s)
                now = self._clock.monotonic()
                media.expire(now)
                self._count()
                self._wait_for_still(media, now)
                self._check_silence(media, now)
                self._control.ask_for_keyframe(media, now)
                if self._session.state is State.ENDED or media.has_ended:
                    raise camera_errors.ended(self._url)
                if now >= self._session.keep_alive_at:
                    self._connection.send(self._session.keep_alive(now))
                self._control.send_reports(media, now)
            try:
                await ended
            except OSError:
                raise camera_errors.ended(self._url) from None
            raise camera_errors.ended(self._url)
        finally:
            ended.cancel()

    async def close(self) -> None:
        """Say goodbye and release everything. Twice is fine."""
        connection = self._connection
        if connection is None:
            return
        self._count()
        self._connection = None
        for pair in self._pairs:
            pair.close()
        self._pairs.clear()
        await connection.hang_up(self._session.teardown())

    def _count(self) -> None:
        """Bring the counters up to date with what connection and tracks have counted."""
        if self._connection is not None:
            self._counters.rtsp_bytes_skipped = self._connection.parser.garbage_bytes
        self._counters.udp_datagrams_refused = sum(pair.refused for pair in self._pairs)
        if self._media is not None:
            self._media.count()

    def _wait_for_still(self, media: RtspMedia, now: float) -> None:
        """A camera may send a picture every 20 s. Where it has, or has sent one alone, it is asked whether it is there;
        the answer is a sign of working video."""
        ask_s = self._source.timeout_s * STILL_ASK_SHARE
        if media.frames == 0 or self._session.lost is not None or now - media.frame_at < ask_s:
            return
        usual_s = STILL_FIRST_S if media.frames == 1 else media.step_s if media.step_s >= ask_s else 0.0
        if now - media.frame_at > min(STILL_MAX_S, STILL_LATE * usual_s):
            return
        media.video_at = max(media.video_at, self._answered_at)
        if now - self._asked_at >= ask_s and self._connection is not None:
            self._asked_at = now
            self._connection.send(self._session.keep_alive(now))

    def _check_silence(self, media: RtspMedia, now: float) -> None:
        if self._session.lost is not None and now - media.video_at > LOST_SILENT_S:
            raise self._session.lost
        if now - media.video_at > self._source.timeout_s:
            raise camera_errors.silent(self._url, self._source.timeout_s)
        if not media.has_begun and now - self._opened_at > self._keyframe_timeout_s:
            raise camera_errors.no_keyframe(self._url, now - self._opened_at, self.keyframes_asked)

    def _write(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.write(data)

    # --- what comes in

    def _receiver_of(self, channel: int, frame: memoryview) -> Receiver | None:
        """What takes frames of a channel like this one; ``None`` before the tracks are set up."""
        if self._media is None:
            return None
        found = self._channels.find(channel, frame)
        if found is None:
            return _ignore
        place, is_control = found
        return self._media.control_receiver(place) if is_control else self._media.receiver(place)

    def _datagram_receiver(self, place: int) -> Callable[[memoryview], None]:
        """What takes the datagrams of a track, from both of its ports: some cameras confuse them."""

        def take(datagram: memoryview) -> None:
            media = self._media
            if media is None or len(datagram) < 2:
                return
            receive = media.receive_control if rtcp.is_rtcp(datagram[1]) else media.receive
            try:
                receive(place, datagram, self._clock.monotonic())
            except Exception as error:
                # As errors of what comes over TCP end the run.
                if self._connection is not None:
                    self._connection.fail(error)

        return take

    def _receive_message(self, message: Message) -> None:
        assert self._connection is not None
        if isinstance(message, Request):
            self._connection.send(self._session.answer(message))
            return
        self._answered_at = now = self._clock.monotonic()
        self._session.receive(message, now)
        if self._session.state is State.PLAY and self._media is None:
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


def _ignore(frame: memoryview, now: float) -> None:
    """Of no track."""


def _frame_rate(session: ClientSession) -> Fraction | None:
    rate = session.tracks[0].media.frame_rate
    return Fraction(rate).limit_denominator(1001) if rate else None
