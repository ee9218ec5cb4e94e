"""The answers of the RTSP server."""

from gateway.rtsp.messages import Headers, Response
from gateway.rtsp.session import REASONS


def ok(*headers: tuple[str, str], body: bytes = b"") -> Response:
    """What was asked for is done."""
    return Response(200, REASONS[200], Headers(list(headers)), body)


def refusal(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """It is not done, and why: the message is for people."""
    text = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, REASONS[status], Headers([*headers, text]), message.encode())
