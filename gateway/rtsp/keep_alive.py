"""KeepAlive: when a session's next keep-alive is due, and of which method (RFC 2326 §10.8). Sans-IO.

Rules:

1. It uses what the server offers: GET_PARAMETER, else OPTIONS. Whatever refuses it, the next one is of the other
   method: many servers count a request that they refuse, too.
2. Credentials that are refused with both are not sent again.
3. 454 (Session Not Found) is in :attr:`KeepAlive.lost`: some servers say so of a session that they go on to serve.
"""

from gateway.rtsp.answers import status_error
from gateway.rtsp.errors import RtspStatusError
from gateway.rtsp.messages import Response

KEEP_ALIVE_SHARE = 0.45
"""The share of the time-out after which a keep-alive is sent: one may be lost."""

KEEP_ALIVE_MIN_S, KEEP_ALIVE_MAX_S = 3.0, 30.0
"""Bounds of the interval, in seconds: servers state time-outs of 0 and of days."""


class KeepAlive:
    """See the module. ``at`` is when the next one is due, in monotonic seconds; infinite where none will be."""

    def __init__(self) -> None:
        self.at = 0.0
        self.lost: RtspStatusError | None = None
        """The server's newest answer, where that was 454."""
        self._method: str | None = None
        self._unauthorized = 0
        """How many in a row were refused for their credentials."""

    def schedule(self, now: float, timeout_s: float) -> None:
        """Set when the next one is due, by the session's time-out."""
        self.at = now + min(KEEP_ALIVE_MAX_S, max(KEEP_ALIVE_MIN_S, timeout_s * KEEP_ALIVE_SHARE))

    def method(self, offers: frozenset[str]) -> str:
        """The method of the one that is due, where the server ``offers`` these, or nothing."""
        if self._method is None:
            self._method = "GET_PARAMETER" if not offers or "GET_PARAMETER" in offers else "OPTIONS"
        return self._method

    def receive(self, method: str, response: Response) -> None:
        """Take the answer to one."""
        if method != self._method:
            return
        self.lost = status_error(method, response) if response.status == 454 else None
        if response.status < 300:
            self._unauthorized = 0
            return
        self._method = "OPTIONS" if method == "GET_PARAMETER" else "GET_PARAMETER"
        self._unauthorized = self._unauthorized + 1 if response.status == 401 else 0
        if self._unauthorized == 2:
            self.at = float("inf")
