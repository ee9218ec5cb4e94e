"""``/asyncapi.json``: every Socket.IO event, for machines."""

from functools import cache
from importlib.metadata import version

from aiohttp import web

from signaling.asyncapi import asyncapi_document
from web.api.describe import describe

routes = web.RouteTableDef()


@cache
def _text() -> str:
    return web.json_response(asyncapi_document(version("liveedge"))).text or ""


@routes.get("/asyncapi.json")
@describe("machines", {200: "application/json"})
async def asyncapi(_: web.Request) -> web.Response:
    """The AsyncAPI 3 document."""
    return web.Response(text=_text(), content_type="application/json")
