"""XML from and to cameras.

Rules:

1. What a camera sends is hostile until it is read: :data:`XML_MAX_BYTES` and :data:`TAGS_MAX` at most, no document type
   and so no entities (XML 1.0 §4; defusedxml), and no text longer than :data:`TEXT_MAX` characters is kept.
2. Elements are found by their local names. Cameras use namespaces of drafts and of other versions, and the names are
   different enough.
3. Everything that is written is escaped.
4. What cannot be parsed is repaired once: cameras write the names that people gave them without escaping them, in the
   encoding of their country.
"""

import math
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from gateway.onvif.errors import OnvifError

XML_MAX_BYTES = 1024 * 1024
"""The profiles of a recorder with 64 channels are 400 kB."""

TEXT_MAX = 2048

UNBOUND_PREFIX = 27
"""XML_ERROR_UNBOUND_PREFIX of expat."""

ELEMENTS_MAX = 50_000
"""Elements of one kind that are visited in one document."""

TAGS_MAX = 2 * ELEMENTS_MAX
"""Tags of one document: parsing more would keep the event loop for a second."""

__all__ = [
    "Element",
    "attribute",
    "child",
    "children",
    "descendants",
    "escape",
    "number",
    "parse_xml",
    "quoteattr",
    "text",
]


def parse_xml(data: bytes) -> Element:
    """The root of a document. Raises :class:`~gateway.onvif.errors.OnvifError` by rule 1."""
    if len(data) > XML_MAX_BYTES:
        raise OnvifError(f"the camera's answer is longer than {XML_MAX_BYTES} bytes")
    if data.count(b"<") > TAGS_MAX:
        raise OnvifError(f"the camera's answer has more than {TAGS_MAX} tags")
    try:
        try:
            return _parsed(data.strip())
        except _NOT_XML:
            return _parsed(_repaired(data))
    except DefusedXmlException:
        raise OnvifError("the camera's answer has a document type or entities, which ONVIF has not") from None
    except _NOT_XML:
        raise OnvifError("the camera's answer is not XML") from None


_NOT_XML = (ParseError, ExpatError, ValueError, LookupError)


def _parsed(data: bytes) -> Element:
    try:
        root = fromstring(data, forbid_dtd=True)
    except ParseError as error:
        if error.code != UNBOUND_PREFIX:
            raise
        root = _without_namespaces(data)
    assert isinstance(root, Element)
    return root


_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufeff]")
_BARE_AMPERSAND = re.compile(r"&(?!(?:#\d+|#x[0-9A-Fa-f]+|amp|lt|gt|quot|apos);)")


def _repaired(data: bytes) -> bytes:
    """Rule 4: UTF-8 with the characters and ampersands that XML 1.0 (§2.2, §2.4) allows, and nothing after the end."""
    text = _CONTROL.sub("", data.decode("utf-8", "replace"))
    text = _BARE_AMPERSAND.sub("&amp;", _DECLARATION.sub("", text, count=1))
    return text[: text.rfind(">") + 1].strip().encode()


def _without_namespaces(data: bytes) -> Element:
    """Some cameras use prefixes that they do not declare. By rule 2, no namespace is needed. Raises as expat does."""
    builder, parser = TreeBuilder(), ParserCreate()

    def refuse(*_: object) -> None:
        raise DefusedXmlException

    def start(name: str, attributes: dict[str, str]) -> None:
        builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: builder.end(_local(name))
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def local_name(element: Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def children(element: Element | None, name: str) -> Iterator[Element]:
    """The children of that local name."""
    for each in element if element is not None else ():
        if local_name(each) == name:
            yield each


def child(element: Element | None, *path: str) -> Element | None:
    """The first descendant along a path of local names; ``None`` where there is none."""
    for name in path:
        element = next(children(element, name), None)
    return element


def descendants(element: Element | None, name: str) -> Iterator[Element]:
    """All elements of that local name below an element, in document order."""
    if element is None:
        return
    for count, each in enumerate(element.iter()):
        if count >= ELEMENTS_MAX:
            return
        if local_name(each) == name:
            yield each


def text(element: Element | None, *path: str) -> str:
    """The text of the element at a path, without white space around it; empty where there is none. Rule 1."""
    found = child(element, *path)
    return _plain(found.text) if found is not None else ""


def attribute(element: Element | None, name: str) -> str:
    """The attribute of that local name, or empty."""
    if element is None:
        return ""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return _plain(value)
    return ""


def number(element: Element | None, *path: str) -> float | None:
    """The number at a path; ``None`` where there is none, or it is not finite."""
    return to_number(text(element, *path))


def to_number(value: str) -> float | None:
    """A finite number of a text, or ``None``."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _plain(value: str | None) -> str:
    """One line of characters that can be shown."""
    short = (value or "").strip()[:TEXT_MAX]
    return short if short.isprintable() else "".join(each if each.isprintable() else " " for each in short).strip()
