"""JWTs: which claims are accepted, and how an issuer's keys are fetched."""

import asyncio
import base64
import functools
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.access import Scope
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import UnauthorizedError
from tests.support.auth_gateway import ADMIN_TOKEN, JWT_SECRET, auth_gateway, authenticator, bearer
from tests.support.manual_clock import OffsetClock
from web.auth.authenticator import Authenticator
from web.auth.jwks import REFRESH_S, RETRY_S, STALE_S
from web.auth.jwt import LEEWAY_S
from web.auth.policy import Family
from web.auth.target import Target

pytestmark = pytest.mark.usefixtures("empty_place")


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "ada", "exp": time.time() + 600, "scope": "openid view", "cameras": ["door"], **changes}


async def test_a_jwt_grants_its_scopes_over_its_cameras() -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET)
    grant = (await auth.authenticate(jwt.encode(claims(), JWT_SECRET, "HS256"), "192.0.2.7")).grant
    assert grant.name == "jwt 'ada'"
    assert grant.may(Scope.VIEW, "door")
    assert not grant.may(Scope.VIEW, "yard")
    assert not grant.may(Scope.ARCHIVE)
    listed = claims(scopes=["archive", "unknown", 5, {}])
    del listed["cameras"]
    grant = (await auth.authenticate(jwt.encode(listed, JWT_SECRET, "HS256"), "192.0.2.7")).grant
    assert grant.scopes == {Scope.ARCHIVE}
    assert grant.may_everywhere(Scope.ARCHIVE)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "tomorrow"},
        {"exp": []},
        {"exp": None},
        {"cameras": "door"},
        {"cameras": [1]},
        {"nbf": "now"},
        {"nbf": []},
        {"iat": "now"},
        {"aud": "another"},
        {"iss": "another"},
    ],
)
async def test_a_jwt_with_an_invalid_claim_is_refused(changes: dict[str, Any]) -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET, auth_jwt_audience="liveedge", auth_jwt_issuer="issuer")
    good = claims(aud="liveedge", iss="issuer")
    assert (await auth.jwt.verify(jwt.encode(good, JWT_SECRET, "HS256"))) is not None
    assert await auth.jwt.verify(jwt.encode({**good, **changes}, JWT_SECRET, "HS256")) is None


@pytest.mark.parametrize("missing", ["exp", "aud", "iss"])
async def test_a_jwt_without_a_required_claim_is_refused(missing: str) -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET, auth_jwt_audience="liveedge", auth_jwt_issuer="issuer")
    short = claims(aud="liveedge", iss="issuer")
    del short[missing]
    assert await auth.jwt.verify(jwt.encode(short, JWT_SECRET, "HS256")) is None


@pytest.mark.parametrize(
    ("claim", "from_now_s", "error"),
    [
        ("exp", 1, None),
        ("exp", 1 - LEEWAY_S, None),
        ("exp", -1 - LEEWAY_S, "expired"),
        ("exp", 1e300, None),
        ("exp", -1e300, "expired"),
        ("nbf", -1, None),
        ("nbf", LEEWAY_S - 1, None),
        ("nbf", LEEWAY_S + 60, "not valid yet"),
        ("iat", -600, None),
        ("iat", LEEWAY_S + 60, "not valid yet"),
    ],
)
async def test_a_jwt_is_valid_from_nbf_and_iat_to_exp(claim: str, from_now_s: float, error: str | None) -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET)
    token = jwt.encode(claims(**{claim: time.time() + from_now_s}), JWT_SECRET, "HS256")
    if error is None:
        grant = await auth.jwt.verify(token)
        assert grant is not None
        assert grant.expires_at_s is not None
        assert to_rfc3339(round(grant.expires_at_s * CLOCK_RATE))
    else:
        with pytest.raises(UnauthorizedError, match=error):
            await auth.jwt.verify(token)


async def test_a_jwt_without_an_algorithm_is_refused(tmp_path: Path) -> None:
    _, body, signature = jwt.encode(claims(), JWT_SECRET, "HS256").split(".")
    async with auth_gateway(tmp_path, auth_jwt_secret=JWT_SECRET) as client:
        headers: list[dict[str, Any]] = [{"typ": "JWT"}, {"alg": None}, {"alg": []}, {"alg": "none"}, {"alg": ""}]
        for header in headers:
            head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
            async with client.get("/api/cameras", headers=bearer(f"{head}.{body}.{signature}")) as answer:
                assert answer.status == 401, header


