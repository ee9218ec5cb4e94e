"""RtspBackChannel: the RTSP session that carries a voice to a camera (ONVIF Streaming Specification §5.3).

Theory of operation. It is a session of its own beside that of the capture, and is there only while somebody talks: the
feature tag changes the camera's description, and many cameras switch their microphone off while it is in use. It has
one track, the back channel. :class:`~gateway.rtsp.client.ClientSession` says which request comes next.

Rules:

1. ``timeout_s`` bounds the whole opening, redirects included.
2. RTP goes over TCP, on the RTSP connection; over UDP where the camera refuses TCP (461).
3. What the camera does not take from the connection is not added to: :attr:`RtspBackChannel.is_full`.
4. Redirects are followed by the rules of :mod:`gateway.capture.rtsp_connect`.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import TUNNEL_SCHEMES, Redirects, connect, credentials, request_uri
from gateway.capture.rtsp_connection import RtspConnection
from gateway.capture.rtsp_udp import UdpPair, open_pair
from gateway.capture.url import CameraUrl
from gateway.clock import Clock
from gateway.errors import CaptureError, LiveedgeError
from gateway.rtsp import rtcp
from gateway.rtsp.auth import Authenticator
from gateway.rtsp.client import ClientSession, State
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.messages import Message, Request
from gateway.rtsp.redirect import RedirectError
from gateway.rtsp.rtp import HEADER
from gateway.rtsp.sdp import SessionDescription
from gateway.rtsp.track import Track, TransportKind
from gateway.talk.errors import NoBackChannelError
from gateway.talk.formats import BackChannelFormat, back_channel_formats

BACK_CHANNEL = "www.onvif.org/ver20/backchannel"
"""The feature tag (§5.3.1)."""

UNSENT_MAX_BYTES = 4096
"""What a camera may leave unread in the connection: half a second of G.711."""

TICK_S = 1.0
"""How often keep-alive and reports are checked, in seconds."""

_UNKNOWN_TAG = frozenset({400, 406, 501, 551})
"""How cameras without the feature answer DESCRIBE; 551 is what §5.3.1 wants."""

ChooseFormat = Callable[[Sequence[BackChannelFormat]], BackChannelFormat]
"""Picks one of the camera's formats. May raise a :class:`~gateway.errors.LiveedgeError`."""


