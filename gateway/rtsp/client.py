"""One RTSP session as its client sees it: which request comes next, and what an answer means (RFC 2326 §10, §A.1).

Theory of operation. The transport sends what :meth:`ClientSession.next_request` returns, one request at a time, and
gives each response to :meth:`ClientSession.receive`, until :attr:`ClientSession.state` is ``PLAYING``. From then on it
asks :meth:`ClientSession.keep_alive` when :attr:`ClientSession.keep_alive_at` has come. Nothing here does I/O.

    OPTIONS → DESCRIBE → SETUP (once a track) → PLAY → PLAYING
                  └── a redirect ends the session: open another one there

Rules:

1. A refused OPTIONS is ignored: a server need not know it (RFC 2326 §10.1).
2. A refused SETUP leaves that track out. The session goes on while the required track has been set up, and fails with
   the server's own status otherwise. When the transport is refused (461), the other one is tried for all tracks.
3. A 401 is answered once with credentials, and again only for a stale nonce (:mod:`gateway.rtsp.auth`), and at most
   :data:`RETRIES_MAX` times for one request. A provisional response (1xx) is not the answer.
4. A keep-alive uses what the server offers: GET_PARAMETER, else OPTIONS (RFC 2326 §10.8). Its refusal changes the
   method; only 454 (Session Not Found) ends the session.
5. Requests of the server are answered: OPTIONS, GET_PARAMETER and SET_PARAMETER with 200, others with 501. A TEARDOWN
   or REDIRECT of the server ends the session.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.rtsp.auth import Authenticator, parse_challenges
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.messages import Headers, Request, Response
from gateway.rtsp.sdp import Media, SessionDescription, content_base, parse_sdp

USER_AGENT = "liveedge"

DEFAULT_TIMEOUT_S = 60.0
"""A session's time-out where the server states none (RFC 2326 §12.37)."""

KEEP_ALIVE_SHARE = 0.45
"""The share of the time-out after which a keep-alive is sent: one may be lost."""

KEEP_ALIVE_MIN_S, KEEP_ALIVE_MAX_S = 3.0, 30.0
"""Bounds of the interval, in seconds: servers state time-outs of 0 and of days."""

RETRIES_MAX = 2
"""How often one request is sent again with credentials: for the challenge, and for a nonce that was stale."""

_REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})


class State(StrEnum):
    """Where the session is; see the module."""

    OPTIONS = "options"
    DESCRIBE = "describe"
    SETUP = "setup"
    PLAY = "play"
    PLAYING = "playing"
    ENDED = "ended"


class TransportKind(StrEnum):
    """How RTP travels."""

    TCP = "tcp"
    UDP = "udp"


class RedirectError(Exception):
    """The stream is elsewhere: open ``location`` (RFC 2326 §11.3). The caller checks the address and counts."""

    def __init__(self, location: str) -> None:
        super().__init__("the server redirects")
        self.location = location


@dataclass(slots=True)
class Track:
    """A track that the client wants, and what SETUP agreed on.

    Over TCP ``channels`` are the interleaved channels of RTP and RTCP; over UDP ``server_ports`` are where receiver
    reports go, and ``source`` is the address that sends, where the server names one. ``first_sequence`` and
    ``first_timestamp`` come from RTP-Info (RFC 2326 §12.33).
    """

    media: Media
    is_required: bool = False
    channels: tuple[int, int] | None = None
    client_ports: tuple[int, int] | None = None
    server_ports: tuple[int, int] | None = None
    source: str | None = None
    ssrc: int | None = None
    refused: int | None = None
    first_sequence: int | None = None
    first_timestamp: int | None = None


Choose = Callable[[SessionDescription], list[Track]]
"""Picks the tracks to set up; may raise what tells a person why there are none."""


@dataclass(slots=True)
class _Sent:
    request: Request
    retries: int


