"""Session descriptions (RFC 8866) as the answer to DESCRIBE (RFC 2326 appendix C), as cameras write them.

Rules:

1. What is not understood is left out; only a description without any media section is an error.
2. ONVIF marks a back channel, which a client sends, with ``a=sendonly``, and writes the directions of all sections from
   the client's point of view (ONVIF Streaming Specification §5.3). Other servers write them from their own, so that
   every section is ``sendonly``: then none is a back channel.
3. Control addresses are resolved against Content-Base, then Content-Location, then the request (RFC 2326 §C.1.1). A
   base gets a slash and the relative address behind it, query included: that is what cameras mean, whatever RFC 3986
   would make of it.
4. ``rtpmap`` and ``fmtp`` belong to the section that they are in. Where a payload type has none there, one that stands
   at session level, or in a section that does not have the type, is its own.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.rtsp.errors import RtspProtocolError

MEDIA_MAX = 32
"""Media sections of one description that are read."""

FORMATS_MAX = 32
"""Payload types of one media section that are read."""

ATTRIBUTES_MAX = 256
"""Attributes of one section that are read."""

VIDEO_CLOCK_RATE = 90_000
"""Ticks a second of RTP's clock for video (RFC 3551 §5)."""

_STATIC = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    14: ("MPA", 90000, 1),
    18: ("G729", 8000, 1),
    26: ("JPEG", 90000, 1),
    32: ("MPV", 90000, 1),
    33: ("MP2T", 90000, 1),
}
"""Static payload types (RFC 3551 §6) that need no ``rtpmap``."""


@dataclass(frozen=True, slots=True)
class Format:
    """One payload type of a media section. ``encoding`` is in upper case, ``parameters`` are those of ``fmtp`` with
    names
    in lower case."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Media:
    """One media section. ``control`` is the address for SETUP, resolved; ``kind`` is ``video``, ``audio``,
    ``application``…"""

    kind: str
    protocol: str
    formats: tuple[Format, ...]
    control: str
    direction: str = "sendrecv"
    is_back_channel: bool = False
    frame_rate: float | None = None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A camera's streams. ``control`` is the address for PLAY: the aggregate control URL, resolved."""

    control: str
    media: tuple[Media, ...]


@dataclass(slots=True)
class _Section:
    kind: str
    protocol: str
    payload_types: list[int]
    attributes: list[tuple[str, str]] = field(default_factory=list)


def parse_sdp(body: bytes, base: str) -> SessionDescription:
    """Read the body of a response to DESCRIBE; ``base`` is what control addresses are relative to.

    Raises :class:`~gateway.rtsp.errors.RtspProtocolError` where it has no media section.
    """
    # Cameras write their names in whatever encoding; everything that matters is ASCII.
    lines = re.split(r"\r\n|\n|\r", body.replace(b"\0", b"").decode("utf-8", "replace"))
    session = _Section("", "", [])
    sections: list[_Section] = []
    for line in lines:
        kind, _, value = line.strip().partition("=")
        if kind == "m":
            # A section that cannot be read is kept without a kind: the attributes that follow belong to it alone.
            if len(sections) > MEDIA_MAX:
                break
            sections.append(_media_line(value) or _Section("", "", []))
        elif kind == "a":
            name, _, argument = value.partition(":")
            target = sections[-1] if sections else session
            if len(target.attributes) < ATTRIBUTES_MAX:
                target.attributes.append((name.strip().lower(), argument.strip()))
    usable = [section for section in sections[:MEDIA_MAX] if section.kind]
    if not usable:
        raise RtspProtocolError("a session description without media")
    aggregate = resolve_control(base, _attribute(session, "control") or "*")
    session_direction = _direction(session)
    directions = [_direction(section) or session_direction or "sendrecv" for section in usable]
    stray = [attribute for each in (session, *sections) for attribute in _of_no_format(each)]
    is_clients_view = any(direction != "sendonly" for direction in directions)
    return SessionDescription(
        aggregate,
        tuple(
            _media(section, base, direction, stray, is_back_channel=is_clients_view and direction == "sendonly")
            for section, direction in zip(usable, directions, strict=True)
        ),
    )


def resolve_control(base: str, control: str) -> str:
    """The address that a ``control`` attribute means (rule 3)."""
    if control in ("", "*"):
        return base
    if re.match(r"(?i)rtsps?://", control):
        return _without_userinfo(control)
    if control.startswith("/"):
        parts = urlsplit(base)
        return f"{parts.scheme}://{parts.netloc}{control}"
    return f"{base}{control}" if base.endswith("/") else f"{base}/{control}"


