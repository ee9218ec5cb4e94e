"""Camera URLs: from what people paste to what RFC 3986 and libraries expect.

Theory of operation. A camera's password often has characters with a meaning in URLs, and people paste it unencoded.
:func:`normalise` finds where the credentials end and percent-encodes them (RFC 3986 §2.1). libav decodes them before it
answers a digest challenge, and so sends the password that the person meant.

Rules:

1. A host is plausible if it is an address or ``localhost``, or has a dot or a port. A URL that begins with one has no
   credentials, as in RFC 3986.
2. Otherwise the credentials end at the first "@" before a plausible host, or at the last "@" before any possible host.
   A plain name before a "/" is a host as well, unless a user, a ":" and a password come before that "@".
3. ``%`` and two hexadecimal digits is an encoded character. Every other ``%`` stands for itself.
4. White space and control characters are always encoded: a line break in a URL would be a header of its own.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from gateway.errors import CaptureError

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f]*:[0-9A-Fa-f:.%a-z]*\]|[^\x00-\x20\x7f\s\[\]/?#@:%]+)(?::(?P<port>\d{0,5}))?(?=[/?#]|$)"
)
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

FAKE_URL = "fake://"
"""How the URL of the test picture begins."""

_DEFAULT_PORTS = {
    "rtsp": 554,
    "rtsps": 322,
    "rtsp+http": 80,
    "rtsps+http": 443,
    "http": 80,
    "https": 443,
    "rtmp": 1935,
    "rtmps": 443,
}
_UNREADABLE = "cannot be read; write it as in rtsp://user:password@192.0.2.7/stream1"
# Messages do not repeat the URL: without a host it is unknown where the password ends.

_TARGET_SAFE = "%/?#:@!$&'()*+,;=[]~"


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """A URL in its parts. ``userinfo`` is percent-encoded, ``user:password`` or empty; ``target`` is path and query."""

    scheme: str
    userinfo: str = field(repr=False)
    host: str
    port: int | None
    target: str = field(repr=False)

    @property
    def connect_port(self) -> int:
        """The port to connect to, the scheme's own where the URL names none."""
        return self.port or _DEFAULT_PORTS.get(self.scheme, 554)

    def __str__(self) -> str:
        credentials = f"{self.userinfo}@" if self.userinfo else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{credentials}{host}{port}{self.target}"


def parse(url: str) -> CameraUrl:
    """Read a URL by the rules above. Raises :class:`~gateway.errors.CaptureError` where no host can be found."""
    match = _SCHEME.fullmatch(url.strip())
    if match is None:
        raise CaptureError(f"the camera's URL {_UNREADABLE}")
    rest = match["rest"]
    at, authority = _find_authority(rest)
    if authority is None or int(authority["port"] or 0) > 65_535:
        raise CaptureError(f"the camera's URL names no host, or {_UNREADABLE}")
    return CameraUrl(
        scheme=match["scheme"].lower(),
        userinfo=_userinfo(rest[:at]) if at >= 0 else "",
        host=_host(authority["host"]),
        port=int(authority["port"] or 0) or None,
        target=quote(_LONE_PERCENT.sub("%25", rest[authority.end() :]), safe=_TARGET_SAFE),
    )


def normalise(url: str) -> str:
    """The URL with its credentials and its target percent-encoded. Raises as :func:`parse` does."""
    return str(parse(url))


def file_path(url: str) -> Path | None:
    """The path of a ``file://`` URL, which is absolute and percent-encoded; ``None`` for another scheme."""
    match = re.fullmatch(r"(?i)file://(/.*)", url.strip(), re.DOTALL)
    return Path(unquote(match[1])) if match else None


def _find_authority(rest: str) -> tuple[int, re.Match[str] | None]:
    """The offset of the "@" that ends the credentials (or -1), and the host and port after it."""
    plain = _AUTHORITY.match(rest)
    if plain is not None and _is_plausible(plain):
        return -1, plain
    candidates = [
        (at.start(), match) for at in re.finditer("@", rest) if (match := _AUTHORITY.match(rest, at.end())) is not None
    ]
    plausible = [(at, match) for at, match in candidates if _is_plausible(match)]
    if plain is not None:
        return next(((at, match) for at, match in plausible if ":" in rest[:at]), (-1, plain))
    if plausible:
        return plausible[0]
    return candidates[-1] if candidates else (-1, None)


def _is_plausible(authority: re.Match[str]) -> bool:
    host = authority["host"]
    return int(authority["port"] or 0) > 0 or "." in host or host.startswith("[") or host == "localhost"


def _userinfo(raw: str) -> str:
    user, colon, password = raw.partition(":")
    return colon.join(
        quote(_LONE_PERCENT.sub("%25", part), safe="%") for part in ((user, password) if colon else (user,))
    )


def _host(host: str) -> str:
    if host.startswith("["):
        return host[1:-1]
    if host.isascii():
        return host
    try:
        encoded = host.encode("idna").decode("ascii")
    except UnicodeError:
        encoded = ""
    # Compatibility characters are replaced first, some of them by a space (RFC 3490 §4.1).
    if not _HOST_NAME.fullmatch(encoded):
        raise CaptureError(f"{host!r} is not a host name")
    return encoded
