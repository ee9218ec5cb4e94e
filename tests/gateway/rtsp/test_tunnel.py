"""RTSP over HTTP: heads of requests and responses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp import tunnel
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import HEAD_MAX_BYTES


def test_both_requests_have_the_cookie() -> None:
    for method in ("GET", "POST"):
        head = tunnel.request(method, "/stream?a=1", "camera:80", "secret", "Basic eA==").decode()
        assert head.startswith(f"{method} /stream?a=1 HTTP/1.1\r\nHost: camera:80\r\n")
        assert "\r\nx-sessioncookie: secret\r\n" in head
        assert head.endswith("\r\nAuthorization: Basic eA==\r\n\r\n")
        assert tunnel.CONTENT_TYPE in head
    with pytest.raises(ValueError, match="line break"):
        tunnel.request("GET", "/a\r\nX: y", "camera", "secret")


@given(st.integers(1, 60))
def test_a_head_in_pieces(size: int) -> None:
    data = b"HTTP/1.0 200 OK\r\nServer: a\r\nContent-Type: b\r\n\r\n$\0\0\1a"
    head = tunnel.ResponseHead()
    rest = b""
    for place in range(0, len(data), size):
        piece = data[place : place + size]
        if head.status is not None:
            rest += piece
            continue
        rest += head.feed(piece) or b""
    assert (head.status, head.headers.get("server"), rest) == (200, "a", b"$\0\0\1a")


@pytest.mark.parametrize(
    "data", [b"RTSP/1.0 200 OK\r\n\r\n", b"\r\n\r\n", b"HTTP/1.0\r\n\r\n", b"a" * 2 * HEAD_MAX_BYTES]
)
def test_what_is_no_head(data: bytes) -> None:
    with pytest.raises(RtspProtocolError):
        tunnel.ResponseHead().feed(data)