async def test_the_algorithm_cannot_be_chosen_by_the_token() -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET)
    for algorithm in ("HS384", "HS512"):
        assert await auth.jwt.verify(jwt.encode(claims(), JWT_SECRET + JWT_SECRET, algorithm)) is None
    assert await auth.jwt.verify(jwt.encode(claims(), "", "none")) is None
    assert await auth.jwt.verify(jwt.encode(claims(), "b" * 40, "HS256")) is None
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert await auth.jwt.verify(jwt.encode(claims(), key, "RS256")) is None


@functools.cache
def any_authenticator() -> Authenticator:
    return authenticator(auth_jwt_secret=JWT_SECRET, auth_token=ADMIN_TOKEN)


@given(st.text(max_size=200) | st.from_regex(r"\A[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\Z"))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_text_is_no_token_and_raises_no_exception(text: str) -> None:
    auth = any_authenticator()
    assert asyncio.run(auth.jwt.verify(text)) is None
    assert auth.tokens.find(text) is None
    assert auth.signer.verify(text, Target(Family.SNAPSHOT, Scope.VIEW, "door")) is None


class Issuer:
    """An identity provider's JWKS, over HTTP."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.answer: bytes | None = None
        self.fetches = 0
        self.is_down = False

    async def jwks(self, _: web.Request) -> web.Response:
        self.fetches += 1
        if self.is_down:
            return web.Response(status=500)
        return web.Response(body=self.answer or json.dumps({"keys": self.keys}).encode())

    def add(self, kid: str, kind: str = "RSA") -> Any:
        """A new key; returns its private half."""
        key: Any
        if kind == "RSA":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
        self.keys.append({**public, "kid": kid, "use": "sig"})
        return key


@pytest.fixture
async def issuer() -> AsyncIterator[tuple[Issuer, dict[str, Any]]]:
    """An issuer, and the settings that name it."""
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/keys", issuer.jwks)
    async with TestServer(app) as server:
        url = str(server.make_url("/keys"))
        yield issuer, {"auth_jwks_url": url, "auth_jwt_audience": "liveedge", "auth_jwt_secret": JWT_SECRET}


def signed(key: Any, algorithm: str, kid: str | None, **changes: Any) -> str:
    headers = {"kid": kid} if kid is not None else None
    return jwt.encode(claims(aud="liveedge", **changes), key, algorithm, headers=headers)


def forged(public_key: bytes, kid: str) -> str:
    """A token with HS256 and a public key as its secret. PyJWT refuses to make one."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": kid}, claims(aud="liveedge"))
    ]
    mac = hmac.digest(public_key, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


async def test_keys_of_an_issuer(issuer: tuple[Issuer, dict[str, Any]]) -> None:
    keys, values = issuer
    old, curve = keys.add("old"), keys.add("curve", "EC")
    keys.keys.append({"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"})
    auth = authenticator(**values)
    await asyncio.gather(*(auth.authenticate(signed(old, "RS256", "old"), "192.0.2.7") for _ in range(5)))
    assert keys.fetches == 1
    assert await auth.jwt.verify(signed(curve, "ES256", "curve")) is not None
    assert await auth.jwt.verify(signed(old, "RS256", None)) is not None, "the only RSA key needs no id"
    assert await auth.jwt.verify(signed(curve, "ES256", "old")) is None
    assert await auth.jwt.verify(signed(keys.add("unpublished"), "RS256", "old")) is None
    assert await auth.jwt.verify(signed(JWT_SECRET, "HS256", None)) is not None, "both kinds at the same time"
    public = old.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert await auth.jwt.verify(forged(public, "old")) is None, "RFC 8725 §2.1"
    await auth.close()


async def test_unknown_key_ids_cause_few_requests(
    issuer: tuple[Issuer, dict[str, Any]],
) -> None:
    keys, values = issuer
    clock = OffsetClock()
    auth = authenticator(clock, **values)
    old = keys.add("old")
    assert await auth.jwt.verify(signed(old, "RS256", "old")) is not None
    new = keys.add("new")
    for number in range(20):
        assert await auth.jwt.verify(signed(new, "RS256", f"made-up-{number}")) is None
    assert keys.fetches == 1
    clock.ahead_s += RETRY_S + 1
    assert await auth.jwt.verify(signed(new, "RS256", "new")) is not None
    assert keys.fetches == 2
    del keys.keys[0]
    clock.ahead_s += REFRESH_S + 1
    assert await auth.jwt.verify(signed(old, "RS256", "old", exp=time.time() + 9999)) is None, "the issuer revoked it"
    assert keys.fetches == 3
    await auth.close()


async def test_known_keys_are_used_while_the_issuer_is_down(
    tmp_path: Path, issuer: tuple[Issuer, dict[str, Any]]
) -> None:
    keys, values = issuer
    clock = OffsetClock()
    key = keys.add("key")
    token = signed(key, "RS256", "key", exp=time.time() + 10 * STALE_S, cameras=None)
    keys.is_down = True
    async with auth_gateway(tmp_path, clock, **values) as client:

        async def status() -> int:
            async with client.get("/api/cameras", headers=bearer(token)) as answer:
                return answer.status

        assert await status() == 503, "it cannot be verified"
        keys.is_down = False
        clock.ahead_s += RETRY_S + 1
        assert await status() == 200
        keys.is_down = True
        clock.ahead_s += REFRESH_S + 1
        assert await status() == 200, "known keys are used for a while"
        clock.ahead_s += STALE_S
        assert await status() == 503
        async with client.get("/api/cameras", headers=bearer(ADMIN_TOKEN)) as answer:
            assert answer.status == 200, "static tokens do not depend on the issuer"


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"no json", b'{"keys": [1]}', b'{"keys": []}', b" " * 300_000])
async def test_an_answer_without_keys_is_refused(
    issuer: tuple[Issuer, dict[str, Any]], answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    keys, values = issuer
    key = keys.add("key")
    keys.answer = answer
    auth = authenticator(**values)
    with pytest.raises(Exception, match="keys cannot be fetched"):
        await auth.jwt.verify(signed(key, "RS256", "key"))
    assert "AUTH_JWKS_URL" in caplog.text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_HEADERS = st.one_of(
    _JSON,
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "zip"]), _JSON),
    st.dictionaries(st.sampled_from(["typ", "kid", "crit", "b64", "jku"]), _JSON).map(
        lambda made: made | {"alg": "HS256"}
    ),
)
_CLAIMS = st.one_of(
    _JSON,
    st.dictionaries(
        st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "scope", "scopes", "cameras"]), _JSON
    ).map(lambda made: {"exp": time.time() + 60, **made}),
)


