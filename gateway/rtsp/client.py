"""One RTSP session as its client sees it: which request comes next, and what an answer means (RFC 2326 §10, §A.1).

Theory of operation. The transport sends what :meth:`ClientSession.next_request` returns, one request at a time, and
gives each response to :meth:`ClientSession.receive`, until :attr:`ClientSession.state` is ``PLAYING``. From then on it
asks :meth:`ClientSession.keep_alive` when :attr:`ClientSession.keep_alive_at` has come. Nothing here does I/O.

    OPTIONS → DESCRIBE → SETUP (once a track) → PLAY → PLAYING
                  └── a redirect ends the session: open another one there

Rules:

1. A refused OPTIONS is ignored: a server need not know it (RFC 2326 §10.1). Where it is not answered, the transport
   calls :meth:`ClientSession.skip_options`; where the server hangs up at it, or answers in another protocol, a session
   without it is opened, as :attr:`ClientSession.is_ended_by_options` says.
2. A refused SETUP leaves that track out, or sets up the one that stands for it. The session goes on while the required
   track has been set up, and fails with the server's own status otherwise. When the transport is refused (461), the
   other one is tried for all tracks.
3. A 401 is answered with credentials, and again only where that makes sense (:mod:`gateway.rtsp.auth`), and at most
   :data:`RETRIES_MAX` times for one request. A provisional response (1xx) is not the answer.
4. A refused PLAY is sent again without Range, and then for each track (RFC 2326 §11.3.10), unless the status says that
   it would not help. Servers that know neither answer anything from 400 to 551. A DESCRIBE whose Accept is refused is
   sent again without.
5. Keep-alives follow :mod:`gateway.rtsp.keep_alive`. Where one is answered 454 (:attr:`ClientSession.lost`), the
   transport ends the session once no more media comes.
6. While the session is opened, one request is under way, and a final response answers it, whatever its CSeq. Only where
   it is the one before once more, whose CSeq was right, it does not: some servers answer twice.
7. Requests of the server are answered: OPTIONS, GET_PARAMETER and SET_PARAMETER with 200, others with 501. A TEARDOWN
   or REDIRECT of the server ends the session.
8. A feature that is required is named in DESCRIBE, SETUP and PLAY (RFC 2326 §12.32).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.rtsp.answers import (
    REDIRECTS,
    answer_to,
    check,
    description_of,
    redirect,
    session_header,
    status_error,
    words,
)
from gateway.rtsp.auth import Authenticator, parse_challenges
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.keep_alive import KeepAlive
from gateway.rtsp.messages import Headers, Request, Response
from gateway.rtsp.sdp import SessionDescription
from gateway.rtsp.track import Track, TransportKind, read_rtp_info

USER_AGENT = "liveedge"

DEFAULT_TIMEOUT_S = 60.0
"""A session's time-out where the server states none (RFC 2326 §12.37)."""

RETRIES_MAX = 2
"""How often one request is sent again with credentials: for the challenge, and for a nonce that was stale."""

_NO_AGGREGATE = frozenset({459, 460})
_REFUSED_FOR_GOOD = frozenset({401, 453, 454, 461, 503})
_ACCEPT_REFUSED = frozenset({406, 415})


class State(StrEnum):
    """Where the session is; see the module."""

    OPTIONS = "options"
    DESCRIBE = "describe"
    SETUP = "setup"
    PLAY = "play"
    PLAYING = "playing"
    ENDED = "ended"


Choose = Callable[[SessionDescription], list[Track]]
"""Picks the tracks to set up; may raise what tells a person why there are none."""


@dataclass(slots=True)
class _Sent:
    request: Request
    retries: int


