"""``/api/webhooks``: the state of the webhooks. They are configured in the settings."""

from aiohttp import web

from web.api.answer import json_answer
from web.api.describe import describe
from web.api.webhook_status import WebhookList, WebhookStatus
from web.webhooks.service import WEBHOOKS

routes = web.RouteTableDef()


@routes.get("/api/webhooks")
@describe("webhooks", {200: WebhookList})
async def list_webhooks(request: web.Request) -> web.Response:
    """Every webhook, with what waits and what has failed."""
    deliveries = request.app[WEBHOOKS].deliveries.values()
    return json_answer(WebhookList(webhooks=[each.status() for each in deliveries]))


@routes.post("/api/webhooks/{webhook}/enable")
@describe("webhooks", {200: WebhookStatus}, errors=(404,))
async def enable_webhook(request: web.Request) -> web.Response:
    """Enable a webhook that has answered 410 Gone. One that is failing is tried again at once."""
    delivery = request.app[WEBHOOKS].delivery(request.match_info["webhook"])
    delivery.enable()
    return json_answer(delivery.status())
