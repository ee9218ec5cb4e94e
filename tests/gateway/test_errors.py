"""No credential survives redaction, and every error has a code."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import errors
from gateway.errors import LiveedgeError, redact, redact_url
from gateway.settings import load_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://cam/x", "rtsp://cam/x"),
        ("rtsp://u:p@cam/x", "rtsp://cam/x"),
        ("rtsp://viewer:p@ss:word@cam:554/x", "rtsp://cam:554/x"),
        ("rtsp://u:p/a?s#s@cam/x", "rtsp://cam/x"),
        ("failed: 'rtsp://u:p@cam/x' (111)", "failed: 'rtsp://cam/x' (111)"),
        ("http://cam/cgi?user=a&password=s3cret&n=1", "http://cam/cgi?user=***&password=***&n=1"),
        ("rtsp://cam/user=admin_password=s3cret_channel=1_stream=0.sdp", "rtsp://cam/user=***"),
        ("http://ems/?access_token=abc", "http://ems/?access_token=***"),
        ("mail me @ noon", "mail me @ noon"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(
    st.text(
        st.characters(exclude_characters=" \t\r\n\v\f\x1c\x1d\x1e\x1f\x85'\"<>", exclude_categories=["Z", "Cs"]),
        min_size=4,
    )
)
def test_no_password_without_blanks_survives(password: str) -> None:
    secret = f"S3{password}S3"
    assert secret not in redact(f"could not open rtsp://viewer:{secret}@192.0.2.7/stream: refused")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=4), st.sampled_from(["/s", "/s?a=b&password={}", "/"])
)
@example("it's a p@ss w\"rd", "/s")
@example("a b&c", "/s?token={}")
def test_no_password_with_any_character_survives_in_a_url(password: str, path: str) -> None:
    secret = f"S3{password}S3"
    in_query = quote(secret, safe=" '\"<>")
    shown = redact_url(f"rtsp://viewer:{secret}@192.0.2.7{path.format(in_query)}")
    assert shown.startswith("rtsp://192.0.2.7/")
    assert secret not in shown
    assert "S3" not in shown
    settings = load_settings().camera("a", {"url": f"rtsp://viewer:{secret}@192.0.2.7/s"})
    assert "S3" not in settings.public_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtmp://u:p@cam/live/s3cret", "rtmp://cam/live/***"),
        ("rtmps://cam:443/app/instance/s3cret?x=1", "rtmps://cam:443/app/instance/***"),
        ("rtmp://cam/s3cret", "rtmp://cam/***"),
        ("rtmp://cam/live/", "rtmp://cam/live/"),
        ("rtsp://cam/live/stream", "rtsp://cam/live/stream"),
    ],
)
def test_the_name_of_an_rtmp_stream_is_a_key(url: str, expected: str) -> None:
    assert redact_url(url) == expected


def test_codes_are_unique_and_statuses_are_errors() -> None:
    def tree(kind: type[LiveedgeError]) -> list[type[LiveedgeError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in tree(child))]

    kinds = [kind for kind in tree(LiveedgeError) if kind.__module__ == errors.__name__]
    # A kind without a code of its own tells clients nothing else than its base.
    codes = [kind.code for kind in kinds if "code" in vars(kind)]
    assert len(set(codes)) == len(codes)
    assert all(400 <= kind.status < 600 for kind in kinds)
