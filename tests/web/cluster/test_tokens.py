"""Tokens of nodes: for one request, of one cluster, and for clocks that are a minute apart."""

import jwt
import pytest

from gateway.clock import CLOCK_RATE
from gateway.errors import UnauthorizedError
from tests.support.manual_clock import ManualClock
from web.cluster.tokens import NodeTokens

KEY, PATH = "k" * 43, "/api/cluster/cameras/door/relay"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_795_287_000 * CLOCK_RATE)


def test_a_token_opens_its_request_alone(clock: ManualClock) -> None:
    tokens = NodeTokens(KEY, "a", clock)
    token = tokens.sign("GET", PATH)
    assert NodeTokens(KEY, "b", clock).verify(token, "GET", PATH) == "a"
    for method, path in (("POST", PATH), ("GET", PATH.replace("door", "gate"))):
        with pytest.raises(UnauthorizedError, match="another request"):
            tokens.verify(token, method, path)
    with pytest.raises(UnauthorizedError, match="no token"):
        NodeTokens("x" * 43, "b", clock).verify(token, "GET", PATH)


@pytest.mark.parametrize(
    "token", ["", "x", "..", "a.b.c", jwt.encode({"aud": "liveedge-node"}, KEY, "HS256"), "é" * 99]
)
def test_what_is_no_token_is_refused(token: str, clock: ManualClock) -> None:
    with pytest.raises(UnauthorizedError):
        NodeTokens(KEY, "a", clock).verify(token, "GET", PATH)


def test_clocks_may_be_a_minute_apart_and_no_token_lasts_for_long(clock: ManualClock) -> None:
    tokens = NodeTokens(KEY, "a", clock)
    token = tokens.sign("GET", PATH)
    for seconds in (-60, 0, 60, 180):
        clock.now = seconds
        assert tokens.verify(token, "GET", PATH) == "a"
    for seconds in (-600, 600, 10**8):
        clock.now = seconds
        with pytest.raises(UnauthorizedError, match="expired"):
            tokens.verify(token, "GET", PATH)
