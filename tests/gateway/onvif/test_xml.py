"""gateway.onvif.xml: what cameras send is read with bounds."""

import pytest

from gateway.onvif.errors import OnvifError
from gateway.onvif.xml import TAGS_MAX, TEXT_MAX, XML_MAX_BYTES, attribute, child, descendants, number, parse_xml, text

BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><a>&b;&b;&b;</a>'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (BOMB, "document type or entities"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type or entities"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "http://192.0.2.1/x">]><a>&x;</a>', "document type or entities"),
        (b"", "not XML"),
        (b"<a>", "not XML"),
        (b"\xff\xfe\x00", "not XML"),
        (b"<a>" * (TAGS_MAX + 1), "tags"),
        (b'<!DOCTYPE a [<!ENTITY x "aaaa">]><a>&x; & \x01</a>', "document type or entities"),
        (b"<a>" + b"x" * XML_MAX_BYTES + b"</a>", "longer than"),
    ],
)
def test_hostile_documents_are_refused_with_a_sentence(data: bytes, why: str) -> None:
    with pytest.raises(OnvifError, match=why):
        parse_xml(data)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("<a><b>大门</b></a>".encode("gbk"), None),
        (b"\xef\xbb\xbf\r\n<?xml version='1.0' encoding='UTF-8'?><a><b>x</b></a>", "x"),
        (b"<a><b>x</b></a>\0\0", "x"),
        (b"<a><b>door &amp; yard & road</b></a>", "door & yard & road"),
        (b"<a><b>&nbsp;x</b></a>", "&nbsp;x"),
        (b"<a><b>x\x01y</b></a>", "xy"),
        (b'<?xml version="1.0" encoding="no-such"?><a><b>x</b></a>', "x"),
        (b"<q:a><q:b>x & y</q:b></q:a>", "x & y"),
    ],
)
def test_what_cameras_write_against_the_rules_is_read(data: bytes, wanted: str | None) -> None:
    found = text(parse_xml(data), "b")
    assert found == wanted if wanted is not None else found


def test_a_deep_document_does_no_harm() -> None:
    depth = 20_000
    root = parse_xml(b"<a>" * depth + b"</a>" * depth)
    assert sum(1 for _ in descendants(root, "a")) > 1000
    assert text(root, "a", "a", "b") == ""


def test_elements_are_found_by_local_name_in_any_namespace() -> None:
    root = parse_xml(b'<x:a xmlns:x="urn:draft"><y:b xmlns:y="urn:other" y:token="t"> 1.5 \n</y:b></x:a>')
    assert text(root, "b") == "1.5"
    assert number(root, "b") == 1.5
    assert attribute(child(root, "b"), "token") == "t"
    assert text(root, "b", "c") == ""
    assert number(root, "nothing") is None


def test_prefixes_that_are_not_declared_are_accepted_and_nothing_else_is() -> None:
    root = parse_xml(b'<s:a><p:b q:token="t">1</p:b></s:a>')
    assert (text(root, "b"), attribute(child(root, "b"), "token")) == ("1", "t")
    with pytest.raises(OnvifError, match="document type or entities"):
        parse_xml(b'<!DOCTYPE a [<!ENTITY x "y">]><p:a>&x;</p:a>')
    with pytest.raises(OnvifError, match="not XML"):
        parse_xml(b"<p:a><p:b></p:a>")


def test_text_is_one_line_that_can_be_shown_and_bounded() -> None:
    root = parse_xml("<a><b>one\ntwo\x85three\u202e</b><c>{}</c><d>nan</d><e>1e999</e></a>".format("y" * 9999).encode())
    assert text(root, "b").isprintable()
    assert len(text(root, "c")) == TEXT_MAX
    assert number(root, "d") is None
    assert number(root, "e") is None