def content_base(request_uri: str, content_base_header: str | None, content_location: str | None) -> str:
    """What the control addresses of a response to DESCRIBE are relative to (rule 3); credentials are cut out."""
    for header in (content_base_header, content_location):
        if header and re.match(r"(?i)rtsps?://[^/]", header.strip()):
            return _without_userinfo(header.strip())
    return request_uri


def parse_fmtp(text: str) -> dict[str, str]:
    """``fmtp`` parameters (RFC 8866 §6.15): names in lower case; a parameter without a value has an empty one."""
    parameters: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            parameters.setdefault(name.strip().lower(), value.strip().strip('"'))
    return parameters


def _media_line(value: str) -> _Section | None:
    tokens = value.split()
    if len(tokens) < 3:
        return None
    types = [
        int(token) for token in tokens[3 : 3 + FORMATS_MAX] if re.fullmatch(r"[0-9]{1,3}", token) and int(token) < 128
    ]
    return _Section(tokens[0].lower(), tokens[2].upper(), types)


def _of_no_format(section: _Section) -> list[tuple[str, str]]:
    """Attributes of payload types that the section does not have: rule 4."""
    own = {str(each) for each in section.payload_types}
    return [
        (name, argument)
        for name, argument in section.attributes
        if name in ("rtpmap", "fmtp") and argument.partition(" ")[0] not in own
    ]


def _media(
    section: _Section, base: str, direction: str, stray: list[tuple[str, str]], *, is_back_channel: bool
) -> Media:
    own = {(name, argument.partition(" ")[0]) for name, argument in section.attributes}
    adopted = [(name, argument) for name, argument in stray if (name, argument.partition(" ")[0]) not in own]
    maps: dict[int, tuple[str, int, int]] = {}
    parameters: dict[int, dict[str, str]] = {}
    for name, argument in [*section.attributes, *adopted]:
        number, _, rest = argument.partition(" ")
        if not re.fullmatch(r"[0-9]{1,3}", number):
            continue
        if name == "rtpmap":
            found = re.match(r"\s*([^/\s]+)(?:\s*/\s*([0-9]{1,9})(?:\s*/\s*([0-9]{1,3}))?)?", rest)
            clock_rate = int(found[2] or 0) if found else 0
            if section.kind == "video":
                # All formats of video have this clock, also where it is forgotten.
                clock_rate = clock_rate or VIDEO_CLOCK_RATE
            if found and clock_rate > 0:
                maps.setdefault(int(number), (found[1].upper(), clock_rate, int(found[3] or 1) or 1))
        elif name == "fmtp":
            parameters.setdefault(int(number), {}).update(parse_fmtp(rest))
    formats = []
    for payload_type in section.payload_types:
        known = maps.get(payload_type) or _STATIC.get(payload_type)
        if known is None and section.kind == "video":
            known = _guessed(parameters.get(payload_type, {}))
        if known is not None:
            formats.append(Format(payload_type, known[0], known[1], known[2], parameters.get(payload_type, {})))
    control = resolve_control(base, _attribute(section, "control") or "")
    rate = _frame_rate(section)
    return Media(section.kind, section.protocol, tuple(formats), control, direction, is_back_channel, rate)


def _guessed(parameters: dict[str, str]) -> tuple[str, int, int] | None:
    """The video format that only its parameters name (RFC 6184 §8.1, RFC 7798 §7.1), because ``rtpmap`` is missing."""
    if parameters.keys() & {"sprop-vps", "sprop-sps", "sprop-pps"}:
        return ("H265", VIDEO_CLOCK_RATE, 1)
    if parameters.keys() & {"sprop-parameter-sets", "packetization-mode", "profile-level-id"}:
        return ("H264", VIDEO_CLOCK_RATE, 1)
    return None


def _attribute(section: _Section, name: str) -> str | None:
    return next((argument for key, argument in section.attributes if key == name), None)


def _direction(section: _Section) -> str | None:
    names = ("sendrecv", "sendonly", "recvonly", "inactive")
    return next((key for key, _ in section.attributes if key in names), None)


def _frame_rate(section: _Section) -> float | None:
    text = _attribute(section, "framerate") or ""
    found = re.match(r"([0-9]{1,4}(?:\.[0-9]{1,6})?)\s*$", text)
    return float(found[1]) if found and float(found[1]) > 0 else None


def _without_userinfo(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