def with_right_signature(header: object, body: object) -> str:
    """A token with a right signature, whatever it says."""
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, body)]
    signature = hmac.digest(JWT_SECRET.encode(), b".".join(parts), "sha256")
    return b".".join((*parts, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


@given(_HEADERS, _CLAIMS)
@example({"alg": "HS256"}, {"exp": 10**400})
@example({"typ": "JWT"}, {"exp": 2**40})
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_token_of_the_issuer_causes_another_error_than_401(header: object, body: object) -> None:
    try:
        grant = asyncio.run(any_authenticator().jwt.verify(with_right_signature(header, body)))
    except UnauthorizedError:
        return
    if grant is not None:
        assert grant.expires_at_s is not None
        assert to_rfc3339(round(grant.expires_at_s * CLOCK_RATE))


async def test_an_owner_is_a_subject_of_an_issuer() -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET)

    async def owner(**more: Any) -> str:
        body = {name: value for name, value in claims(**more).items() if value is not None}
        grant = await auth.jwt.verify(jwt.encode(body, JWT_SECRET, "HS256"))
        assert grant is not None
        return grant.owner

    assert await owner(sub="alice") == await owner(sub="alice", jti="renewed")
    long = "s" * 64
    different = [
        await owner(sub="alice"),
        await owner(sub="bob"),
        await owner(sub="alice", iss="https://other.example"),
        await owner(sub=long + "1"),
        await owner(sub=long + "2"),
        await owner(sub=None, jti="1"),
        await owner(sub=None, jti="2"),
    ]
    assert len(set(different)) == len(different)


async def test_a_token_that_is_not_valid_yet_names_the_clocks() -> None:
    auth = authenticator(auth_jwt_secret=JWT_SECRET)
    for claim in ("nbf", "iat"):
        with pytest.raises(UnauthorizedError, match=r"not valid yet: .* compare the clocks"):
            await auth.jwt.verify(jwt.encode(claims(**{claim: time.time() + 600}), JWT_SECRET, "HS256"))
