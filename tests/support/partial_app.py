"""An application with some of the gateway's routes, for tests that need no authentication and no other route."""

from collections import Counter
from collections.abc import Awaitable, Callable
from types import ModuleType

from aiohttp import web

from gateway.clock import SYSTEM_CLOCK
from web.api.shared_answers import SHARED_ANSWERS, SharedAnswers
from web.auth.authenticator import Authenticator
from web.auth.viewer_ownership import VIEWER_OWNERSHIP, ViewerOwnership
from web.gateway import GATEWAY, Gateway
from web.middleware.admission import Admission
from web.middleware.errors import error_answer
from web.middleware.request_limits import UNSAFE_TIMEOUT_S
from web.settings import Settings


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors as the gateway answers them, without all else that :class:`~web.middleware.admission.Admission` does."""
    try:
        return await handler(request)
    except Exception as error:
        answer = error_answer(request, error)
        if answer is None:
            raise
        return answer


def admission_of(
    settings: Settings, authenticator: Authenticator | None = None, *, unsafe_timeout_s: float = UNSAFE_TIMEOUT_S
) -> Admission:
    """Admission to an application without metrics."""
    return Admission(
        settings,
        authenticator or Authenticator(settings, SYSTEM_CLOCK),
        Counter(),
        lambda *_: None,
        unsafe_timeout_s=unsafe_timeout_s,
    )


def app_with_routes(gateway: Gateway, *modules: ModuleType, admission: Admission | None = None) -> web.Application:
    """The routes of these modules over ``gateway``, which the caller starts and closes as far as it needs it."""
    app = web.Application(middlewares=[errors_as_json if admission is None else admission.middleware])
    if admission is not None:
        app.on_response_prepare.append(admission.cors.on_prepare)
    app[GATEWAY] = gateway
    app[SHARED_ANSWERS] = SharedAnswers()
    app[VIEWER_OWNERSHIP] = ViewerOwnership()
    for module in modules:
        app.add_routes(module.routes)
    return app
