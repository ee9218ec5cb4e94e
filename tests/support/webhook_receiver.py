"""A receiver of webhooks: a real HTTP server that verifies each request as a receiver of other people would."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes, all of a key..").decode()

OTHER_SECRET = "whsec_" + base64.b64encode(b"another key: of the day after it").decode()


@dataclass(frozen=True)
class Received:
    """A request whose signature is right."""

    id: str
    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes
    status: int

    @property
    def type(self) -> str:
        return str(self.body["type"])

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["data"]
        return found


@dataclass
class Answer:
    """What the receiver answers."""

    status: int = 204
    headers: Mapping[str, str] | None = None
    wait: asyncio.Event | None = None


class WebhookReceiver:
    """``answer`` is called with the path and the parsed body of each request."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answer: Callable[[str, dict[str, Any]], Answer] = lambda _path, _body: Answer()
        self.secret = SECRET
        self.url = ""

    def taken(self, path: str = "/") -> list[Received]:
        """The requests that were answered with success."""
        return [each for each in self.requests if each.path == path and each.status == 204]

    def of(self, kind: str, path: str = "/") -> list[Received]:
        """Those of one type."""
        return [each for each in self.taken(path) if each.type == kind]

    async def _handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:
            Webhook(self.secret).verify(raw, dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        body = json.loads(raw)
        answer = self.answer(request.path, body)
        if answer.wait is not None:
            await answer.wait.wait()
        self.requests.append(
            Received(request.headers["webhook-id"], request.path, body, dict(request.headers), raw, answer.status)
        )
        return web.Response(status=answer.status, headers=answer.headers)


@contextlib.asynccontextmanager
async def webhook_receiver(port: int = 0) -> AsyncIterator[WebhookReceiver]:
    """A receiver on a free port, or on the one that an earlier one had."""
    receiver = WebhookReceiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver._handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield receiver
    finally:
        await runner.cleanup()
