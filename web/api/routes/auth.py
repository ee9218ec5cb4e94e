"""``/api/access``: what the request's credentials allow. ``/api/sign``: URLs for clients that cannot send headers."""

from dataclasses import replace

from aiohttp import hdrs, web
from multidict import MultiMapping
from yarl import URL

from gateway.access import Scope
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.api.routes.events import visible_event
from web.api.routes.exports import visible_export
from web.auth import policy
from web.auth.access_table import IssuedLink
from web.auth.authenticator import AUTHENTICATOR
from web.auth.policy import OF_EVENT, Family, Rule
from web.auth.requests import grant_of, is_signed_in
from web.auth.target import PARAMETER, Target, pinned, target_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

NO_STORE = {"Cache-Control": "no-store"}


@routes.get("/api/access")
@describe("access", {200: models.Access})
async def access(request: web.Request) -> web.Response:
    """Show what the request's credentials allow."""
    grant = grant_of(request)
    scopes = tuple(Scope) if Scope.ADMIN in grant.scopes else grant.scopes
    answer = models.Access(
        auth=request.app[AUTHENTICATOR].is_enabled,
        name=grant.name,
        scopes=sorted(scopes),
        cameras=None if grant.cameras is None else sorted(grant.cameras),
        expires=_time(grant.expires_at_s),
        signed_in=is_signed_in(request),
    )
    return json_answer(answer, headers=NO_STORE)


@routes.post("/api/sign")
@describe("access", {201: models.SignedUrl}, body=models.SignRequest, errors=(400, 404, 503))
async def sign(request: web.Request) -> web.Response:
    """Sign a URL of this gateway, for a client that cannot send headers.

    A signed playlist also opens everything that it refers to. ``now`` as the start or end of a recording becomes the
    time of this request. If authentication is off, the URL comes back unsigned.
    """
    unread = request.clone()  # a request whose body was read cannot be cloned
    body = await read_model(request, models.SignRequest)
    url, target = await _target(unread, body.path, request.app[GATEWAY].clock.wall_90k())
    if target.family in OF_EVENT:
        target = replace(target, camera_id=(await visible_event(request, target.name)).camera_id)
    if target.family is Family.EXPORT:
        target = replace(target, camera_id=",".join(visible_export(request, target.name).request.cameras))
    authenticator = request.app[AUTHENTICATOR]
    if not authenticator.is_enabled:
        return json_answer(models.SignedUrl(url=url), status=201, headers=NO_STORE)
    grant = grant_of(request)
    signed = authenticator.signer.sign(grant, target, body.expires_s)
    await authenticator.issued.links.add(
        IssuedLink(
            id=signed.id,
            name=body.name,
            url=url,
            created_90k=request.app[GATEWAY].clock.wall_90k(),
            created_by=grant.name,
            expires_90k=signed.expires_at_s * CLOCK_RATE,
        )
    )
    answer = models.SignedUrl(
        url=f"{url}{'&' if '?' in url else '?'}{PARAMETER}={signed.token}",
        token=signed.token,
        expires=_time(signed.expires_at_s),
        id=signed.id,
    )
    return json_answer(answer, status=201, headers=NO_STORE)


async def _target(request: web.Request, text: str, now_90k: int) -> tuple[str, Target]:
    """The URL to sign, and what it shows."""
    rule, _, _ = await _resolve(request, text)
    if rule is None or rule.family is None:
        raise NotFoundError("this path cannot be signed: only playlists, pictures, clips, files and exports can")
    url = pinned(rule, text, now_90k)
    _, match, query = await _resolve(request, url)
    return url, target_of(rule, match, query, now_90k)


async def _resolve(request: web.Request, text: str) -> tuple[Rule | None, web.UrlMappingMatchInfo, MultiMapping[str]]:
    """The rule of the route that a URL leads to, its match and its query."""
    try:
        url = URL(text)
        match = await request.app.router.resolve(request.clone(method=hdrs.METH_GET, rel_url=url))
    except (ValueError, RuntimeError):
        raise BadRequestError("path is not a URL of this gateway") from None
    rule = policy.rule_of(hdrs.METH_GET, match) if match.http_exception is None else None
    return rule, match, url.query


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else to_rfc3339(round(seconds * CLOCK_RATE))
