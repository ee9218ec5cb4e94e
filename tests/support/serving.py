"""The whole gateway on a free port of this process, with the HTTP server that ``liveedge serve`` has."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from web.app import create_app
from web.gateway import GATEWAY, Gateway
from web.http_runner import http_runner
from web.middleware.listener import Listener
from web.observability.metrics import METRICS
from web.settings import Settings


@dataclass(frozen=True)
class Serving:
    """A gateway that serves at 127.0.0.1."""

    app: web.Application
    listener: Listener

    @property
    def gateway(self) -> Gateway:
        return self.app[GATEWAY]

    @property
    def port(self) -> int:
        return self.listener.address[1]


@asynccontextmanager
async def serving(settings: Settings, **options: Any) -> AsyncIterator[Serving]:
    """Serve with ``settings``, whose port is 0. ``options`` are those of the listener."""
    app = create_app(settings)
    refused = app[METRICS].http
    runner = http_runner(app, refused.requests_refused, shutdown_s=0.1)
    await runner.setup()
    listener = Listener(runner, settings, refused.connections_refused, **options)
    try:
        await listener.start()
        yield Serving(app, listener)
    finally:
        listener.close()
        await runner.cleanup()


class GatewayServer(TestServer):
    """aiohttp's test server, with the options of ``liveedge serve``."""

    async def _make_runner(self, **_: Any) -> web.AppRunner:
        metrics = self.app.get(METRICS)
        return http_runner(self.app, metrics.http.requests_refused if metrics else Counter(), shutdown_s=0.1)
