"""``/api/push``: browsers that are notified (Web Push)."""

import contextlib
from typing import get_args

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.errors import UnavailableError
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.api.push_models import (
    Kind,
    NewPushSubscription,
    PushInfo,
    PushSubscription,
    PushSubscriptionList,
    PushTest,
)
from web.auth.requests import grant_of
from web.push.service import PUSH, Push
from web.webhooks.post import Verdict

routes = web.RouteTableDef()

ORIGIN_MAX = 300


@routes.get("/api/push")
@describe("notifications", {200: PushInfo}, errors=(503,))
async def push_info(request: web.Request) -> web.Response:
    """What a browser needs to subscribe to notifications."""
    key = await request.app[PUSH].public_key()
    return json_answer(PushInfo(public_key=key, kinds=list(get_args(Kind))))


@routes.get("/api/push/subscriptions")
@describe("notifications", {200: PushSubscriptionList})
async def list_push_subscriptions(request: web.Request) -> web.Response:
    """List the browsers that are notified: those that subscribed with the same credential; for an admin all."""
    push = await _newest(request)
    found = [push.status(each) for each in push.of(grant_of(request))]
    return json_answer(PushSubscriptionList(subscriptions=found))


@routes.post("/api/push/subscriptions")
@describe(
    "notifications",
    {200: PushSubscription, 201: PushSubscription},
    body=NewPushSubscription,
    errors=(400, 409, 503),
)
async def subscribe(request: web.Request) -> web.Response:
    """Notify a browser from now on, or change of what. One endpoint is one subscription."""
    push = request.app[PUSH]
    wanted = await read_model(request, NewPushSubscription)
    grant = grant_of(request)
    for camera_id in wanted.cameras or ():
        grant.require(Scope.VIEW, camera_id)
    origin = request.headers.get(hdrs.ORIGIN, "")
    site = origin if origin.startswith("https://") and len(origin) <= ORIGIN_MAX else None
    subscription_id, is_new = await push.subscribe(grant, wanted, site)
    status = push.status(push.find(grant, subscription_id))
    return json_answer(status, status=201 if is_new else 200)


@routes.delete("/api/push/subscriptions/{subscription}")
@describe("notifications", {204: None}, errors=(404, 503))
async def unsubscribe(request: web.Request) -> web.Response:
    """Notify a browser no more."""
    push = await _newest(request)
    await push.remove(push.find(grant_of(request), request.match_info["subscription"]).id)
    return web.Response(status=204)


@routes.post("/api/push/subscriptions/{subscription}/test")
@describe("notifications", {200: PushTest}, errors=(404, 503))
async def test_push(request: web.Request) -> web.Response:
    """Send a test to a browser, and say how its push service answered."""
    push = await _newest(request)
    outcome = await push.send_test(push.find(grant_of(request), request.match_info["subscription"]))
    return json_answer(PushTest(delivered=outcome.verdict is Verdict.DELIVERED, message=outcome.why))


async def _newest(request: web.Request) -> Push:
    """With what other nodes of a cluster have just changed, if that can be read."""
    push = request.app[PUSH]
    with contextlib.suppress(UnavailableError):
        await push.refresh()
    return push
