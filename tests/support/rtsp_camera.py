"""A camera that does what the test says: RTSP answers, session description, RTP and RTCP, over TCP and UDP.

Two halves, which can be used alone. :class:`RtpSender` makes the packets of a track, every header the test's to
choose; they can be given to a receiver without a socket. :class:`RtspCamera` is a server on 127.0.0.1, with a status
and headers for each request, credentials, and media that it sends after PLAY.
"""

import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self

from tests.support.rtp import payloads

NTP_TO_UNIX_S = 2_208_988_800


@dataclass(frozen=True)
class Sent:
    """An RTP or RTCP packet of a track, and when it is sent, in seconds after PLAY."""

    at_s: float
    track: int
    data: bytes
    is_control: bool = False


class RtpSender:
    """The packets of one track."""

    def __init__(
        self, track: int = 0, payload_type: int = 96, ssrc: int = 7, first: int = 0, *, hevc: bool = False
    ) -> None:
        self.track = track
        self.payload_type = payload_type
        self.ssrc = ssrc
        self.sequence = first
        self.is_hevc = hevc

    def packet(self, payload: bytes, timestamp: int, at_s: float, *, marker: bool = False) -> Sent:
        """One packet."""
        head = struct.pack(
            "!BBHII",
            0x80,
            self.payload_type | (0x80 if marker else 0),
            self.sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            self.ssrc,
        )
        self.sequence += 1
        return Sent(at_s, self.track, head + payload)

    def picture(
        self, units: Sequence[bytes], timestamps: int | Sequence[int], at_s: float, *, marks: str = "last"
    ) -> list[Sent]:
        """The NAL units of a picture. ``timestamps``: one for all or one each. ``marks``: last, every or never."""
        times = [timestamps] * len(units) if isinstance(timestamps, int) else list(timestamps)
        found = []
        for number, (unit, timestamp) in enumerate(zip(units, times, strict=True)):
            marker = marks == "every" or (marks == "last" and number == len(units) - 1)
            parts = payloads(unit, timestamp, marker=marker, hevc=self.is_hevc)
            found += [self.packet(part.data, part.timestamp, at_s, marker=part.marker) for part in parts]
        return found

    def report(self, unix_s: float, timestamp: int, at_s: float) -> Sent:
        """A sender report (RFC 3550 §6.4.1): the camera's clock says ``unix_s`` for ``timestamp``."""
        ntp_s = unix_s + NTP_TO_UNIX_S
        seconds = int(ntp_s)
        fraction = int((ntp_s - seconds) * 2**32)
        body = struct.pack("!IIIIII", self.ssrc, seconds, fraction, timestamp & 0xFFFFFFFF, 0, 0)
        return Sent(at_s, self.track, struct.pack("!BBH", 0x80, 200, 6) + body, is_control=True)


def sdp(*sections: str, attributes: str = "a=control:*\r\n") -> str:
    """A session description of these media sections."""
    return f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{attributes}" + "".join(sections)


def video_section(encoding: str = "H264", number: int = 0) -> str:
    """A media section of video, payload type 96, without parameter sets."""
    return (
        f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 {encoding}/90000\r\na=fmtp:96 packetization-mode=1\r\n"
        f"a=control:track{number}\r\n"
    )


def audio_section(rtpmap: str, payload_type: int = 97, number: int = 1, fmtp: str = "") -> str:
    """A media section of sound."""
    more = f"a=fmtp:{payload_type} {fmtp}\r\n" if fmtp else ""
    return f"m=audio 0 RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {rtpmap}\r\n{more}a=control:track{number}\r\n"


