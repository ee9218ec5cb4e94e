"""Credentials: the examples of the RFCs, several challenges, and when another try makes sense."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.auth import Authenticator, Credentials, parse_challenges

MUFASA = Credentials("Mufasa", "Circle of Life")
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
RFC7616 = (
    f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={{}}, nonce="{NONCE}",'
    ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    authenticator = Authenticator(MUFASA, cnonce=lambda: CNONCE)
    assert authenticator.accept(parse_challenges([RFC7616.format(algorithm)]))
    header = authenticator.authorization("GET", "/dir/index.html")
    assert header is not None
    assert f'response="{response}"' in header
    assert "qop=auth" in header
    assert "nc=00000001" in header


def test_a_digest_that_covers_the_body_which_requests_do_not_have() -> None:
    authenticator = Authenticator(Credentials("user", "pass"), cnonce=lambda: "c")
    assert authenticator.accept(parse_challenges(['Digest realm="r", nonce="n", qop="auth-int"']))

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    request = md5(f"DESCRIBE:rtsp://c/:{md5('')}")
    expected = md5(f"{md5('user:r:pass')}:n:00000001:c:auth-int:{request}")
    assert f'response="{expected}"' in (authenticator.authorization("DESCRIBE", "rtsp://c/") or "")


def test_a_digest_without_qop_is_that_of_rfc_2069() -> None:
    authenticator = Authenticator(Credentials("user", "pass"))
    authenticator.accept(parse_challenges(['Digest realm="r", nonce="n"']))

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    expected = md5(f"{md5('user:r:pass')}:n:{md5('DESCRIBE:rtsp://c/')}")
    header = authenticator.authorization("DESCRIBE", "rtsp://c/")
    assert header is not None
    assert f'response="{expected}"' in header
    assert "qop" not in header


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="r"', 'Digest realm="r", nonce="n"'], "Digest "),
        (['Digest realm="r", nonce="n", algorithm=MD5, Digest realm="r", nonce="n", algorithm=SHA-256'], "SHA-256"),
        (['Digest realm="r", nonce="n", algorithm=SHA-256', 'Digest realm="r", nonce="n"'], "SHA-256"),
        (['Digest realm="r", nonce="n", algorithm=UNKNOWN', 'Basic realm="r"'], "Basic "),
        (['Digest realm="r", nonce="n", qop="auth-int"', 'Basic realm="r"'], "qop=auth-int"),
        (['Digest realm="r", nonce="n", qop="AUTH-INT, auth"', 'Basic realm="r"'], "qop=auth,"),
        (['Digest realm="r", nonce="n", qop="other"', 'Basic realm="r"'], "Basic "),
        (["Basic"], "Basic "),
        (["digest realm=r,nonce=n"], "Digest "),
        (['Negotiate, NTLM, Digest realm="r", nonce="n"'], "Digest "),
        (['Digest realm="r", nonce=""'], "Digest "),
        (['Digest realm="r", nonce="n", algorithm=sha256', 'Digest realm="r", nonce="n"'], "algorithm=sha256"),
    ],
)
def test_the_strongest_challenge_that_is_known_is_answered(headers: list[str], expected: str) -> None:
    authenticator = Authenticator(Credentials("user", "pass"))
    assert authenticator.accept(parse_challenges(headers))
    assert expected in (authenticator.authorization("OPTIONS", "rtsp://c/") or "")


def test_basic_credentials_with_an_empty_password() -> None:
    authenticator = Authenticator(Credentials("admin", ""))
    assert authenticator.accept(parse_challenges(["Basic realm=x"]))
    assert authenticator.authorization("OPTIONS", "*") == "Basic YWRtaW46"


def test_a_password_is_tried_once_and_again_for_a_stale_nonce_alone() -> None:
    authenticator = Authenticator(Credentials("user", "wrong"))
    assert authenticator.authorization("OPTIONS", "*") is None
    assert authenticator.accept(parse_challenges(['Digest realm="r", nonce="1"']))
    assert not authenticator.accept(parse_challenges(['Digest realm="r", nonce="2"']))
    assert authenticator.accept(parse_challenges(['Digest realm="r", nonce="3", stale=TRUE']))
    assert not authenticator.accept(parse_challenges(['Digest realm="r", nonce="3", stale=TRUE']))


def test_without_credentials_nothing_is_tried() -> None:
    assert not Authenticator(None).accept(parse_challenges(["Basic realm=x"]))


def test_the_counter_grows_and_a_quote_in_a_name_is_escaped() -> None:
    authenticator = Authenticator(Credentials('a"b\\', "p"))
    authenticator.accept(parse_challenges(['Digest realm="r", nonce="n", qop="auth"']))
    headers = [authenticator.authorization("OPTIONS", "*") or "" for _ in range(2)]
    assert "nc=00000001" in headers[0]
    assert "nc=00000002" in headers[1]
    assert r'username="a\"b\\"' in headers[0]


@given(st.lists(st.text(max_size=200), max_size=5))
def test_wild_challenges_raise_nothing(values: list[str]) -> None:
    authenticator = Authenticator(Credentials("user", "pass"))
    authenticator.accept(parse_challenges(values))
    authenticator.authorization("OPTIONS", "*")


@pytest.mark.parametrize("value", [" {}!", "Digest{}!", ",{}!", "Digest a{}!", 'Digest a="b"{}!'])
def test_the_time_to_read_a_header_grows_with_its_length_alone(value: str) -> None:
    # A regular expression that tries every split of these blanks does not end before the suite's time is up.
    assert len(parse_challenges([value.format(" " * 500_000)])) <= 2


def test_a_new_nonce_is_answered_after_a_success_alone() -> None:
    authenticator = Authenticator(Credentials("user", "pass"))
    assert authenticator.accept(parse_challenges(['Digest realm="r", nonce="1"']))
    authenticator.succeeded()
    assert authenticator.accept(parse_challenges(['Digest realm="r", nonce="2"']))
    assert not authenticator.accept(parse_challenges(['Digest realm="r", nonce="3"']))