class RtspBackChannel:
    """See the module. Used once: :meth:`open`, :meth:`run`, :meth:`close`."""

    def __init__(self, source: CaptureSource, clock: Clock, choose: ChooseFormat) -> None:
        self._source = source
        self._clock = clock
        self._choose_format = choose
        self._connection: RtspConnection | None = None
        self._session: ClientSession | None = None
        self._url: CameraUrl | None = None
        self._pairs: list[UdpPair] = []
        self._is_playing = asyncio.Event()
        self._payload_type = 0
        self._ssrc = secrets.randbits(32) or 1
        self._sequence = secrets.randbits(15)
        self._offset = secrets.randbits(32)
        """Of the timestamps, so that they begin anywhere (RFC 3550 §5.1)."""
        self._sent: tuple[int, int] | None = None
        """Wall time and timestamp of the newest packet."""
        self.packets_sent = 0
        self.bytes_sent = 0

    @property
    def is_full(self) -> bool:
        """Whether the camera has yet to read what was sent."""
        return self._connection is not None and self._connection.unsent_bytes > UNSENT_MAX_BYTES

    async def open(self) -> None:
        """Connect, and go on until voice may be sent.

        Raises a :class:`~gateway.errors.CaptureError`, :class:`~gateway.talk.errors.NoBackChannelError`, and what
        the choice of the format raises.
        """
        place = Redirects(self._source)
        try:
            async with asyncio.timeout(self._source.timeout_s):
                while True:
                    try:
                        await self._open(place.url, place.source)
                        return
                    except RedirectError as redirect:
                        await self._hang_up()
                        place.follow(redirect.location)
        except TimeoutError:
            raise camera_errors.timed_out(place.url, self._source.timeout_s) from None
        except RtspStatusError as error:
            if error.method == "DESCRIBE" and error.status in _UNKNOWN_TAG:
                raise self._no_back_channel() from None
            raise camera_errors.refused(place.url, error.status, error.method, error.retry_after_s) from None
        except RtspProtocolError as error:
            raise camera_errors.not_rtsp(place.url, str(error)) from None

    async def run(self) -> None:
        """Keep the session until the camera ends it. Raises a :class:`~gateway.errors.CaptureError`."""
        connection, session, url = self._connection, self._session, self._url
        assert connection is not None
        assert session is not None
        assert url is not None
        ended = asyncio.ensure_future(connection.wait_ended())
        reports_at = self._clock.monotonic()
        try:
            while not ended.done() and session.state is not State.ENDED:
                await asyncio.wait({ended}, timeout=TICK_S)
                now = self._clock.monotonic()
                if now >= session.keep_alive_at:
                    connection.send(session.keep_alive(now))
                if now >= reports_at:
                    reports_at = now + rtcp.REPORT_INTERVAL_S
                    self._send_report()
            if ended.done():
                await ended
        except OSError:
            pass
        except RtspStatusError as error:
            raise camera_errors.refused(url, error.status, error.method, error.retry_after_s) from None
        except RtspProtocolError as error:
            raise camera_errors.broken_stream(url, str(error)) from None
        finally:
            ended.cancel()
        raise camera_errors.ended(url)

    def send(self, payload: bytes, timestamp: int, *, marker: bool) -> None:
        """Send a packet. ``timestamp``: of its first sample, in ticks, from any beginning."""
        session, connection = self._session, self._connection
        if session is None or connection is None or not self._is_playing.is_set():
            return
        timestamp = (timestamp + self._offset) & 0xFFFFFFFF
        second = marker << 7 | self._payload_type
        packet = HEADER.pack(0x80, second, self._sequence & 0xFFFF, timestamp, self._ssrc) + payload
        self._sequence += 1
        self.packets_sent += 1
        self.bytes_sent += len(payload)
        if self._sent is None:
            self._sent = self._clock.wall_90k(), timestamp
            self._send_report()
        self._sent = self._clock.wall_90k(), timestamp
        self._write(session.tracks[0], packet, is_control=False)

    async def close(self) -> None:
        """Say goodbye and release everything. Twice is fine."""
        await self._hang_up()

    # --- opening

    async def _open(self, url: CameraUrl, source: CaptureSource) -> None:
        self._url = url
        self._session = ClientSession(
            uri=request_uri(url),
            authenticator=Authenticator(credentials(url)),
            choose=self._choose,
            open_udp_ports=None if url.scheme in TUNNEL_SCHEMES else self._open_udp_ports,
            has_options=False,  # Nothing depends on its answer.
            require=BACK_CHANNEL,
        )
        self._connection = connection = await connect(url, source, _ignore_frame, self._receive)
        self._send_due()
        playing = asyncio.ensure_future(self._is_playing.wait())
        ended = asyncio.ensure_future(connection.wait_ended())
        try:
            await asyncio.wait({playing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                try:
                    await ended
                except OSError as error:
                    raise camera_errors.connect_failed(error, url) from None
                raise camera_errors.hung_up(url)
        finally:
            playing.cancel()
            ended.cancel()

    def _choose(self, description: SessionDescription) -> list[Track]:
        formats = back_channel_formats(description)
        if not formats:
            raise self._no_back_channel()
        format = self._choose_format(formats)
        self._payload_type = format.payload_type
        return [Track(format.media, is_required=True)]

    def _no_back_channel(self) -> LiveedgeError:
        assert self._url is not None
        return NoBackChannelError(
            f"the camera at {host_and_port(self._url)} offers no ONVIF back channel for a voice at this URL; some do so"
            " at the stream's ONVIF URL alone: set talk_url to that, or switch on the camera's audio output"
        )

    def _open_udp_ports(self) -> tuple[int, int]:
        assert self._connection is not None
        try:
            pair = open_pair(self._connection.local, self._connection.peer)
        except OSError as error:
            raise CaptureError(f"no UDP port could be opened for the camera ({error.strerror or error})") from None
        pair.start(_ignore)
        self._pairs.append(pair)
        return pair.ports

    def _receive(self, message: Message) -> None:
        session, connection = self._session, self._connection
        assert session is not None
        assert connection is not None
        if isinstance(message, Request):
            connection.send(session.answer(message))
            return
        session.receive(message, self._clock.monotonic())
        self._send_due()
        if session.state is State.PLAYING:
            if session.transport is TransportKind.UDP and session.tracks[0].server_ports is None:
                assert self._url is not None
                where = host_and_port(self._url)
                raise CaptureError(f"the camera at {where} does not say to which UDP port a voice has to be sent")
            self._is_playing.set()

    def _send_due(self) -> None:
        assert self._session is not None
        assert self._connection is not None
        request = self._session.next_request()
        if request is not None:
            self._connection.send(request)

    # --- sending

    def _send_report(self) -> None:
        if self._sent is not None and self._session is not None:
            wall_90k, timestamp = self._sent
            report = rtcp.sender_report(self._ssrc, wall_90k, timestamp, self.packets_sent, self.bytes_sent)
            self._write(self._session.tracks[0], report, is_control=True)

    def _write(self, track: Track, data: bytes, *, is_control: bool) -> None:
        if self._pairs:
            if track.server_ports is not None:
                pair = self._pairs[0]
                send = pair.send_control if is_control else pair.send_media
                send(data, track.server_ports[is_control])
        elif track.channels is not None and self._connection is not None:
            header = b"$" + bytes((track.channels[is_control],)) + len(data).to_bytes(2, "big")
            self._connection.write(header + data)

    async def _hang_up(self) -> None:
        connection, session = self._connection, self._session
        self._connection = self._session = None
        self._is_playing.clear()
        for pair in self._pairs:
            pair.close()
        self._pairs.clear()
        if connection is not None and session is not None:
            await connection.hang_up(session.teardown())


async def look_at_back_channel(source: CaptureSource, clock: Clock) -> tuple[BackChannelFormat, ...]:
    """The formats of a camera's back channel, by DESCRIBE alone: nothing is set up.

    Raises as :meth:`RtspBackChannel.open`.
    """
    found: list[BackChannelFormat] = []

    def look(formats: Sequence[BackChannelFormat]) -> BackChannelFormat:
        found.extend(formats)
        raise _SeenError

    channel = RtspBackChannel(source, clock, look)
    try:
        await channel.open()
    except _SeenError:
        return tuple(found)
    finally:
        await channel.close()
    raise AssertionError("a back channel was opened that was only to be looked at")


class _SeenError(Exception):
    """There is nothing more to ask."""


def _ignore_frame(channel: int, frame: memoryview) -> None:
    """The camera sends reports, or media that nobody has asked for."""


def _ignore(datagram: memoryview) -> None:
    """The same over UDP."""