@dataclass(frozen=True)
class Reply:
    """What the camera answers. ``body`` ``None``: what belongs to the method."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    raw: bytes | None = None
    """Bytes to send in place of all this."""


@dataclass(frozen=True)
class Asked:
    """A request of a client."""

    method: str
    uri: str
    headers: dict[str, str] = field(repr=False)


Answer = Callable[[Asked, int], Reply | None]
"""Answers a request, the n-th of its method on any connection; ``None``: as a good camera does."""


class RtspCamera:
    """See the module. A context manager.

    ``answer`` may replace answers. With ``credentials`` (user, password), requests are answered 401 with
    ``challenges`` until one is answered rightly. ``media`` is sent after PLAY, over the transport that SETUP agreed on,
    and ``asked_media`` in its place from a client's request for a keyframe on.
    """

    def __init__(
        self,
        description: str,
        media: Iterable[Sent] = (),
        *,
        answer: Answer = lambda asked, number: None,
        credentials: tuple[str, str] | None = None,
        challenges: Sequence[str] = ('Digest realm="camera", nonce="1"',),
        session: str = "42;timeout=60",
        public: str = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN",
        content_base: str | None = "{uri}/",
        asked_media: Iterable[Sent] = (),
    ) -> None:
        self._description = description
        self._media = list(media)
        self._answer = answer
        self._credentials = credentials
        self._challenges = challenges
        self._session = session
        self._public = public
        self._content_base = content_base
        self._asked_media = list(asked_media)
        self._is_asked = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[Asked] = []
        """Every request, in order."""
        self.connections = 0
        self.controls: list[bytes] = []
        """Every RTCP packet of a client, in order."""
        self.heard: list[bytes] = []
        """Every RTP packet of a client, in order: of its back channel."""
        self.reads = threading.Event()
        """Cleared, it reads nothing more."""
        self.reads.set()

    def url(self, userinfo: str = "", path: str = "/stream") -> str:
        """The camera's URL; ``userinfo`` without its @."""
        return f"rtsp://{userinfo}{'@' if userinfo else ''}127.0.0.1:{self.port}{path}"

    @property
    def methods(self) -> list[str]:
        """The methods of the requests."""
        return [asked.method for asked in self.asked]

    # --- threads

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        client = _Client(connection)
        with connection, client, contextlib.suppress(OSError):
            while not self._ending.is_set():
                asked = _read(reader, self._take_control)
                if asked is None:
                    return
                with self._lock:
                    self.asked.append(asked)
                    number = self.methods.count(asked.method)
                reply = self._answer(asked, number) or self._usual(asked, client)
                client.send(self._encoded(asked, reply, client))
                if asked.method == "SETUP":
                    self._listen(client)
                if asked.method == "PLAY" and reply.status == 200:
                    thread = threading.Thread(target=self._play, args=(client,), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _listen(self, client: "_Client") -> None:
        """Take RTP and RTCP that come over UDP."""
        for sock in client.unheard():
            self._listen_to(sock)

    def _listen_to(self, sock: socket.socket) -> None:
        def listen() -> None:
            sock.settimeout(0.1)
            while not self._ending.is_set():
                try:
                    self._take_control(sock.recv(2048))
                except TimeoutError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=listen, daemon=True)
        self._threads.append(thread)
        thread.start()

    def ask(self) -> None:
        """Send what is sent after a request for a keyframe."""
        self._is_asked.set()

    def _take_control(self, data: bytes) -> None:
        self.reads.wait()
        if not 192 <= data[1] <= 223:
            self.heard.append(data)
            return
        self.controls.append(data)
        if keyframe_requests(data):
            self._is_asked.set()

    def _play(self, client: "_Client") -> None:
        media = self._media
        with contextlib.suppress(OSError):
            while media:
                began = time.monotonic()
                for sent in media:
                    ahead_s = began + sent.at_s - time.monotonic()
                    if self._ending.wait(ahead_s) if ahead_s > 0 else self._ending.is_set():
                        return
                    if media is not self._asked_media and self._asked_media and self._is_asked.is_set():
                        break
                    client.media(sent)
                media = self._asked_media if self._is_asked.is_set() and media is not self._asked_media else []

    # --- answers

    def _usual(self, asked: Asked, client: "_Client") -> Reply:
        if self._credentials is not None and not self._is_authorized(asked, self._credentials):
            return Reply(401, tuple(("WWW-Authenticate", challenge) for challenge in self._challenges))
        if asked.method == "OPTIONS":
            return Reply(headers=(("Public", self._public),))
        if asked.method == "DESCRIBE":
            base = () if self._content_base is None else (("Content-Base", self._content_base.format(uri=asked.uri)),)
            return Reply(headers=(("Content-Type", "application/sdp"), *base), body=self._description.encode())
        if asked.method == "SETUP":
            transport = client.set_up(asked.headers.get("transport", ""))
            return Reply(headers=(("Transport", transport), ("Session", self._session)))
        return Reply(headers=(("Session", self._session),))

    def _encoded(self, asked: Asked, reply: Reply, client: "_Client") -> bytes:
        if reply.raw is not None:
            return reply.raw
        headers = list(reply.headers)
        body = reply.body or b""
        lines = [f"RTSP/1.0 {reply.status} As Told", f"CSeq: {asked.headers.get('cseq', '0')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def _is_authorized(self, asked: Asked, credentials: tuple[str, str]) -> bool:
        user, password = credentials
        scheme, _, rest = asked.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            return b64decode(rest).decode() == f"{user}:{password}"
        given = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', rest)}
        if scheme != "Digest" or given.get("username") != user:
            return False
        kind = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}[given.get("algorithm", "MD5")]

        def hashed(*parts: str) -> str:
            return kind(":".join(parts).encode()).hexdigest()

        secret = hashed(user, given["realm"], password)
        request = hashed(asked.method, given["uri"])
        if "qop" in given:
            wanted = hashed(secret, given["nonce"], given["nc"], given["cnonce"], given["qop"], request)
        else:
            wanted = hashed(secret, given["nonce"], request)
        return given["response"] == wanted

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.reads.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


