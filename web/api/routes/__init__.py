"""Every route of the HTTP API, the page and the player; one module for each resource."""

from aiohttp import web

from web.api.routes import (
    activity,
    asyncapi,
    auth,
    cameras,
    clock,
    cluster,
    cluster_events,
    discover,
    downloads,
    dvr,
    event_media,
    event_stream,
    events,
    evidence,
    exports,
    hls,
    jpeg,
    metrics,
    openapi,
    page,
    player,
    ptz,
    push,
    segments,
    sign_in,
    status,
    talk,
    tokens,
    viewers,
    walls,
    webhooks,
    whep,
    whip,
)

# The order matters where two patterns match one path: init-….mp4 of dvr before ….mp4 of downloads. The router tries the
# patterns with one prefix in this order: what players request most often is first.
MODULES = (
    page,
    player,
    auth,
    tokens,
    sign_in,
    status,
    metrics,
    cameras,
    cluster,
    cluster_events,
    discover,
    ptz,
    whep,
    whip,
    talk,
    viewers,
    segments,
    activity,
    event_stream,
    events,
    event_media,
    evidence,
    exports,
    webhooks,
    push,
    walls,
    clock,
    hls,
    dvr,
    downloads,
    jpeg,
    asyncapi,
    openapi,
)


def add_routes(app: web.Application) -> None:
    """Add all routes, and generate the OpenAPI document from them."""
    for module in MODULES:
        app.add_routes(module.routes)
    openapi.prepare(app)
