"""What is given to a client, checked before anything is sent: the address of the gateway, its token, and ids.

All raise :class:`InvalidArgumentError`. No text of an error has a password or a token.
"""

import re
from urllib.parse import quote

from yarl import URL

from liveedge_client.errors import InvalidArgumentError

EXAMPLE = "as in http://gateway.example:8000"

_NOT_IN_A_HOST = re.compile(r"[\s\x00-\x1f\x7f]")

_NOT_IN_A_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""RFC 9110 §5.5."""


def gateway_url(given: str | URL) -> URL:
    """The address of a gateway. Spaces and line ends around it are left out, as those of a file."""
    try:
        url = URL(given.strip() if isinstance(given, str) else given)
        url.origin()  # encodes the host, and checks the port
    except ValueError as error:
        raise InvalidArgumentError(f"the URL of the gateway cannot be read ({error}): write it {EXAMPLE}") from None
    if url.scheme not in ("http", "https") or not url.host or _NOT_IN_A_HOST.search(url.host):
        shown = str(url.with_user(None)) if url.host else str(url)
        raise InvalidArgumentError(f"{shown!r} is not the URL of a gateway, {EXAMPLE}")
    return url


def header_value(given: str, what: str) -> str:
    """A text that is sent as the value of a header. It is not in the error, as it may be secret."""
    if _NOT_IN_A_HEADER.search(given):
        raise InvalidArgumentError(f"{what} has a line end or another control character: it must be one line")
    return given


def bearer_token(given: str | None) -> str | None:
    """A token as a header has it; ``None`` for an empty one. Spaces and line ends around it are left out."""
    return header_value((given or "").strip(), "the token") or None


def path_segment(given: str, what: str) -> str:
    """An id as a segment of a path."""
    if given in ("", ".", ".."):  # would lead to another path (RFC 3986 §5.2.4)
        raise InvalidArgumentError(f"{given!r} is not the id of {what}")
    return quote(in_utf8(given, "the id of " + what), safe="")


def in_utf8(given: str, what: str) -> bytes:
    """A text as it is sent."""
    try:
        return given.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} has half a character and cannot be sent: {given[:100]!a}") from None
