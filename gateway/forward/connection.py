"""What the connections of a forward have in common, whatever the protocol."""

from collections.abc import Awaitable, Callable, Collection

from gateway.forward.process import ForwardError
from gateway.media import Packet

TIMEOUT_S = 10.0
"""For opening the connection, and for each write, in seconds."""

Write = Callable[[list[Packet]], Awaitable[None]]
"""Sends packets, and returns when they were taken. Raises :class:`~gateway.forward.process.ForwardError` and
:class:`~gateway.errors.CaptureError`."""


def require_codec(packet: Packet, codecs: Collection[str]) -> None:
    """Raises ``ForwardError`` for video that the server cannot take."""
    codec = packet.info.video.codec
    if codec not in codecs:
        raise ForwardError(f"it cannot take {codec}: set the camera to H.264")
