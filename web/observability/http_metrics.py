"""Traffic: HTTP requests as they are answered, by route; and what viewers of live HLS wait for.

Labels are the router's own patterns, so that no client can make a series.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.latency import latency_histogram, remove_series

HLS_KINDS = {
    "/hls/{camera}/index.m3u8": "multivariant",
    "/hls/{camera}/dvr.m3u8": "dvr",
    "/hls/{camera}/{name}": "media",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Traffic:
    """See the module. ``middleware`` goes into the application, outermost but for what makes answers of errors."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By route, method and status class (``2xx``)."""
        self.hls_s = latency_histogram(
            "liveedge_hls_request_seconds",
            "Time to the answer of HLS requests; a blocked one waits for its part on purpose",
            ["camera", "kind"],
        )
        self._hls_series: set[tuple[str, str]] = set()

    @property
    def hls_cameras(self) -> set[str]:
        """Cameras of which live HLS was requested."""
        return {camera_id for camera_id, _ in self._hls_series}

    def forget(self, camera_id: str) -> None:
        """Forget a camera that was removed: cameras come and go by API, and their series must not pile up."""
        for series in [series for series in self._hls_series if series[0] == camera_id]:
            self._hls_series.remove(series)
            remove_series(self.hls_s, *series)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count one request."""
        began_s = time.monotonic()
        status = 499  # the client went away, or its handler was cancelled: nginx's number for it
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "none"
            self.requests[route, request.method if resource is not None else "any", f"{status // 100}xx"] += 1
            if route.startswith("/hls/") and status < 400:
                self._hls(request, route, time.monotonic() - began_s)

    def _hls(self, request: web.Request, route: str, took_s: float) -> None:
        kind = HLS_KINDS.get(route, "playlist")
        if kind == "playlist" and "_HLS_msn" in request.query:
            kind = "blocked"
        # The answer was a success: the camera is one of ours, and their number is bounded.
        series = (request.match_info["camera"], kind)
        self._hls_series.add(series)
        self.hls_s.labels(*series).observe(took_s)
