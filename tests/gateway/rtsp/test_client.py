"""One RTSP session, request by request, with the answers that cameras give."""

from collections.abc import Mapping

import pytest

from gateway.rtsp.auth import Authenticator, Credentials
from gateway.rtsp.client import ClientSession, State
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.messages import Headers, Request, Response
from gateway.rtsp.redirect import RedirectError
from gateway.rtsp.sdp import SessionDescription
from gateway.rtsp.track import Track, TransportKind

URI = "rtsp://camera:554/stream1"
SDP = (
    b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    b"m=audio 0 RTP/AVP 0\r\na=control:track2\r\n"
)
CHALLENGE = 'Digest realm="camera", nonce="{}"'


def choose(description: SessionDescription) -> list[Track]:
    return [Track(media, is_required=media.kind == "video") for media in description.media]


class Camera:
    """Answers each request with what the test says of its method, and 200 otherwise."""

    def __init__(self, credentials: Credentials | None = None, **options: object) -> None:
        self.session = ClientSession(URI, Authenticator(credentials), choose, **options)  # type: ignore[arg-type]
        self.requests: list[Request] = []
        self.body = SDP
        self.statuses: dict[str, list[int]] = {}
        self.headers: dict[str, dict[str, str]] = {
            "OPTIONS": {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER"}
        }

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def answer(self, request: Request, now: float = 0.0, extra: Mapping[str, str] | None = None) -> None:
        statuses = self.statuses.get(request.method, [])
        status = statuses.pop(0) if statuses else 200
        headers = {"CSeq": request.headers.get("CSeq") or "", **self.headers.get(request.method, {}), **(extra or {})}
        body = b""
        if status == 401:
            headers["WWW-Authenticate"] = CHALLENGE.format(len(self.requests))
        if request.method == "DESCRIBE" and status == 200:
            body = self.body
        if request.method == "SETUP" and status == 200:
            headers = {"Session": "42;timeout=20", "Transport": request.headers.get("Transport") or "", **headers}
        self.session.receive(Response(status, "as told", Headers(list(headers.items())), body), now)

    def run(self, now: float = 0.0) -> None:
        """Go on until nothing is due."""
        while (request := self.session.next_request()) is not None:
            self.requests.append(request)
            self.answer(request, now)


def test_the_order_of_a_session() -> None:
    camera = Camera()
    camera.headers["PLAY"] = {"RTP-Info": f"url={URI}/track1;seq=7;rtptime=900,url={URI}/track2;seq=9;rtptime=80"}
    camera.run(now=100.0)
    assert camera.methods == ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
    session = camera.session
    assert session.state is State.PLAYING
    assert [track.channels for track in session.tracks] == [(0, 1), (2, 3)]
    assert [(track.first_sequence, track.first_timestamp) for track in session.tracks] == [(7, 900), (9, 80)]
    assert camera.requests[2].uri == f"{URI}/track1"
    assert camera.requests[3].headers.get("Session") == "42"
    assert session.keep_alive_at == pytest.approx(109.0)


def test_no_request_while_an_answer_is_awaited() -> None:
    session = Camera().session
    assert session.next_request() is not None
    assert session.next_request() is None


@pytest.mark.parametrize("status", [404, 405, 454, 500, 501])
def test_a_refused_options_is_ignored(status: int) -> None:
    camera = Camera()
    camera.statuses["OPTIONS"] = [status]
    camera.run()
    assert camera.session.state is State.PLAYING


@pytest.mark.parametrize("status", [404, 461, 500, 503])
def test_a_refused_track_leaves_the_others(status: int) -> None:
    camera = Camera()
    camera.statuses["SETUP"] = [200, status]
    camera.run()
    assert camera.session.state is State.PLAYING
    assert [track.refused for track in camera.session.tracks] == [None, status]


@pytest.mark.parametrize("status", [404, 453, 500])
def test_a_refused_video_track_ends_it_with_the_camera_s_own_status(status: int) -> None:
    camera = Camera()
    camera.statuses["SETUP"] = [status]
    with pytest.raises(RtspStatusError) as caught:
        camera.run()
    assert (caught.value.status, caught.value.method) == (status, "SETUP")


def test_where_tcp_is_refused_udp_is_tried_for_all_tracks() -> None:
    ports = iter([(5000, 5001), (5002, 5003)])
    camera = Camera(open_udp_ports=lambda: next(ports))
    camera.statuses["SETUP"] = [461]
    camera.headers["SETUP"] = {"Transport": "RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;ssrc=DEADBEEF"}
    camera.run()
    assert camera.session.transport is TransportKind.UDP
    offered = [request.headers.get("Transport") for request in camera.requests if request.method == "SETUP"]
    assert offered == [
        "RTP/AVP/TCP;unicast;interleaved=0-1",
        "RTP/AVP;unicast;client_port=5000-5001",
        "RTP/AVP;unicast;client_port=5002-5003",
    ]
    assert camera.session.tracks[0].server_ports == (6000, 6001)
    assert camera.session.tracks[0].ssrc == 0xDEADBEEF


def test_where_both_transports_are_refused_it_ends() -> None:
    camera = Camera(open_udp_ports=lambda: (5000, 5001))
    camera.statuses["SETUP"] = [461, 461]
    with pytest.raises(RtspStatusError, match="461"):
        camera.run()


def test_channels_that_the_camera_chose_itself() -> None:
    camera = Camera()
    camera.headers["SETUP"] = {"Transport": "RTP/AVP/TCP;unicast;interleaved=6-7"}
    camera.run()
    assert camera.session.tracks[0].channels == (6, 7)


def test_credentials_are_sent_when_they_are_asked_for_and_on_all_that_follows() -> None:
    camera = Camera(Credentials("viewer", "secret"))
    camera.statuses["DESCRIBE"] = [401]
    camera.run()
    assert camera.methods == ["OPTIONS", "DESCRIBE", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
    sent = [request.headers.get("Authorization") for request in camera.requests]
    assert sent[:2] == [None, None]
    assert all(header and header.startswith("Digest") for header in sent[2:])
    assert "secret" not in repr(camera.session.authenticator)


@pytest.mark.parametrize("credentials", [None, Credentials("viewer", "wrong")])
def test_refused_credentials_end_it(credentials: Credentials | None) -> None:
    camera = Camera(credentials)
    camera.statuses["DESCRIBE"] = [401, 401]
    with pytest.raises(RtspStatusError, match="401"):
        camera.run()
    assert camera.methods.count("DESCRIBE") == (1 if credentials is None else 2)


def test_a_redirect_names_where_to_go() -> None:
    camera = Camera()
    camera.statuses["DESCRIBE"] = [302]
    camera.headers["DESCRIBE"] = {"Location": "rtsp://192.0.2.9/other"}
    with pytest.raises(RedirectError) as caught:
        camera.run()
    assert caught.value.location == "rtsp://192.0.2.9/other"


def test_a_redirect_without_an_address_is_a_refusal() -> None:
    camera = Camera()
    camera.statuses["DESCRIBE"] = [302]
    with pytest.raises(RtspStatusError, match="302"):
        camera.run()


def test_a_description_that_is_no_sdp() -> None:
    camera = Camera()
    camera.headers["DESCRIBE"] = {"Content-Type": "text/html"}
    camera.body = b"<html>v=0 m=video</html>"
    with pytest.raises(RtspProtocolError, match="no SDP"):
        camera.run()


@pytest.mark.parametrize(
    ("public", "method"),
    [("OPTIONS, GET_PARAMETER", "GET_PARAMETER"), ("OPTIONS, DESCRIBE", "OPTIONS"), ("", "GET_PARAMETER")],
)
def test_a_keep_alive_uses_what_the_camera_offers(public: str, method: str) -> None:
    camera = Camera()
    camera.headers["OPTIONS"] = {"Public": public}
    camera.run()
    request = camera.session.keep_alive(now=9.0)
    assert request.method == method
    assert request.headers.get("Session") == "42"
    assert camera.session.keep_alive_at == pytest.approx(18.0)


@pytest.mark.parametrize("status", [400, 404, 405, 451, 454, 461, 500, 501, 503, 551])
def test_keep_alives_go_on_with_the_other_method_whatever_refuses_them(status: int) -> None:
    """Many servers count what they refuse as a sign of life."""
    camera = Camera()
    camera.run()
    methods = []
    for now in range(20, 220, 20):
        assert camera.session.keep_alive_at <= now
        request = camera.session.keep_alive(now)
        methods.append(request.method)
        camera.statuses[request.method] = [status]
        camera.answer(request)
    assert methods == ["GET_PARAMETER", "OPTIONS"] * 5
    assert camera.session.state is State.PLAYING


def test_a_session_that_is_not_found_is_lost_until_it_is_found_again() -> None:
    camera = Camera()
    camera.run()
    camera.statuses["GET_PARAMETER"] = [454]
    camera.answer(camera.session.keep_alive(1.0))
    assert camera.session.lost is not None
    assert camera.session.lost.status == 454
    camera.answer(camera.session.keep_alive(2.0))
    assert camera.session.lost is None


def test_methods_that_are_allowed_count_as_offered() -> None:
    camera = Camera()
    camera.headers["OPTIONS"] = {"Allow": "OPTIONS, DESCRIBE"}
    camera.run()
    assert camera.session.keep_alive(1.0).method == "OPTIONS"


def test_a_stale_nonce_in_mid_session_repeats_the_keep_alive() -> None:
    camera = Camera(Credentials("viewer", "secret"))
    camera.statuses["DESCRIBE"] = [401]
    camera.run()
    keep_alive = camera.session.keep_alive(1.0)
    stale = {"WWW-Authenticate": CHALLENGE.format("new") + ", stale=true", "CSeq": keep_alive.headers.get("CSeq") or ""}
    camera.session.receive(Response(401, "", Headers(list(stale.items()))), 1.0)
    again = camera.session.next_request()
    assert again is not None
    assert again.method == "GET_PARAMETER"
    assert 'nonce="new"' in (again.headers.get("Authorization") or "")


def test_requests_of_the_camera_are_answered() -> None:
    session = Camera().session
    for method, status in (("OPTIONS", 200), ("SET_PARAMETER", 200), ("PLAY_NOTIFY", 501)):
        answer = session.answer(Request(method, URI, Headers([("CSeq", "3")])))
        assert (answer.status, answer.headers.get("CSeq")) == (status, "3")
    session.answer(Request("TEARDOWN", URI, Headers()))
    assert session.state is State.ENDED


def test_a_teardown_ends_what_was_set_up_and_nothing_else() -> None:
    camera = Camera()
    assert camera.session.teardown() is None
    camera.run()
    request = camera.session.teardown()
    assert request is not None
    assert request.method == "TEARDOWN"
    assert camera.session.teardown() is None


@pytest.mark.parametrize("kind", ["text/plain", "", "application/SDP; charset=utf-8"])
def test_a_description_by_another_name(kind: str) -> None:
    camera = Camera()
    camera.headers["DESCRIBE"] = {"Content-Type": kind}
    camera.run()
    assert camera.session.state is State.PLAYING


def test_a_session_without_options() -> None:
    camera = Camera(has_options=False)
    camera.run()
    assert camera.methods[0] == "DESCRIBE"
    assert camera.session.state is State.PLAYING


def test_options_is_not_awaited_for_long_and_its_late_answer_means_nothing() -> None:
    camera = Camera()
    options = camera.session.next_request()
    assert options is not None
    camera.session.skip_options()
    describe = camera.session.next_request()
    assert describe is not None
    camera.answer(options)
    assert camera.session.next_request() is None
    camera.answer(describe)
    camera.run()
    assert camera.session.state is State.PLAYING


@pytest.mark.parametrize("cseq", ["0", "1", "99", "x", ""])
def test_an_answer_with_any_cseq_is_that_of_the_one_request(cseq: str) -> None:
    camera = Camera()
    while (request := camera.session.next_request()) is not None:
        camera.answer(request, extra={"CSeq": cseq})
    assert camera.session.state is State.PLAYING


def test_an_answer_that_comes_twice_counts_once() -> None:
    camera = Camera()
    before: Request | None = None
    while (request := camera.session.next_request()) is not None:
        if before is not None:
            camera.answer(before)
            assert camera.session.next_request() is None
        camera.answer(request)
        before = request
    assert camera.session.state is State.PLAYING


@pytest.mark.parametrize("status", [400, 403, 404, 405, 451, 455, 456, 457, 500, 501, 551])
def test_play_without_range_where_that_is_refused(status: int) -> None:
    camera = Camera()
    camera.statuses["PLAY"] = [status]
    camera.run()
    assert camera.session.state is State.PLAYING
    assert [request.headers.get("Range") is None for request in camera.requests[-2:]] == [False, True]


@pytest.mark.parametrize("status", [400, 457])
def test_play_that_is_refused_in_every_way_has_the_first_status(status: int) -> None:
    camera = Camera()
    camera.statuses["PLAY"] = [status, 500, 500]
    with pytest.raises(RtspStatusError) as caught:
        camera.run()
    assert caught.value.status == status
    assert camera.methods.count("PLAY") == 3


@pytest.mark.parametrize("status", [453, 454, 503])
def test_play_that_is_refused_for_good_is_sent_once(status: int) -> None:
    camera = Camera()
    camera.statuses["PLAY"] = [status]
    with pytest.raises(RtspStatusError):
        camera.run()
    assert camera.methods.count("PLAY") == 1


@pytest.mark.parametrize("status", [406, 415])
def test_describe_without_accept_where_that_is_refused(status: int) -> None:
    camera = Camera()
    camera.statuses["DESCRIBE"] = [status]
    camera.run()
    assert camera.session.state is State.PLAYING
    described = [request.headers.get("Accept") for request in camera.requests if request.method == "DESCRIBE"]
    assert described == ["application/sdp", None]


@pytest.mark.parametrize("status", [404, 405, 500])
def test_each_track_is_played_where_the_aggregate_is_not_known(status: int) -> None:
    camera = Camera()
    camera.statuses["PLAY"] = [status] * 2
    camera.run()
    assert [request.uri for request in camera.requests[-2:]] == [f"{URI}/track1", f"{URI}/track2"]


@pytest.mark.parametrize("status", [459, 460])
def test_each_track_is_played_where_the_aggregate_is_refused(status: int) -> None:
    camera = Camera()
    camera.statuses["PLAY"] = [status]
    camera.headers["PLAY"] = {"RTP-Info": "seq=3"}
    camera.run()
    assert camera.session.state is State.PLAYING
    assert [request.uri for request in camera.requests[-2:]] == [f"{URI}/track1", f"{URI}/track2"]
    assert [track.first_sequence for track in camera.session.tracks] == [3, 3]


@pytest.mark.parametrize("status", [404, 500])
def test_another_track_in_place_of_a_refused_one(status: int) -> None:
    def first_or_second(description: SessionDescription) -> list[Track]:
        first, second = (Track(media, is_required=True) for media in description.media)
        first.otherwise = second
        return [first]

    camera = Camera()
    camera.session.choose = first_or_second
    camera.statuses["SETUP"] = [status]
    camera.run()
    assert camera.session.state is State.PLAYING
    assert [track.media.control for track in camera.session.tracks] == [f"{URI}/track2"]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other?x=1", "rtsp://camera:554/other?x=1"),
        ("other/2", "rtsp://camera:554/other/2"),
        ("?x=1", "rtsp://camera:554/stream1?x=1"),
        ("RTSP://camera/other", "RTSP://camera/other"),
    ],
)
def test_a_redirect_to_a_relative_address(location: str, target: str) -> None:
    camera = Camera()
    camera.statuses["DESCRIBE"] = [302]
    camera.headers["DESCRIBE"] = {"Location": location}
    with pytest.raises(RedirectError) as caught:
        camera.run()
    assert caught.value.location == target


