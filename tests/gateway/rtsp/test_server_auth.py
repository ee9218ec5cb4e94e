"""Credentials as the server checks them, answered by our own client."""

from base64 import b64encode

import pytest

from gateway.rtsp.auth import Authenticator, Credentials, parse_challenges
from gateway.rtsp.server_auth import (
    BASIC_CHALLENGE,
    BasicAnswer,
    DigestAnswer,
    DigestChallenger,
    digest_secret,
    parse_authorization,
)

URI = "rtsp://127.0.0.1:8554/door"
USER, SECRET = 'gu"ard', "p@ss:wörd\\"


def answered(challenge: str, method: str = "DESCRIBE", uri: str = URI) -> BasicAnswer | DigestAnswer | None:
    client = Authenticator(Credentials(USER, SECRET))
    assert client.accept(parse_challenges([challenge]))
    header = client.authorization(method, uri)
    assert header is not None
    return parse_authorization(header)


def test_basic() -> None:
    assert answered(BASIC_CHALLENGE) == BasicAnswer(USER, SECRET)


def test_digest_proves_the_secret_for_one_request_on_one_connection() -> None:
    server = DigestChallenger()
    answer = answered(server.challenge())
    assert isinstance(answer, DigestAnswer)
    right = digest_secret(USER, SECRET)
    assert server.is_right(answer, "DESCRIBE", URI, right)
    assert not server.is_right(answer, "SETUP", URI, right)
    assert not server.is_right(answer, "DESCRIBE", URI + "2", right)
    assert not server.is_right(answer, "DESCRIBE", URI, digest_secret(USER, "other"))
    other = DigestChallenger()
    assert not other.is_right(answer, "DESCRIBE", URI, right), "another connection's nonce"
    assert other.is_stale(answer)
    assert not server.is_stale(answer)
    assert "stale=TRUE" in other.challenge(is_stale=True)


@pytest.mark.parametrize(
    ("proven", "request_uri", "is_right"),
    [
        (f"{URI}/", f"{URI}/trackID=0", True),  # live555: VLC
        (URI, f"{URI}/trackID=0", True),
        (f"{URI}/", URI, True),
        ("/door", URI, True),
        (URI, f"{URI}?x=1", True),
        ("rtsp://gateway/door", URI, True),
        ("rtsp://127.0.0.1:8554/", URI, False),
        ("", URI, False),
        ("rtsp://127.0.0.1:8554/doo", URI, False),
        (f"{URI}/trackID=0", URI, False),
        ("rtsp://[::1/door", URI, False),
    ],
)
def test_digest_proves_the_stream_of_a_track_too(proven: str, request_uri: str, *, is_right: bool) -> None:
    server = DigestChallenger()
    answer = answered(server.challenge(), "SETUP", proven)
    assert isinstance(answer, DigestAnswer)
    assert server.is_right(answer, "SETUP", request_uri, digest_secret(USER, SECRET)) is is_right


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + b64encode(b"\xff\xfe").decode(),
        "Basic " + b64encode(b"nocolon").decode(),
        "Digest",
        'Digest realm="liveedge"',
        "Bearer abc",
        "Digest " + "x=1," * 3000,
    ],
)
def test_what_cannot_be_read_is_no_answer(header: str) -> None:
    assert parse_authorization(header) is None


@pytest.mark.parametrize("response", ["", "é", "0" * 32])
def test_a_wrong_response_proves_nothing(response: str) -> None:
    server = DigestChallenger()
    answer = answered(server.challenge())
    assert isinstance(answer, DigestAnswer)
    wrong = DigestAnswer(answer.user, {**answer.parameters, "response": response})
    assert not server.is_right(wrong, "DESCRIBE", URI, digest_secret(USER, SECRET))
