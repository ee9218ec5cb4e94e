"""Wrong tokens are delayed, by whatever path they are sent."""

import asyncio
import hashlib
import hmac
import io
import json
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import jwt
import pytest

from gateway.access import Scope
from gateway.client_address import client_network
from gateway.errors import UnauthorizedError
from tests.support.auth_gateway import ADMIN_TOKEN, JWT_SECRET, Client, authenticator, bearer
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock, OffsetClock
from web.auth.authenticator import AUTHENTICATOR
from web.auth.policy import Family
from web.auth.rate_limiter import (
    ANSWERS_MAX,
    DELAY_MAX_S,
    DELAYED_PER_NETWORK_MAX,
    KNOWN_MAX,
    NETWORKS_MAX,
    AuthRateLimiter,
    TooManyError,
)
from web.auth.sessions import Credential
from web.auth.target import Target
from web.observability.logs import RateLimitedHandler

pytestmark = pytest.mark.usefixtures("empty_place")

VIEWER = "may-view-everything"


async def test_wrong_tokens_are_delayed_longer_and_longer_and_right_ones_never() -> None:
    limiter = AuthRateLimiter(OffsetClock())
    delays = [limiter.record_failure("192.0.2.7") for _ in range(12)]
    assert delays[0] < 0.2
    assert delays[-1] > DELAY_MAX_S / 2
    assert max(delays) <= DELAY_MAX_S
    assert limiter.record_failure("192.0.2.8") < 0.2, "another address"
    assert limiter.record_failure("2001:db8::1") < limiter.record_failure("2001:db8::2"), "one /64 is one client"
    auth = authenticator(auth_token=ADMIN_TOKEN)
    auth.rate_limiter = AuthRateLimiter(OffsetClock())
    for _ in range(50):
        auth.rate_limiter.record_failure("192.0.2.7")
    guess = asyncio.create_task(auth.authenticate("a-wrong-guess-of-a-token", "192.0.2.7"))
    assert (await auth.authenticate(ADMIN_TOKEN, "192.0.2.7")).grant.may(Scope.ADMIN)
    assert not guess.done()
    guess.cancel()