def test_options_that_redirects_to_nowhere_is_refused_and_ignored() -> None:
    camera = Camera()
    camera.statuses["OPTIONS"] = [302]
    camera.run()
    assert camera.session.state is State.PLAYING


def test_each_request_may_need_another_nonce_after_a_success() -> None:
    camera = Camera(Credentials("user", "pass"))
    camera.statuses = {method: [401, 200] * 2 for method in ("OPTIONS", "DESCRIBE", "SETUP", "PLAY")}
    camera.run()
    assert camera.session.state is State.PLAYING


def test_a_nonce_that_expires_while_playing_is_replaced() -> None:
    camera = Camera(Credentials("user", "pass"))
    camera.statuses["OPTIONS"] = [401]
    camera.run()
    camera.statuses["GET_PARAMETER"] = [401]
    camera.requests.append(camera.session.keep_alive(100.0))
    camera.answer(camera.requests[-1])
    camera.run()
    assert camera.methods[-2:] == ["GET_PARAMETER", "GET_PARAMETER"]
    nonces = [request.headers.get("Authorization") for request in camera.requests[-2:]]
    assert nonces[0] != nonces[1]


def test_a_password_that_is_refused_while_playing_is_not_sent_for_ever() -> None:
    camera = Camera(Credentials("user", "pass"))
    camera.statuses["OPTIONS"] = [401]
    camera.run()
    camera.statuses = {"GET_PARAMETER": [401] * 9, "OPTIONS": [401] * 9}
    for now in range(100, 1000, 10):
        if camera.session.keep_alive_at <= now:
            camera.requests.append(camera.session.keep_alive(now))
            camera.answer(camera.requests[-1])
            camera.run()
    assert len(camera.requests) <= 10
    assert camera.session.state is State.PLAYING
