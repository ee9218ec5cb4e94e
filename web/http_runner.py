"""``http_runner``: aiohttp's server for an application of the gateway, with the options that its handlers rely on.

Rules:

1. When a client leaves, its handler is cancelled at once, wherever it waits. So a handler releases what it holds in
   ``finally`` or ``with``, and work in a thread goes on until it can be released too.
2. Bodies are not decompressed (:mod:`web.middleware.content_coding`).
3. A request that is not HTTP is counted (:mod:`web.middleware.malformed`); aiohttp would log a traceback for each.
"""

import logging
from collections import Counter

from aiohttp import web

from web.middleware.connection import KEEP_ALIVE_S
from web.middleware.malformed import MalformedRequests

SHUTDOWN_S = 1.0
"""How long open requests may continue after the order to stop. Blocked playlists and MJPEG would not end."""


def http_runner(
    app: web.Application, requests_refused: Counter[str], *, shutdown_s: float = SHUTDOWN_S
) -> web.AppRunner:
    """A runner to set up, to listen with, and to clean up. ``requests_refused`` counts requests by reason (rule 3)."""
    log = logging.getLogger("liveedge.http")
    malformed = MalformedRequests(requests_refused)
    log.addFilter(malformed)

    async def remove_filter(_: web.Application) -> None:
        log.removeFilter(malformed)

    app.on_cleanup.append(remove_filter)
    return web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=shutdown_s,
        keepalive_timeout=KEEP_ALIVE_S,
        auto_decompress=False,
        logger=log,
    )