@dataclass
class ClientSession:
    """See the module. ``open_udp_ports`` gives the two local ports of a track, when UDP is tried."""

    uri: str
    authenticator: Authenticator
    choose: Choose
    transport: TransportKind = TransportKind.TCP
    may_change_transport: bool = True
    open_udp_ports: Callable[[], tuple[int, int]] | None = None

    state: State = field(default=State.OPTIONS, init=False)
    description: SessionDescription | None = field(default=None, init=False)
    tracks: list[Track] = field(default_factory=list, init=False)
    """The tracks that were chosen; those with a ``refused`` status are left out by the server."""
    session_id: str | None = field(default=None, init=False)
    timeout_s: float = field(default=DEFAULT_TIMEOUT_S, init=False)
    keep_alive_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._cseq = 0
        self._public: frozenset[str] = frozenset()
        self._base = self.uri
        self._next_track = 0
        self._sent: dict[int, _Sent] = {}
        self._retry: _Sent | None = None
        self._pending: str | None = None
        self._has_tried_both = False
        self._keep_alive_method: str | None = None

    # --- requests

    def next_request(self) -> Request | None:
        """The request to send now, or ``None`` while an answer is awaited and when nothing is due."""
        if self._retry is not None:
            retry, self._retry = self._retry, None
            request = retry.request
            return self._send(request.method, request.uri, dict(request.headers), retries=retry.retries + 1)
        if self._pending is not None:
            return None
        if self.state is State.OPTIONS:
            return self._send("OPTIONS", self.uri)
        if self.state is State.DESCRIBE:
            return self._send("DESCRIBE", self.uri, {"Accept": "application/sdp"})
        if self.state is State.SETUP:
            track = self.tracks[self._next_track]
            return self._send("SETUP", track.media.control, {"Transport": self._transport_of(track)})
        if self.state is State.PLAY:
            assert self.description is not None
            return self._send("PLAY", self.description.control, {"Range": "npt=0.000-"})
        return None

    def keep_alive(self, now: float) -> Request:
        """The keep-alive that is due; the next one is due at :attr:`keep_alive_at`. ``now`` is monotonic."""
        assert self.description is not None
        self._set_keep_alive(now)
        if self._keep_alive_method is None:
            offers = self._public
            self._keep_alive_method = "GET_PARAMETER" if not offers or "GET_PARAMETER" in offers else "OPTIONS"
        # Answers to earlier ones are not awaited: some servers give none.
        for cseq in [cseq for cseq, sent in self._sent.items() if cseq < self._cseq - 8]:
            del self._sent[cseq]
        return self._send(self._keep_alive_method, self.description.control)

    def teardown(self) -> Request | None:
        """The request that ends the session, or ``None`` where there is none to end."""
        if self.session_id is None or self.description is None or self.state is State.ENDED:
            return None
        self.state = State.ENDED
        return self._send("TEARDOWN", self.description.control)

    def _send(self, method: str, uri: str, extra: dict[str, str] | None = None, *, retries: int = 0) -> Request:
        self._cseq += 1
        headers = [("CSeq", str(self._cseq)), ("User-Agent", USER_AGENT)]
        if self.session_id is not None:
            headers.append(("Session", self.session_id))
        authorization = self.authenticator.authorization(method, uri)
        if authorization is not None:
            headers.append(("Authorization", authorization))
        own = {name for name, _ in headers}
        headers += [
            (name, value) for name, value in (extra or {}).items() if name not in own and name != "Authorization"
        ]
        request = Request(method, uri, Headers(headers))
        self._sent[self._cseq] = _Sent(request, retries)
        if self.state not in (State.PLAYING, State.ENDED):
            self._pending = method
        return request

    def _transport_of(self, track: Track) -> str:
        if self.transport is TransportKind.UDP:
            assert self.open_udp_ports is not None
            if track.client_ports is None:
                track.client_ports = self.open_udp_ports()
            return f"RTP/AVP;unicast;client_port={track.client_ports[0]}-{track.client_ports[1]}"
        channel = 2 * self._next_track
        return f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"

    # --- answers

    def receive(self, response: Response, now: float) -> None:
        """Take a response. ``now`` is monotonic, in seconds.

        Raises :class:`RedirectError`, :class:`~gateway.rtsp.errors.RtspStatusError` and
        :class:`~gateway.rtsp.errors.RtspProtocolError`; the session is over then.
        """
        if response.status < 200:
            return
        sent = self._take_sent(response)
        if sent is None:
            return
        method = sent.request.method
        is_awaited = self._pending == method
        if is_awaited:
            self._pending = None
        if (
            response.status == 401
            and sent.retries < RETRIES_MAX
            and self.authenticator.accept(parse_challenges(response.headers.get_all("WWW-Authenticate")))
        ):
            self._retry = sent
            if is_awaited:
                self._pending = method
            return
        if self.state in (State.PLAYING, State.ENDED):
            self._receive_while_playing(method, response)
        elif is_awaited:
            self._advance(method, response, now)

    def answer(self, request: Request) -> Response:
        """Our answer to a request of the server (rule 5)."""
        headers = Headers([("CSeq", request.headers.get("CSeq") or "0")])
        if request.method in ("TEARDOWN", "REDIRECT"):
            self.state = State.ENDED
        if request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN", "REDIRECT"):
            return Response(200, "OK", headers)
        return Response(501, "Not Implemented", headers)

    def _take_sent(self, response: Response) -> _Sent | None:
        cseq = response.cseq
        if cseq is not None:
            return self._sent.pop(cseq, None)
        # Without a CSeq it answers what was asked last.
        return self._sent.pop(max(self._sent), None) if self._sent else None

    def _advance(self, method: str, response: Response, now: float) -> None:
        if method == "OPTIONS":
            if response.status == 401:
                raise _status_error(method, response)
            if response.status in _REDIRECTS:
                _redirect(method, response)
            self._public = _words(response.headers.get_all("Public"))
            self.state = State.DESCRIBE
        elif method == "DESCRIBE":
            _check(method, response)
            self._describe(response)
        elif method == "SETUP":
            self._set_up(response)
        elif method == "PLAY":
            _check(method, response)
            self._read_session(response)
            self._read_rtp_info(response.headers.get("RTP-Info") or "")
            self._public |= _words(response.headers.get_all("Public"))
            self.state = State.PLAYING
            self._set_keep_alive(now)

    def _describe(self, response: Response) -> None:
        kind = (response.headers.get("Content-Type") or "application/sdp").partition(";")[0].strip().lower()
        if kind != "application/sdp":
            raise RtspProtocolError(f"a description that is no SDP: {kind[:60]}")
        self._base = content_base(
            self.uri, response.headers.get("Content-Base"), response.headers.get("Content-Location")
        )
        self.description = parse_sdp(response.body, self._base)
        self.tracks = self.choose(self.description)
        if not self.tracks:
            raise RtspProtocolError("a description without a track that can be used")
        self.state = State.SETUP

    def _set_up(self, response: Response) -> None:
        track = self.tracks[self._next_track]
        if response.status == 461 and self.session_id is None and self._change_transport():
            return
        if response.status in _REDIRECTS:
            _redirect("SETUP", response)
        if response.status >= 300:
            track.refused = response.status
            if track.is_required or response.status == 401:
                raise _status_error("SETUP", response)
        else:
            self._read_session(response)
            self._read_transport(track, response.headers.get("Transport") or "")
        self._next_track += 1
        if self._next_track == len(self.tracks):
            self.state = State.PLAY
            if all(track.refused is not None for track in self.tracks):
                raise _status_error("SETUP", response)

    def _change_transport(self) -> bool:
        """Rule 2: begin the set-up again over the other transport; whether there is one left."""
        if self._has_tried_both or not self.may_change_transport or self.open_udp_ports is None:
            return False
        self._has_tried_both = True
        self.transport = TransportKind.UDP if self.transport is TransportKind.TCP else TransportKind.TCP
        self._next_track = 0
        return True

    def _read_session(self, response: Response) -> None:
        header = response.headers.get("Session")
        if not header:
            return
        identifier, *parameters = [part.strip() for part in header.split(";")]
        if identifier:
            self.session_id = identifier
        for parameter in parameters:
            found = re.fullmatch(r"(?i)timeout\s*=\s*([0-9]{1,9})", parameter)
            if found and int(found[1]) > 0:
                self.timeout_s = float(found[1])

    def _read_transport(self, track: Track, header: str) -> None:
        options = _transport_options(header)
        if self.transport is TransportKind.TCP:
            channel = 2 * self._next_track
            track.channels = _pair(options.get("interleaved", ""), 255) or (channel, channel + 1)
        else:
            track.server_ports = _pair(options.get("server_port", ""), 65535)
            track.source = options.get("source") or None
        ssrc = options.get("ssrc", "")
        if re.fullmatch(r"[0-9A-Fa-f]{1,8}", ssrc):
            track.ssrc = int(ssrc, 16)

    def _read_rtp_info(self, header: str) -> None:
        tracks = [track for track in self.tracks if track.refused is None]
        entries = [_transport_options(entry) for entry in header.split(",")][: len(tracks)]
        for place, entry in enumerate(entries):
            url = entry.get("url", "")
            track = next((track for track in tracks if url and track.media.control.endswith(url)), tracks[place])
            if re.fullmatch(r"[0-9]{1,5}", entry.get("seq", "")):
                track.first_sequence = int(entry["seq"]) & 0xFFFF
            if re.fullmatch(r"[0-9]{1,10}", entry.get("rtptime", "")):
                track.first_timestamp = int(entry["rtptime"]) & 0xFFFFFFFF

    def _set_keep_alive(self, now: float) -> None:
        self.keep_alive_at = now + min(KEEP_ALIVE_MAX_S, max(KEEP_ALIVE_MIN_S, self.timeout_s * KEEP_ALIVE_SHARE))

    def _receive_while_playing(self, method: str, response: Response) -> None:
        if response.status < 300 or method == "TEARDOWN":
            return
        if response.status == 454:
            raise _status_error(method, response)
        if method == "GET_PARAMETER":
            self._keep_alive_method = "OPTIONS"


