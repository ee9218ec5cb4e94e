"""Redirects of an RTSP server (RFC 2326 §11.3)."""

import re
from urllib.parse import urljoin


class RedirectError(Exception):
    """The stream is elsewhere: open ``location``. The caller checks the address and counts."""

    def __init__(self, location: str) -> None:
        super().__init__("the server redirects")
        self.location = location


def redirect_location(uri: str, header: str | None) -> str | None:
    """The address that the Location header of a response to ``uri`` means, which may be relative.

    ``None`` where it is no address of RTSP.
    """
    location = (header or "").strip()
    if re.match(r"(?i)rtsps?://[^/]", location):
        return location
    if not location or re.match(r"//|[A-Za-z][A-Za-z0-9+.-]*:", location):
        return None
    scheme, _, rest = uri.partition(":")
    # Of rtsps, Python knows no relative addresses.
    return f"{scheme}:{urljoin(f'http:{rest}', location).partition(':')[2]}"
