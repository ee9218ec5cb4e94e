"""Redirects of an RTSP server (RFC 2326 §11.3)."""

import re
from urllib.parse import urlsplit


class RedirectError(Exception):
    """The stream is elsewhere: open ``location``. The caller checks the address and counts."""

    def __init__(self, location: str) -> None:
        super().__init__("the server redirects")
        self.location = location


def redirect_location(uri: str, header: str | None) -> str | None:
    """The address that the Location header of a response to ``uri`` means, which may be a path.

    ``None`` where it is no address of RTSP.
    """
    location = (header or "").strip()
    if re.match(r"/[^/]", location):
        parts = urlsplit(uri)
        return f"{parts.scheme}://{parts.netloc}{location}"
    return location if re.match(r"(?i)rtsps?://[^/]", location) else None