def _check(method: str, response: Response) -> None:
    if response.status in _REDIRECTS:
        _redirect(method, response)
    if response.status >= 300 or response.status < 200:
        raise _status_error(method, response)


def _redirect(method: str, response: Response) -> None:
    location = (response.headers.get("Location") or "").strip()
    if not re.match(r"(?i)rtsps?://[^/]", location):
        raise _status_error(method, response)
    raise RedirectError(location)


def _status_error(method: str, response: Response) -> RtspStatusError:
    after = response.headers.get("Retry-After") or ""
    return RtspStatusError(
        method, response.status, response.reason, float(after) if re.fullmatch(r"[0-9]{1,6}", after) else None
    )


def _words(values: Sequence[str]) -> frozenset[str]:
    return frozenset(word.strip().upper() for value in values for word in value.split(",") if word.strip())


def _transport_options(text: str) -> dict[str, str]:
    """``name=value`` parts between semicolons; names in lower case."""
    options: dict[str, str] = {}
    for part in text.split(",")[0].split(";"):
        name, _, value = part.strip().partition("=")
        options.setdefault(name.strip().lower(), value.strip().strip('"'))
    return options


def _pair(text: str, most: int) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    if not found:
        return None
    first = int(found[1])
    second = int(found[2]) if found[2] else first + 1
    return (first, second) if first <= most and second <= most else None
