"""Credentials reach libav unchanged, whatever characters they have."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.url import normalise, parse
from gateway.errors import CaptureError

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("pasted", "user", "password", "host", "target"),
    [
        ("rtsp://cam/1", "", "", "cam", "/1"),
        ("rtsp://admin:secret@192.0.2.7:554/a?b=c", "admin", "secret", "192.0.2.7", "/a?b=c"),
        ("rtsp://viewer:p@ss:word@10.0.0.1/video", "viewer", "p@ss:word", "10.0.0.1", "/video"),
        ("rtsp://viewer:p%40ss%3Aword@10.0.0.1/video", "viewer", "p@ss:word", "10.0.0.1", "/video"),
        ("rtsp://viewer:a/b#c?d@10.0.0.1/video", "viewer", "a/b#c?d", "10.0.0.1", "/video"),
        ("rtsp://viewer:p@ss/word@cam.example/video", "viewer", "p@ss/word", "cam.example", "/video"),
        ("rtsp://viewer:100%sure@cam/video", "viewer", "100%sure", "cam", "/video"),
        ("rtsp://viewer:two words@cam/video", "viewer", "two words", "cam", "/video"),
        ("rtsp://viewer@cam/video", "viewer", "", "cam", "/video"),
        ("rtsp://u:p@10.0.0.2/live@main", "u", "p", "10.0.0.2", "/live@main"),
        ("rtsp://op/er#1:a/b@10.0.0.1:554/video", "op/er#1", "a/b", "10.0.0.1", "/video"),
        ("rtsp://cam/live@10.0.0.1", "", "", "cam", "/live@10.0.0.1"),
        ("rtsp://10.0.0.2/live@main", "", "", "10.0.0.2", "/live@main"),
        ("rtsp://u:p@[2001:db8::7]:8554/x", "u", "p", "2001:db8::7", "/x"),
        (" rtsp://cam/a b\r\nX: y ", "", "", "cam", "/a%20b%0D%0AX:%20y"),
        ("RTSP://cam", "", "", "cam", ""),
    ],
)
def test_pasted_urls(pasted: str, user: str, password: str, host: str, target: str) -> None:
    url = parse(pasted)
    got_user, _, got_password = url.userinfo.partition(":")
    assert (unquote(got_user), unquote(got_password), url.host, url.target) == (user, password, host, target)


@given(ANY_TEXT, ANY_TEXT)
def test_encoded_credentials_stay_as_they_are(user: str, password: str) -> None:
    encoded = f"rtsp://{quote(user, safe='')}:{quote(password, safe='')}@192.0.2.7:8554/x"
    assert normalise(encoded) == encoded


@given(ANY_TEXT.filter(lambda text: "%" not in text and "@" not in text))
def test_raw_passwords_are_understood_before_an_address(password: str) -> None:
    url = parse(f"rtsp://viewer:{password}@192.0.2.7/x")
    assert url.host in {"192.0.2.7", "viewer"}
    # Only digits up to a slash can be mistaken, for a port: RFC 3986 reads them so.
    if url.host == "192.0.2.7":
        assert unquote(url.userinfo.partition(":")[2]) == password
    else:
        assert password.split("/")[0].split("?")[0].split("#")[0].isdigit() or password[0] in "/?#"


@given(st.text())
def test_any_text_gives_a_url_or_an_error(text: str) -> None:
    try:
        once = normalise(text)
    except CaptureError:
        return
    assert normalise(once) == once
    assert once.isascii()
    assert not any(character.isspace() for character in once)


@pytest.mark.parametrize(
    "strange",
    ["rtsp://c/d@tsA:/A://:c@cam.\0e4/e", "rtsp://[f%1]/s://4:!@cam", "rtsp://[fe]/x", "rtsp://r:@ec:0/@a@H:"],
)
def test_an_invalid_host_is_invalid_encoded_too(strange: str) -> None:
    try:
        once = normalise(strange)
    except CaptureError:
        return
    assert normalise(once) == once


@pytest.mark.parametrize(
    "wrong", ["rtsp://cam\0/x", "rtsp://u:p@cam.example\x01:554/x", "rtsp://cam\x7f/x", "rtsp://˘.example/x"]
)
def test_a_host_has_no_control_characters(wrong: str) -> None:
    with pytest.raises(CaptureError):
        parse(wrong)


@pytest.mark.parametrize("wrong", ["", "cam", "rtsp://", "rtsp:///x", "rtsp://cam:99999/x", "rtsp://u:p@/x"])
def test_a_missing_host_is_an_error(wrong: str) -> None:
    with pytest.raises(CaptureError, match="rtsp://user:password@"):
        parse(wrong)


def test_parts_are_not_printed() -> None:
    assert "hunter2" not in repr(parse("rtsp://u:hunter2@cam/x?token=hunter2"))