@dataclass
class ClientSession:
    """See the module. ``open_udp_ports`` gives the two local ports of a track, when UDP is tried.

    ``has_options`` is false for a server that hangs up at OPTIONS. ``require`` is the feature tag of rule 8.
    """

    uri: str
    authenticator: Authenticator
    choose: Choose
    transport: TransportKind = TransportKind.TCP
    may_change_transport: bool = True
    open_udp_ports: Callable[[], tuple[int, int]] | None = None
    has_options: bool = True
    require: str | None = None

    state: State = field(default=State.OPTIONS, init=False)
    description: SessionDescription | None = field(default=None, init=False)
    tracks: list[Track] = field(default_factory=list, init=False)
    """The tracks that were chosen; those with a ``refused`` status are left out by the server."""
    session_id: str | None = field(default=None, init=False)
    timeout_s: float = field(default=DEFAULT_TIMEOUT_S, init=False)

    def __post_init__(self) -> None:
        if not self.has_options:
            self.state = State.DESCRIBE
        self._cseq = 0
        self._answered: object = None
        """The newest answer whose CSeq was right."""
        self._public: frozenset[str] = frozenset()
        self._next_track = 0
        self._sent: dict[int, _Sent] = {}
        self._retry: _Sent | None = None
        self._pending: str | None = None
        self._has_tried_both = False
        self._keep_alive = KeepAlive()
        self._has_refused_options = False
        self._has_range = self._has_accept = True
        self._refused_play: Response | None = None
        """The first refusal."""
        self._play_uris: list[str] = []
        """What is still to be played."""

    @property
    def keep_alive_at(self) -> float:
        """When the next keep-alive is due, in monotonic seconds."""
        return self._keep_alive.at

    @property
    def lost(self) -> RtspStatusError | None:
        """The server's newest answer to a keep-alive, where that was 454 (rule 5)."""
        return self._keep_alive.lost

    @property
    def is_ended_by_options(self) -> bool:
        """Whether an end of the connection now would come from OPTIONS: rule 1."""
        return self.state is State.OPTIONS or (self.state is State.DESCRIBE and self._has_refused_options)

    # --- requests

    def skip_options(self) -> None:
        """Wait for the answer to OPTIONS no longer."""
        if self.state is State.OPTIONS:
            self._pending = None
            self.state = State.DESCRIBE

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
            accept = {"Accept": "application/sdp"} if self._has_accept else {}
            return self._send("DESCRIBE", self.uri, {**accept, **self._required})
        if self.state is State.SETUP:
            track = self.tracks[self._next_track]
            return self._send("SETUP", track.media.control, {"Transport": self._transport_of(track), **self._required})
        if self.state is State.PLAY:
            range_header = {"Range": "npt=0.000-"} if self._has_range else {}
            return self._send("PLAY", self._play_uris[0], {**range_header, **self._required})
        return None

    def keep_alive(self, now: float) -> Request:
        """The keep-alive that is due; the next one is due at :attr:`keep_alive_at`. ``now`` is monotonic."""
        assert self.description is not None
        self._keep_alive.schedule(now, self.timeout_s)
        # Answers to earlier ones are not awaited: some servers give none.
        for cseq in [cseq for cseq, sent in self._sent.items() if cseq < self._cseq - 8]:
            del self._sent[cseq]
        return self._send(self._keep_alive.method(self._public), self.description.control)

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

    @property
    def _required(self) -> dict[str, str]:
        return {} if self.require is None else {"Require": self.require}

    def _transport_of(self, track: Track) -> str:
        if self.transport is TransportKind.UDP and track.client_ports is None:
            assert self.open_udp_ports is not None
            track.client_ports = self.open_udp_ports()
        return track.offer(self.transport, self._next_track)

    # --- answers

    def receive(self, response: Response, now: float) -> None:
        """Take a response. ``now`` is monotonic, in seconds.

        Raises :class:`~gateway.rtsp.redirect.RedirectError`, :class:`~gateway.rtsp.errors.RtspStatusError` and
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
        if response.status != 401:
            self.authenticator.succeeded()
        if self.state in (State.PLAYING, State.ENDED):
            self._keep_alive.receive(method, response)
        elif is_awaited:
            self._advance(method, response, now)

    def answer(self, request: Request) -> Response:
        """Our answer to a request of the server (rule 7)."""
        if request.method in ("TEARDOWN", "REDIRECT"):
            self.state = State.ENDED
        return answer_to(request)

    def _take_sent(self, response: Response) -> _Sent | None:
        cseq = response.cseq
        content = (response.status, list(response.headers), response.body)
        if cseq is not None and (cseq in self._sent or self._pending is None):
            self._answered = content
            return self._sent.pop(cseq, None)
        if self._answered == content:
            return None
        self._answered = None
        # Rule 6; also without a CSeq it answers what was asked last.
        return self._sent.pop(max(self._sent), None) if self._sent else None

    def _advance(self, method: str, response: Response, now: float) -> None:
        if method == "OPTIONS":
            if response.status == 401 and response.headers.get("WWW-Authenticate"):
                raise status_error(method, response)
            if response.status in REDIRECTS and response.headers.get("Location"):
                redirect(method, response, self.uri)
            self._has_refused_options = response.status >= 300
            self._public = words([*response.headers.get_all("Public"), *response.headers.get_all("Allow")])
            self.state = State.DESCRIBE
        elif method == "DESCRIBE" and response.status in _ACCEPT_REFUSED and self._has_accept:
            self._has_accept = False
        elif method == "DESCRIBE":
            check(method, response, self.uri)
            self._describe(response)
        elif method == "SETUP":
            self._set_up(response)
        elif method == "PLAY":
            self._play(response, now)

    def _play(self, response: Response, now: float) -> None:
        """Rule 4."""
        may_help = response.status >= 400 and response.status not in _REFUSED_FOR_GOOD
        if may_help:
            self._refused_play = self._refused_play or response
        if may_help and self._has_range and response.status not in _NO_AGGREGATE:
            self._has_range = False
            return
        tracks = [track for track in self.tracks if track.refused is None]
        assert self.description is not None
        if may_help and self._play_uris == [self.description.control]:
            self._play_uris = [track.media.control for track in tracks]
            return
        check("PLAY", self._refused_play if may_help and self._refused_play is not None else response, self.uri)
        self._read_session(response)
        played = [track for track in tracks if track.media.control == self._play_uris[0]]
        read_rtp_info(played or tracks, response.headers.get("RTP-Info") or "")
        self._public |= words(response.headers.get_all("Public"))
        del self._play_uris[0]
        if not self._play_uris:
            self.state = State.PLAYING
            self._keep_alive.schedule(now, self.timeout_s)

    def _describe(self, response: Response) -> None:
        self.description = description_of(response, self.uri)
        self.tracks = self.choose(self.description)
        if not self.tracks:
            raise RtspProtocolError("a description without a track that can be used")
        self.state = State.SETUP

    def _set_up(self, response: Response) -> None:
        track = self.tracks[self._next_track]
        if response.status == 461 and self.session_id is None and self._change_transport():
            return
        if response.status in REDIRECTS:
            redirect("SETUP", response, self.uri)
        if response.status >= 300:
            if track.otherwise is not None and response.status != 401:
                track.otherwise.client_ports = track.client_ports
                self.tracks[self._next_track] = track.otherwise
                return
            track.refused = response.status
            if track.is_required or response.status == 401:
                raise status_error("SETUP", response)
        else:
            self._read_session(response)
            track.read_transport(self.transport, self._next_track, response.headers.get("Transport") or "")
        self._next_track += 1
        if self._next_track == len(self.tracks):
            self.state = State.PLAY
            assert self.description is not None
            self._play_uris = [self.description.control]
            if all(track.refused is not None for track in self.tracks):
                raise status_error("SETUP", response)

    def _change_transport(self) -> bool:
        """Rule 2: begin the set-up again over the other transport; whether there is one left."""
        if self._has_tried_both or not self.may_change_transport or self.open_udp_ports is None:
            return False
        self._has_tried_both = True
        self.transport = TransportKind.UDP if self.transport is TransportKind.TCP else TransportKind.TCP
        self._next_track = 0
        return True

    def _read_session(self, response: Response) -> None:
        identifier, timeout_s = session_header(response)
        self.session_id = identifier or self.session_id
        self.timeout_s = timeout_s or self.timeout_s
