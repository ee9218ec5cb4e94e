"""An application with some of the gateway's routes, for tests that need no authentication and no other route."""

from types import ModuleType

from aiohttp import web

from web.api.shared_answers import SHARED_ANSWERS, SharedAnswers
from web.auth.viewer_ownership import VIEWER_OWNERSHIP, ViewerOwnership
from web.gateway import GATEWAY, Gateway
from web.middleware.errors import errors_as_json


def app_with_routes(gateway: Gateway, *modules: ModuleType) -> web.Application:
    """The routes of these modules over ``gateway``, which the caller starts and closes as far as it needs it."""
    app = web.Application(middlewares=[errors_as_json])
    app[GATEWAY] = gateway
    app[SHARED_ANSWERS] = SharedAnswers()
    app[VIEWER_OWNERSHIP] = ViewerOwnership()
    for module in modules:
        app.add_routes(module.routes)
    return app