async def test_the_table_of_failures_is_bounded_and_expires() -> None:
    clock = OffsetClock()
    limiter = AuthRateLimiter(clock)
    for number in range(NETWORKS_MAX + 100):
        limiter.record_failure(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(limiter._failures) == NETWORKS_MAX
    for _ in range(20):
        limiter.record_failure("192.0.2.7")
    clock.ahead_s += 3600
    assert limiter.record_failure("192.0.2.7") < 0.2


async def test_the_number_of_delayed_answers_is_limited() -> None:
    limiter = AuthRateLimiter(OffsetClock(), delay_max_s=0.3)
    results = await asyncio.gather(
        *(limiter.delay_failure("192.0.2.7", f"guess-{number}") for number in range(30)), return_exceptions=True
    )
    assert sum(result is None for result in results) == DELAYED_PER_NETWORK_MAX
    assert sum(isinstance(result, TooManyError) for result in results) == 30 - DELAYED_PER_NETWORK_MAX


async def test_a_client_that_does_not_wait_for_the_answer_has_the_delay_all_the_same() -> None:
    """A right token is answered at once. So a guess that is not answered at once is wrong, and need not be awaited."""
    clock = OffsetClock()
    limiter = AuthRateLimiter(clock)
    for _ in range(10):
        limiter.record_failure("192.0.2.7")
    for number in range(DELAYED_PER_NETWORK_MAX):
        assert limiter.may_compare("192.0.2.7", f"a-guess-{number}")
        guess = asyncio.create_task(limiter.delay_failure("192.0.2.7", f"a-guess-{number}"))
        await asyncio.sleep(0)
        guess.cancel()
        await asyncio.wait([guess])
    assert not limiter.may_compare("192.0.2.7", "another-guess")
    assert limiter.may_compare("192.0.2.8", "another-guess")
    clock.ahead_s += DELAY_MAX_S
    assert limiter.may_compare("192.0.2.7", "another-guess")


async def test_wrong_tokens_of_many_networks_keep_no_other_out() -> None:
    """A home's /56 of IPv6 has 256 networks."""
    limiter = AuthRateLimiter(ManualClock())
    guesses = [
        asyncio.create_task(limiter.delay_failure(f"2001:db8:0:{number % 300:x}::1", f"guess-{number}"))
        for number in range(300 * DELAYED_PER_NETWORK_MAX)
    ]
    await asyncio.sleep(0)
    try:
        assert limiter._answers == ANSWERS_MAX
        assert limiter.may_compare("192.0.2.7", "a-new-token")
        assert not limiter.may_compare("2001:db8:0:12b::1", "a-new-token"), "the delay does not depend on the answer"
    finally:
        for task in guesses:
            task.cancel()
        await asyncio.gather(*guesses, return_exceptions=True)


async def test_a_token_that_has_ended_or_is_sent_again_is_not_a_guess() -> None:
    """A wall of players whose token was revoked asks again and again."""
    auth = authenticator(auth_token=ADMIN_TOKEN)
    await auth.authenticate(ADMIN_TOKEN, "192.0.2.7")
    auth.tokens = authenticator(auth_token=ADMIN_TOKEN[::-1]).tokens
    for _ in range(50):
        with pytest.raises(UnauthorizedError):
            await auth.authenticate(ADMIN_TOKEN, "192.0.2.7")
    assert auth.rate_limiter.failures == 0
    for _ in range(50):
        with pytest.raises(UnauthorizedError):
            await auth.authenticate("always-the-same", "192.0.2.7")
    assert auth.rate_limiter.failures == 1
    assert auth.rate_limiter.may_compare("192.0.2.7", "another")
    with pytest.raises(UnauthorizedError):
        await auth.authenticate(ADMIN_TOKEN, "192.0.2.8")
    assert auth.rate_limiter.failures == 2, "from elsewhere it may be a guess"
    assert (await auth.authenticate(ADMIN_TOKEN[::-1], "192.0.2.7")).grant.may(Scope.ADMIN)


async def test_what_is_signed_is_accepted_from_an_address_that_guesses() -> None:
    auth = authenticator(auth_token=ADMIN_TOKEN, auth_jwt_secret=JWT_SECRET)
    claims = {"sub": "anna", "scope": "view", "exp": int(time.time()) + 60}
    good, bad = jwt.encode(claims, JWT_SECRET, "HS256"), jwt.encode(claims, JWT_SECRET[::-1], "HS256")
    target = Target(Family.SNAPSHOT, Scope.VIEW, "door")
    admin = (await auth.authenticate(ADMIN_TOKEN, "192.0.2.8")).grant
    signed = auth.signer.sign(admin, target).token
    forged = authenticator(auth_token=ADMIN_TOKEN, auth_signing_key="k" * 32).signer.sign(admin, target).token
    for _ in range(10):
        auth.rate_limiter.record_failure("192.0.2.7")
    guesses = [asyncio.create_task(auth.authenticate(f"wrong-{number}", "192.0.2.7")) for number in range(20)]
    await asyncio.sleep(0.01)
    try:
        assert (await auth.authenticate(good, "192.0.2.7")).grant.may(Scope.VIEW)
        assert (await auth._open(Credential(signed, target), "192.0.2.7")).grant.may(Scope.VIEW, "door")
        for refused in (Credential(bad), Credential(ADMIN_TOKEN), Credential(forged, target)):
            with pytest.raises(TooManyError):
                await auth._open(refused, "192.0.2.7")
    finally:
        for task in guesses:
            task.cancel()
        await asyncio.gather(*guesses, return_exceptions=True)


async def test_many_wrong_tokens_of_an_address_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    handler = RateLimitedHandler(written)
    monkeypatch.setattr(logging.getLogger("web.auth.rate_limiter"), "handlers", [handler])
    limiter = AuthRateLimiter(OffsetClock())
    for _ in range(1000):
        limiter.record_failure("192.0.2.7")
    assert written.getvalue() == "wrong token from 192.0.2.7\n"


# --- every path


GUESSES = 60


async def by_many_connections(client: Client, token: str) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(client.make_url("/api/cameras"), headers=bearer(token)) as answer,
    ):
        return answer.status


async def by_one_connection(client: Client, token: str) -> int:
    async with client.get("/api/cameras", headers=bearer(token)) as answer:
        return answer.status


async def by_forwarding(client: Client, token: str) -> int:
    # The gateway trusts no proxy: it ignores these headers.
    claimed = hashlib.sha256(token.encode()).digest()
    headers = {"X-Forwarded-For": ".".join(str(byte) for byte in claimed[:4]), "Forwarded": "for=192.0.2.7"}
    async with client.get("/api/cameras", headers=headers | bearer(token)) as answer:
        return answer.status


async def by_signed_address(client: Client, token: str) -> int:
    async with client.get("/snapshot/ghost.jpg", params={"token": token}) as answer:
        return answer.status


async def by_joining_socketio(client: Client, token: str) -> int:
    """Many CONNECT packets on one connection."""
    url = client.make_url("/socket.io/?EIO=4&transport=websocket")
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as line:
        await line.receive()
        await line.send_str("40" + json.dumps({"token": token}))
        while not (said := (await line.receive()).data).startswith("4"):
            pass
        return 200 if said.startswith("40") else int(json.loads(said[2:])["data"]["status"])


