"""``/api/access``: what one may do here; ``/api/sign``: an address for what cannot send headers."""

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from gateway.access import Scope
from gateway.clock import to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe
from web.auth import policy
from web.auth.authenticator import AUTHENTICATOR
from web.auth.policy import UrlSigning
from web.auth.requests import grant_of
from web.auth.signing import PARAMETER, canonical

routes = web.RouteTableDef()

NO_STORE = {"Cache-Control": "no-store"}

PATH_MAX_CHARS = 2048


class SignRequest(BaseModel):
    """``path`` is an address of this gateway, query included; ``expires_s`` how long it is to be good, in seconds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(min_length=1, max_length=PATH_MAX_CHARS, pattern=r"^/[^/\\]")
    expires_s: int | None = Field(None, ge=1)


@routes.get("/api/access")
@describe("access", {200: models.Access})
async def access(request: web.Request) -> web.Response:
    """What whoever asks may do: ``cameras`` is ``null`` for all of them."""
    grant = grant_of(request)
    scopes = tuple(Scope) if Scope.ADMIN in grant.scopes else grant.scopes
    answer = models.Access(
        auth=request.app[AUTHENTICATOR].is_enabled,
        name=grant.name,
        scopes=sorted(scopes),
        cameras=None if grant.cameras is None else sorted(grant.cameras),
        expires=_time(grant.expires_at_s),
    )
    return json_answer(answer, headers=NO_STORE)


@routes.post("/api/sign")
@describe("access", {201: models.SignedUrl}, body=SignRequest, errors=(400, 404))
async def sign(request: web.Request) -> web.Response:
    """Sign an address; see :mod:`web.auth.signing`. With auth off, it comes back as it was."""
    asked = request.clone()  # while its body is not read
    address = canonical((wish := await _wish(request)).path)
    camera_id, scope, leads = await _meant(asked, address)
    authenticator = request.app[AUTHENTICATOR]
    if not authenticator.is_enabled:
        return json_answer(models.SignedUrl(url=address), status=201, headers=NO_STORE)
    signed = authenticator.signer.sign(grant_of(request), scope, camera_id, None if leads else address, wish.expires_s)
    url = f"{address}{'&' if '?' in address else '?'}{PARAMETER}={signed.token}"
    answer = models.SignedUrl(url=url, token=signed.token, expires=_time(signed.expires_at_s))
    return json_answer(answer, status=201, headers=NO_STORE)


async def _wish(request: web.Request) -> SignRequest:
    if request.content_type != "application/json":
        raise BadRequestError("send the body as Content-Type: application/json")
    try:
        return SignRequest.model_validate(await request.json())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise BadRequestError(f"{where}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not JSON") from None


async def _meant(request: web.Request, address: str) -> tuple[str, Scope, bool]:
    """Camera and scope of the route that an address leads to, and whether it leads on from there."""
    try:
        url = URL(address)
        match = await request.app.router.resolve(request.clone(method=hdrs.METH_GET, rel_url=url))
    except (ValueError, RuntimeError):
        raise BadRequestError("path is no address of this gateway") from None
    rule = policy.rule_of(hdrs.METH_GET, match) if match.http_exception is None else None
    scope = rule.scope_of(url.query) if rule is not None else None
    if rule is None or scope is None or rule.signing is UrlSigning.NONE:
        raise NotFoundError("there is nothing at this path that can be signed: playlists, pictures, clips, files can")
    return match["camera"], scope, rule.signing is UrlSigning.PLAYLIST


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else to_rfc3339(round(seconds * 90_000))