class _Client:
    """One connection, and where its tracks' packets go."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._channels: list[tuple[int, int]] = []
        self._udp: dict[int, tuple[socket.socket, socket.socket, tuple[int, int]]] = {}

    def send(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)

    def set_up(self, transport: str) -> str:
        """Agree on the transport that the client offers; the tracks are numbered in the order of their SETUP."""
        number = len(self._channels)
        interleaved = re.search(r"interleaved=(\d+)-(\d+)", transport)
        if interleaved:
            self._channels.append((int(interleaved[1]), int(interleaved[2])))
            return transport
        ports = re.search(r"client_port=(\d+)-(\d+)", transport)
        assert ports is not None, transport
        self._channels.append((-1, -1))
        pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for each in pair:
            each.bind(("127.0.0.1", 0))
        self._udp[number] = (pair[0], pair[1], (int(ports[1]), int(ports[2])))
        return f"{transport};server_port={pair[0].getsockname()[1]}-{pair[1].getsockname()[1]}"

    def unheard(self) -> tuple[socket.socket, ...]:
        """The sockets of the newest track, if that is over UDP."""
        found = self._udp.get(len(self._channels) - 1)
        return found[:2] if found is not None else ()

    def media(self, sent: Sent) -> None:
        if sent.track >= len(self._channels):
            return
        if sent.track in self._udp:
            rtp, rtcp, ports = self._udp[sent.track]
            (rtcp if sent.is_control else rtp).sendto(sent.data, ("127.0.0.1", ports[sent.is_control]))
            return
        channel = self._channels[sent.track][sent.is_control]
        self.send(struct.pack("!BBH", 0x24, channel, len(sent.data)) + sent.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for rtp, rtcp, _ports in self._udp.values():
            rtp.close()
            rtcp.close()


def keyframe_requests(data: bytes) -> list[tuple[int, int]]:
    """FMT and source of each request for a keyframe in a compound RTCP packet: 1 for PLI, 4 for FIR."""
    found, place = [], 0
    while len(data) - place >= 12:
        size = 4 + 4 * int.from_bytes(data[place + 2 : place + 4], "big")
        kind = data[place] & 0x1F
        if data[place + 1] == 206 and kind in (1, 4):
            at = place + (8 if kind == 1 else 12)
            found.append((kind, int.from_bytes(data[at : at + 4], "big")))
        place += size
    return found


def _read(reader: BinaryIO, on_control: Callable[[bytes], None] = lambda data: None) -> Asked | None:
    """The next request; ``on_control`` gets interleaved frames of the client."""
    while (first := reader.read(1)) == b"$":
        head = reader.read(3)
        on_control(reader.read(head[1] << 8 | head[2]))
    line = first + reader.readline()
    if not line:
        return None
    if not line.strip():
        return _read(reader, on_control)
    method, uri = line.decode("latin-1").split(" ")[:2]
    headers: dict[str, str] = {}
    while text := reader.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    reader.read(int(headers.get("content-length", "0")))
    return Asked(method, uri, headers)