@pytest.mark.parametrize(
    "send", [by_many_connections, by_one_connection, by_forwarding, by_signed_address, by_joining_socketio]
)
async def test_a_flood_of_guesses_learns_nothing_by_any_path(
    auth_client: Client, send: Callable[[Client, str], Coroutine[Any, Any, int]]
) -> None:
    assert auth_client.app is not None
    limiter = auth_client.app[AUTHENTICATOR].rate_limiter
    assert await by_one_connection(auth_client, VIEWER) == 200
    for _ in range(10):
        limiter.record_failure("127.0.0.1")  # from now on each takes seconds
    compared: list[object] = []
    find = auth_client.app[AUTHENTICATOR].tokens.find

    def counted(token: str) -> Any:
        compared.append(token)
        return find(token)

    auth_client.app[AUTHENTICATOR].tokens.find = counted  # type: ignore[method-assign]
    guesses = [
        asyncio.create_task(send(auth_client, f"a-wrong-guess-of-a-token-{number}")) for number in range(GUESSES)
    ]
    try:
        await eventually(lambda: limiter._answers >= DELAYED_PER_NETWORK_MAX, "as many clients wait as may")
        assert list(limiter._failures) == ["127.0.0.1"], "all guesses count for one network"
        # The right token is not compared either. A token that is known to be right is.
        assert await by_one_connection(auth_client, ADMIN_TOKEN) == 429
        assert await by_one_connection(auth_client, VIEWER) == 200
        assert ADMIN_TOKEN not in compared
        assert limiter.failures < GUESSES
    finally:
        for task in guesses:
            task.cancel()
        done = await asyncio.gather(*guesses, return_exceptions=True)
    statuses = {each for each in done if isinstance(each, int)}
    assert 429 in statuses
    assert statuses <= {401, 429}


async def test_each_join_on_one_connection_is_delayed(auth_client: Client) -> None:
    assert auth_client.app is not None
    auth_client.app[AUTHENTICATOR].rate_limiter = limiter = AuthRateLimiter(OffsetClock(), delay_max_s=0.3)
    url = auth_client.make_url("/socket.io/?EIO=4&transport=websocket")
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as line:
        await line.receive()
        for number in range(6):
            await line.send_str("40" + json.dumps({"token": f"a-wrong-guess-of-a-token-{number}"}))
        for answered in range(1, 4):
            async with asyncio.timeout(60):
                message = await line.receive()
            assert json.loads(message.data.removeprefix("44"))["data"]["status"] == 401
            assert limiter.failures <= answered + 1, "one after the other, each after its delay"


@pytest.mark.parametrize(
    ("form", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("2002:c000:207::1", "192.0.2.7"),
        ("2002:c000:207:ffff::9", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::", "2001:db8::/64"),
        ("[2001:db8::7]", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%eth1", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_client_has_one_network_in_every_notation(form: str, network: str) -> None:
    assert client_network(form) == network


def test_known_tokens_are_bounded_and_kept_by_address() -> None:
    limiter = AuthRateLimiter(OffsetClock())
    for number in range(KNOWN_MAX + 10):
        limiter.record_success("192.0.2.7", f"token-{number}")
    assert len(limiter._right) == KNOWN_MAX
    limiter.record_failure("192.0.2.7")
    limiter.record_failure("192.0.2.8")
    for failures in limiter._failures.values():
        failures.delayed_until_s = [float("inf")] * DELAYED_PER_NETWORK_MAX
    assert limiter.may_compare("192.0.2.7", f"token-{KNOWN_MAX}")
    for address, token in (("192.0.2.7", "token-0"), ("192.0.2.8", f"token-{KNOWN_MAX}")):
        assert not limiter.may_compare(address, token)
    assert limiter.may_compare("192.0.2.9", "token-0")


# --- comparisons


async def test_every_kind_of_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(first: Any, second: Any) -> bool:
        compared.append((len(first), len(second)))
        return real(first, second)

    digest = hashlib.sha256(b"only-its-hash-is-in-the-file").hexdigest()
    tokens = {"hashed": {"token_sha256": digest, "scopes": ["view"]}, "plain": {"token": VIEWER, "scopes": ["view"]}}
    auth = authenticator(auth_token=ADMIN_TOKEN, auth={"tokens": tokens}, auth_jwt_secret=JWT_SECRET)
    claims = {"exp": time.time() + 60, "scope": "view"}
    good = jwt.encode(claims, JWT_SECRET, "HS256")
    grant = (await auth.authenticate(ADMIN_TOKEN, "192.0.2.7")).grant
    signed = auth.signer.sign(grant, Target(Family.LIVE, Scope.VIEW, "door")).token
    monkeypatch.setattr(hmac, "compare_digest", compare)
    # Static tokens: all hashes are compared whole, for every guess.
    for guess in (ADMIN_TOKEN, VIEWER, "only-its-hash-is-in-the-file", "x", ADMIN_TOKEN[:-1], "y" * 5000):
        compared.clear()
        auth.tokens.find(guess)
        assert compared == [(32, 32)] * 3
    # Signatures are compared whole.
    for token, verify in ((good, auth.jwt.verify), (signed, auth.signer._verify_signature)):
        head, _, signature = token.rpartition(".")
        for forged in (token, f"{head}.{'A' * len(signature)}", f"{head}.{signature[:-4]}AAAA"):
            compared.clear()
            try:
                result = verify(forged)
                if asyncio.iscoroutine(result):
                    await result
            except jwt.PyJWTError:
                pass
            assert compared == [(32, 32)], forged
