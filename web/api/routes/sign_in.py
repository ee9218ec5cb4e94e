"""``/auth/…``: sign-in by OpenID Connect, for the page. ``/api/sign-in``: how people can sign in."""

import logging

from aiohttp import hdrs, web

from gateway.errors import NotFoundError
from web.api import access_models
from web.api.answer import json_answer
from web.api.describe import Parameter, describe
from web.auth.authenticator import AUTHENTICATOR
from web.auth.oidc import ATTEMPT_S, Oidc
from web.auth.oidc_claims import SignInError
from web.auth.session_cookie import attempt_cookie, remove_cookie, session_cookie, set_cookie

log = logging.getLogger(__name__)

routes = web.RouteTableDef()

NO_STORE = {"Cache-Control": "no-store"}

PATH = "/auth"


@routes.get("/api/sign-in")
@describe("access", {200: access_models.SignIn})
async def sign_in(request: web.Request) -> web.Response:
    """Tell how people can sign in."""
    oidc = request.app[AUTHENTICATOR].oidc
    return json_answer(access_models.SignIn(provider=None if oidc is None else oidc.name), headers=NO_STORE)


@routes.get("/auth/login")
@describe(
    "access", {303: None}, query={"place": Parameter("The view to come back to, as #/camera/door")}, errors=(404,)
)
async def login(request: web.Request) -> web.Response:
    """Go to the provider, to sign in there."""
    oidc = _oidc(request)
    try:
        attempt = await oidc.begin(f"{_origin(request)}{PATH}/callback", request.query.get("place", ""))
    except SignInError as error:
        return _failed(error)
    answer = web.Response(status=303, headers={hdrs.LOCATION: attempt.url, **NO_STORE})
    set_cookie(answer, request, attempt_cookie(request), attempt.cookie, PATH, ATTEMPT_S, "Lax")
    return answer


@routes.get("/auth/callback")
@describe(
    "access",
    {303: None},
    query={name: Parameter(f"`{name}` of the provider") for name in ("code", "state", "iss", "error")},
    errors=(404,),
)
async def callback(request: web.Request) -> web.Response:
    """End a sign-in, where the provider sends the browser back to."""
    oidc = _oidc(request)
    try:
        signed_in = await oidc.finish(request.query, request.cookies.get(attempt_cookie(request)))
    except SignInError as error:
        answer = _failed(error)
    else:
        # Relative, so that it is right below the path of a proxy, too.
        answer = web.Response(status=303, headers={hdrs.LOCATION: f"../{signed_in.place}", **NO_STORE})
        lifetime_s = oidc.sessions.lifetime_s
        set_cookie(answer, request, session_cookie(request), signed_in.secret, "/", lifetime_s, "Strict")
    remove_cookie(answer, request, attempt_cookie(request), PATH)
    return answer


@routes.post("/auth/logout")
@describe("access", {200: access_models.SignedOut}, errors=(404,))
async def logout(request: web.Request) -> web.Response:
    """Sign out. What was opened ends."""
    authenticator, oidc = request.app[AUTHENTICATOR], _oidc(request)
    url = await oidc.sign_out(request.cookies.get(session_cookie(request)), f"{_origin(request)}/")
    authenticator.sessions.tokens_changed()
    answer = json_answer(access_models.SignedOut(url=url), headers=NO_STORE)
    remove_cookie(answer, request, session_cookie(request), "/")
    return answer


def _oidc(request: web.Request) -> Oidc:
    oidc = request.app[AUTHENTICATOR].oidc
    if oidc is None:
        raise NotFoundError("nobody can sign in here: OIDC_ISSUER is not set")
    return oidc


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _failed(error: SignInError) -> web.Response:
    """Back to the page, which shows the reason."""
    log.warning("sign-in failed: %s", error)
    return web.Response(status=303, headers={hdrs.LOCATION: f"../?sign-in={error.reason}", **NO_STORE})
