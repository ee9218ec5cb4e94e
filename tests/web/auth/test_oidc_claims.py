"""ID tokens: what is refused, and what their roles give."""

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.access import Scope
from gateway.errors import SettingsError
from tests.support.manual_clock import OffsetClock
from web.auth.grant import Grant
from web.auth.jwt import LEEWAY_S
from web.auth.oidc_claims import SignInError, grant_of_claims, verified_claims
from web.auth.oidc_provider import OidcProvider
from web.auth.sign_in_sessions import SESSIONS_MAX, SignInSessions
from web.settings import load_settings

KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = "https://login.example"


def token(key: ec.EllipticCurvePrivateKey = KEY, algorithm: str = "ES256", **changed: Any) -> str:
    now_s = time.time()
    claims = {"iss": ISSUER, "aud": "liveedge", "sub": "1", "nonce": "n", "iat": now_s, "exp": now_s + 60, **changed}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def verify(text: str) -> Any:
    return verified_claims(text, KEY.public_key(), "ES256", issuer=ISSUER, client_id="liveedge", nonce="n")


def test_a_right_token_is_accepted_also_while_clocks_differ_a_little() -> None:
    assert verify(token())["sub"] == "1"
    assert verify(token(aud=["liveedge", "other"], azp="liveedge"))["sub"] == "1"
    now_s = time.time()
    assert verify(token(iat=now_s + LEEWAY_S / 2))["sub"] == "1"
    assert verify(token(exp=now_s - LEEWAY_S / 2))["sub"] == "1"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://evil.example"}, "provider"),
        ({"aud": "other"}, "provider"),
        ({"aud": ["liveedge", "other"]}, "provider"),
        ({"azp": "other"}, "provider"),
        ({"nonce": "other"}, "provider"),
        ({"nonce": None}, "provider"),
        ({"nonce": 7}, "provider"),
        ({"exp": None}, "provider"),
        ({"iat": None}, "provider"),
        ({"sub": None}, "provider"),
        ({"sub": ""}, "provider"),
        ({"exp": 1}, "clock"),
        ({"iat": 9e9}, "clock"),
        ({"nbf": 9e9}, "clock"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "provider"),
    ],
)
def test_a_wrong_token_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(SignInError) as raised:
        verify(token(**changed))
    assert raised.value.reason == reason


def grant(claims: dict[str, Any], **settings: Any) -> Grant:
    configured = load_settings(oidc_issuer=ISSUER, oidc_client_id="liveedge", **settings)
    return grant_of_claims({"iss": ISSUER, "sub": "1", **claims}, configured, 5.0)


def test_roles_are_of_a_claim_by_name_or_by_table_and_the_first_one_counts() -> None:
    assert grant({"roles": ["staff", "viewer"]}).scopes == {Scope.VIEW}
    assert grant({"roles": "viewer admin"}).scopes == {Scope.ADMIN}
    nested = {"realm_access": {"roles": ["operator"]}}
    assert Scope.CONTROL in grant(nested, oidc_roles_claim="realm_access.roles").scopes
    assert grant({"https://x.example/roles": ["viewer"]}, oidc_roles_claim="https://x.example/roles").name == "user '1'"
    tables = {"guards": {"role": "viewer", "cameras": ["door"]}, "chiefs": {"role": "admin"}}
    both = grant({"roles": ["chiefs", "guards"]}, oidc={"roles": tables})
    assert both.scopes == {Scope.VIEW}
    assert (both.cameras, both.expires_at_s) == (frozenset({"door"}), 5.0)
    assert grant({"roles": ["viewer"]}).owner != grant({"roles": ["viewer"], "sub": "2"}).owner
    for claims, more in (({}, {}), ({"roles": 5}, {}), ({"roles": ["admin"]}, {"oidc": {"roles": tables}})):
        with pytest.raises(SignInError):
            grant(claims, **more)


async def test_sessions_are_bounded() -> None:
    sessions = SignInSessions(OffsetClock(), 600, 6000)
    first, second = [await sessions.open(Grant("user", frozenset()), "") for _ in range(2)]
    sessions.touch(first)
    for _ in range(SESSIONS_MAX - 1):
        await sessions.open(Grant("user", frozenset()), "")
    assert len(sessions) == SESSIONS_MAX
    assert await sessions.find(first) is not None
    assert await sessions.find(second) is None


def test_an_issuer_without_tls_and_a_client_without_id_are_refused() -> None:
    with pytest.raises(SettingsError, match="oidc_client_id"):
        load_settings(oidc_issuer=ISSUER)
    with pytest.raises(SettingsError, match="without TLS"):
        OidcProvider(load_settings(oidc_issuer="http://login.example", oidc_client_id="a"), OffsetClock())
