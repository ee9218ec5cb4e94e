"""ForwardTarget: the URL of a server that a camera is pushed to.

Rules:

1. No text has more of a URL than scheme, host and port: its path is mostly a stream key.
2. What the bundled libav cannot send is refused where it is set, with what to do instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.capture.camera_errors import host_and_port
from gateway.capture.url import CameraUrl, parse
from gateway.errors import CaptureError

TLS_SCHEMES = frozenset({"rtmps", "rtsps"})
"""Of what libav sends."""

SCHEMES = TLS_SCHEMES | {"rtmp", "rtsp", "http", "https"}
"""Of what is connected to: ``http`` and ``https`` are WHIP, and have ``whip:`` before them."""

WHIP = "whip:"

VIDEO_CODECS = frozenset({"h264", "hevc"})
"""What libav pushes; by WHIP it is H.264 alone."""

TARGETS_MAX = 8
"""Of one camera: each has a connection and a process."""

_SRT = (
    "SRT cannot be sent, because PyAV's libav is built without it: push to a media server by rtsp:// or rtmp://, and"
    " let it send SRT"
)


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """See the module. ``url`` is what is connected to."""

    url: CameraUrl = field(repr=False)
    text: str = field(repr=False)
    """The whole URL, with its secrets."""

    @property
    def is_whip(self) -> bool:
        """Whether it is sent by WebRTC, and not by libav."""
        return self.url.scheme in ("http", "https")

    @property
    def name(self) -> str:
        """Scheme, host and port."""
        return f"{WHIP if self.is_whip else ''}{self.url.scheme}://{host_and_port(self.url)}"


def connect_url(text: str) -> str:
    """The URL that is connected to: of ``whip:https://…`` it is what follows ``whip:``."""
    text = text.strip()
    return text[len(WHIP) :] if text.lower().startswith(WHIP) else text


def parse_target(text: str) -> ForwardTarget:
    """Read a URL. Raises ``ValueError``, without the URL in its message."""
    scheme, url_text = text.strip().partition(":")[0].lower(), connect_url(text)
    if scheme == "srt":
        raise ValueError(_SRT)
    allowed = ("http", "https") if scheme == "whip" else ("rtmp", "rtmps", "rtsp", "rtsps")
    if url_text.partition(":")[0].lower() not in allowed:
        raise ValueError("it does not start with rtmp://, rtmps://, rtsp://, rtsps://, whip:https:// or whip:http://")
    try:
        url = parse(url_text)
    except CaptureError as error:
        raise ValueError(str(error)) from None
    if not url.target.strip("/"):
        raise ValueError("it has no path: write application and stream, as in rtmp://192.0.2.9/live/door")
    return ForwardTarget(url, text.strip())


def check_targets(texts: Iterable[str]) -> None:
    """Raises ``ValueError`` for URLs that cannot be used."""
    found = list(texts)
    if len(found) > TARGETS_MAX:
        raise ValueError(f"there are more than {TARGETS_MAX}")
    for number, text in enumerate(found, start=1):
        try:
            parse_target(text)
        except ValueError as error:
            raise ValueError(f"number {number}: {error}") from None
