"""``/api/tokens`` and ``/api/links``: bearer tokens and signed links: list, make and revoke."""

from aiohttp import web

from gateway.clock import to_rfc3339
from gateway.errors import BadRequestError, ConflictError
from gateway.times import parse_time
from web.api.access_models import CreatedToken, Link, LinkList, NewToken, Token, TokenList
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.parameters import read_model
from web.auth.access_table import IssuedToken
from web.auth.authenticator import AUTHENTICATOR, Authenticator
from web.auth.grant import Grant
from web.auth.requests import grant_of
from web.auth.roles import role_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

NO_STORE = {"Cache-Control": "no-store"}


@routes.get("/api/tokens")
@describe("access", {200: TokenList})
async def list_tokens(request: web.Request) -> web.Response:
    """List the bearer tokens, without their texts."""
    authenticator = request.app[AUTHENTICATOR]
    await authenticator.issued.refresh()
    known = authenticator.tokens
    tokens = [_of_settings(grant, known.used_90k.get(grant.name)) for grant in known.static.grants]
    tokens.extend(Token.model_validate(_fields(token)) for token in authenticator.issued.tokens.tokens)
    return json_answer(TokenList(tokens=tokens), headers=NO_STORE)


@routes.post("/api/tokens")
@describe("access", {201: CreatedToken}, body=NewToken, errors=(400, 409, 503))
async def create_token(request: web.Request) -> web.Response:
    """Make a bearer token. Its text is in this answer alone."""
    authenticator = request.app[AUTHENTICATOR]
    _require_issuing(authenticator)
    body = await read_model(request, NewToken)
    now_90k = request.app[GATEWAY].clock.wall_90k()
    expires_90k = None if body.expires is None else parse_time(body.expires, "expires")
    if expires_90k is not None and expires_90k <= now_90k:
        raise BadRequestError("expires is in the past: choose a later time, or leave it out").because("expires_in_past")
    role = role_of(body.granted)
    cameras = None if body.cameras is None else frozenset(body.cameras)
    if any(grant.name == f"token {body.name}" for grant in authenticator.tokens.static.grants):
        raise ConflictError(f"the settings have a token with the name {body.name!r} already: choose another").because(
            "token_name_taken", name=body.name
        )
    token, text = await authenticator.issued.tokens.create(
        body.name, role, body.granted, cameras, expires_90k, grant_of(request).name
    )
    return json_answer(CreatedToken.model_validate({**_fields(token), "token": text}), status=201, headers=NO_STORE)


@routes.delete("/api/tokens/{id}")
@describe("access", {204: None}, errors=(404, 503))
async def revoke_token(request: web.Request) -> web.Response:
    """Revoke a bearer token, and what it opened."""
    issued = request.app[AUTHENTICATOR].issued
    await issued.refresh()
    await issued.tokens.revoke(request.match_info["id"])
    return web.Response(status=204)


@routes.get("/api/links")
@describe("access", {200: LinkList})
async def list_links(request: web.Request) -> web.Response:
    """List the signed links that have not expired."""
    await request.app[AUTHENTICATOR].issued.refresh()
    links = [
        Link(
            id=link.id,
            name=link.name,
            path=link.url,
            created=to_rfc3339(link.created_90k),
            created_by=link.created_by,
            expires=to_rfc3339(link.expires_90k),
            revoked=_time(link.revoked_90k),
        )
        for link in reversed(request.app[AUTHENTICATOR].issued.links.links)
    ]
    return json_answer(LinkList(links=links), headers=NO_STORE)


@routes.delete("/api/links/{id}")
@describe("access", {204: None}, errors=(404, 409, 503))
async def revoke_link(request: web.Request) -> web.Response:
    """Revoke a signed link, and what it opened."""
    issued = request.app[AUTHENTICATOR].issued
    await issued.refresh()
    await issued.links.revoke(request.match_info["id"])
    return web.Response(status=204)


def _require_issuing(authenticator: Authenticator) -> None:
    """Raise ``ConflictError`` where a token would open nothing that is not open."""
    if not authenticator.is_enabled:
        raise ConflictError(
            "authentication is off, so that everybody may do everything without a token: set AUTH_TOKEN first"
        ).because("auth_off")


def _fields(token: IssuedToken) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "source": "api",
        "role": token.role,
        "scopes": sorted(token.scopes),
        "cameras": None if token.cameras is None else sorted(token.cameras),
        "created": to_rfc3339(token.created_90k),
        "created_by": token.created_by,
        "expires": _time(token.expires_90k),
        "last_used": _time(token.last_used_90k),
    }


def _of_settings(grant: Grant, used_90k: int | None) -> Token:
    role = role_of(grant.scopes)
    return Token(
        id=None,
        name=grant.name.removeprefix("token "),
        source="settings",
        role=None if role is None else role.value,
        scopes=sorted(grant.scopes),
        cameras=None if grant.cameras is None else sorted(grant.cameras),
        created=None,
        created_by=None,
        expires=None,
        last_used=_time(used_90k),
    )


def _time(time_90k: int | None) -> str | None:
    return None if time_90k is None else to_rfc3339(time_90k)
