"""Messages and interleaved frames: every chunking gives the same, and nothing that comes in has no bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp import messages
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import BODY_MAX_BYTES, HEAD_MAX_BYTES, Headers, Message, Request, Response, StreamParser

RESPONSE = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"
REQUEST = b"OPTIONS rtsp://camera/ RTSP/1.0\r\nCSeq: 9\r\n\r\n"


def frame(channel: int, payload: bytes) -> bytes:
    return b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload


def events(*chunks: bytes) -> list[tuple[int, bytes] | Message]:
    found: list[tuple[int, bytes] | Message] = []
    parser = StreamParser(lambda channel, view: found.append((channel, bytes(view))), found.append)
    for chunk in chunks:
        parser.feed(chunk)
    return found


def shown(found: list[tuple[int, bytes] | Message]) -> list[object]:
    return [
        (item.status, item.body, list(item.headers))
        if isinstance(item, Response)
        else (item.method, item.uri, list(item.headers))
        if isinstance(item, Request)
        else item
        for item in found
    ]


def test_a_response_and_its_body() -> None:
    (response,) = events(RESPONSE)
    assert isinstance(response, Response)
    assert (response.status, response.reason, response.cseq, response.body) == (200, "OK", 2, b"v=0\n")
    assert response.headers.get("content-TYPE") == "application/sdp"


def test_a_request_of_the_server() -> None:
    (request,) = events(REQUEST)
    assert isinstance(request, Request)
    assert (request.method, request.uri, request.cseq) == ("OPTIONS", "rtsp://camera/", 9)


@given(st.lists(st.integers(1, 200), max_size=40), st.lists(st.binary(max_size=70_000), max_size=4))
def test_the_chunks_of_the_network_do_not_matter(sizes: list[int], payloads: list[bytes]) -> None:
    stream = RESPONSE + b"".join(frame(n % 4, payload) for n, payload in enumerate(payloads)) + b"\r\n" + REQUEST
    chunks = []
    for size in sizes:
        chunks.append(stream[:size])
        stream = stream[size:]
    expected = shown(events(b"".join(chunks) + stream))
    assert shown(events(*chunks, stream)) == expected
    assert expected[1:-1] == [(n % 4, payload) for n, payload in enumerate(payloads)]


@pytest.mark.parametrize("length", [b"abc", b"999999999999", b"-1", b"4000"])
def test_a_length_between_frames_that_cannot_be_costs_no_frame(length: bytes) -> None:
    found = events(frame(0, b"\x80\x60" + bytes(10)))
    parser = StreamParser(lambda channel, view: found.append((channel, bytes(view))), found.append)
    rtp = frame(0, b"\x80\x60" + bytes(10))
    parser.feed(rtp + b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nContent-Length: " + length + b"\r\n\r\n" + rtp * 2)
    assert len(found) == 5
    assert not parser.is_in_body


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\n<html></html>",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"HTTP/1.0 401 Unauthorized",
        b"GET /index.html HTTP/1.1\r\nHost: camera\r\n\r\n",
        b"ERROR the sensor is too hot: $100 and 5 % more\n",
        b"[12:00:01] encoder restarted\r\n\r\n",
        b"WARN " + b"a" * 3000,
        b"<html>" + b"$ " * 500,
        b"R" * 40,
        b"\0" * 100,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_text_between_frames_that_is_not_of_rtsp_costs_no_frame(text: bytes, size: int) -> None:
    frame = b"$\x00\x00\x0c\x80\x60" + bytes(10)
    response = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"
    frames: list[int] = []
    messages: list[Message] = []
    parser = StreamParser(lambda channel, payload: frames.append(len(payload)), messages.append)
    stream = frame + text + frame + response + text + frame * 2
    for at in range(0, len(stream), size):
        parser.feed(stream[at : at + size])
    assert frames == [12] * 4
    assert [message.cseq for message in messages] == [7]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_any_line_end_and_folded_lines(end: str) -> None:
    text = end.join(["RTSP/1.0 401 Unauthorized", "CSeq: 1", "WWW-Authenticate: Digest", ' realm="a"', "", ""])
    (response,) = events(text.encode())
    assert isinstance(response, Response)
    assert response.headers.get("www-authenticate") == 'Digest realm="a"'


@pytest.mark.parametrize("length", [b"5, 5", b"5 bytes", b" 5 ", b"5;q=1"])
def test_a_length_with_something_behind_it(length: bytes) -> None:
    (response,) = events(b"RTSP/1.0 200 OK\r\nContent-Length: " + length + b"\r\n\r\nv=0\r\n")
    assert isinstance(response, Response)
    assert response.body == b"v=0\r\n"


@pytest.mark.parametrize("length", [b"Content-Length: 400\r\n", b""])
def test_a_body_of_a_wrong_or_no_length_ends_when_the_transport_says_so(length: bytes) -> None:
    found: list[Message] = []
    parser = StreamParser(lambda channel, view: None, found.append)
    parser.feed(b"RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n" + length + b"\r\nv=0\r\n")
    assert parser.is_in_body
    parser.end_body()
    assert [message.body for message in found] == [b"v=0\r\n"]
    parser.end_body()
    parser.feed(REQUEST)
    assert not parser.is_in_body
    assert len(found) == 2


def test_the_protocol_in_small_letters() -> None:
    (response,) = events(RESPONSE.replace(b"RTSP", b"rtsp"))
    assert isinstance(response, Response)
    assert response.status == 200


def test_stray_bytes_between_frames_are_skipped_and_counted() -> None:
    found: list[object] = []
    parser = StreamParser(lambda channel, view: found.append((channel, bytes(view))), found.append)
    parser.feed(frame(0, b"one") + b"\x00\x17str$ay" + frame(0, b"\x80two") + b"\xff\xfe" + RESPONSE)
    assert [item for item in found if isinstance(item, tuple)] == [(0, b"one"), (0, b"\x80two")]
    assert isinstance(found[-1], Response)
    assert parser.garbage_bytes == 10


@pytest.mark.parametrize(
    "data",
    [
        b"RTSP/1.0 200 OK\r\nContent-Length: 1500000000\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: " + str(BODY_MAX_BYTES + 1).encode() + b"\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nX: " + b"x" * (HEAD_MAX_BYTES + 1),
        b"RTSP/1.0 200 OK\r\nX: " + b"x" * (HEAD_MAX_BYTES + 1) + b"\r\n\r\n",
        b"\x00" * (messages.GARBAGE_MAX_BYTES + 10),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"RTSP/1.0 twohundred OK\r\n\r\n",
    ],
)
def test_what_is_too_large_or_no_rtsp_ends_the_connection(data: bytes) -> None:
    with pytest.raises(RtspProtocolError):
        events(data)


@given(st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([b"RTSP/1.0 ", b"\r\n\r\n", b"$\x00", RESPONSE]))))
def test_wild_bytes_raise_nothing_else_and_are_not_kept(chunks: list[bytes]) -> None:
    parser = StreamParser(lambda channel, view: None, lambda message: None)
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except RtspProtocolError:
        return


def test_a_header_cannot_be_split_in_two() -> None:
    with pytest.raises(ValueError, match="line break"):
        Request("SETUP", "rtsp://camera/\r\nX: 1", Headers()).encode()


def test_what_is_shown_of_headers_has_no_credentials() -> None:
    assert "secret" not in repr(Headers([("Authorization", "Basic secret"), ("CSeq", "1")]))


def test_a_realm_in_any_encoding_comes_back_as_it_was() -> None:
    head = b'RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm="\xe9"\r\nServer: \xe9\r\n\r\n'
    (response,) = events(head)
    assert isinstance(response, Response)
    assert response.headers.get("Server") == "\ufffd"
    challenge = response.headers.get("WWW-Authenticate") or ""
    assert b'realm="\xe9"' in Request("OPTIONS", "*", Headers([("Authorization", challenge)])).encode()
