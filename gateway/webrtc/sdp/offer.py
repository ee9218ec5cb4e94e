"""Reads SDP offers, and answers to our own counter-offers (RFC 8866, 8829, 8839, 8842, 9143).

Rules:

1. What the negotiation does not need is not read: candidates, SSRCs, unknown attributes. A client is not refused for a
   line that nobody uses.
2. Whatever the answer repeats is a token (RFC 8866 §9), so that nothing can be smuggled into it.
3. A text that is no session description, or exceeds a limit, is a :class:`~gateway.errors.BadRequestError` that names
   the line. Nothing else is ever raised.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.errors import BadRequestError

OFFER_MAX_BYTES = 64 * 1024

LINES_MAX = 32
"""Different rtcp-fb lines, and different format parameters, of one codec. Those beyond are left out."""

BYTE_ORDER_MARK = "\ufeff"
"""Chromium's offers are 3 to 7 KB."""

MEDIA_MAX = 16
"""Media sections; a viewer needs two."""

AS_SHARE = 0.95
"""Of ``b=AS``, without the headers of IP and UDP, which it includes. libwebrtc reckons the same."""

_STATIC_FORMATS: Mapping[str, tuple[str, int]] = {"0": ("PCMU", 8000), "8": ("PCMA", 8000)}
"""Payload types that may stand without a rtpmap (RFC 3551 §6)."""

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+")
_MEDIA = re.compile(r"([!#-'*+\-.0-9A-Z^-~]+) ([0-9]{1,5})(?:/[0-9]+)? ([A-Za-z0-9/]+)((?: [!#-'*+\-.0-9A-Z^-~]+)+)")
_RTPMAP = re.compile(r"([0-9]{1,3}) +([!#-'*+\-.0-9A-Z^-~]+)/([0-9]{1,7})(?:/([0-9]{1,3}))?")
_EXTMAP = re.compile(r"([0-9]{1,5})(?:/(sendrecv|sendonly|recvonly|inactive))? +([!-~]+)(?: .*)?")
_BANDWIDTH = re.compile(r"b=(AS|TIAS): *([0-9]{1,12})")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]+) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+)")
_PARAMETER = re.compile(r"[ -~]*")


@dataclass(slots=True, frozen=True)
class OfferedCodec:
    """One format of a media section. ``channels`` is ``None`` where the rtpmap does not say it, which means one."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int | None
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    """The fmtp line, with names in lower case. A parameter without ``=`` has the value ``None``."""
    feedback: tuple[str, ...] = ()

    @property
    def rtpmap(self) -> str:
        """The value of its rtpmap line."""
        channels = "" if self.channels is None else f"/{self.channels}"
        return f"{self.payload_type} {self.name}/{self.clock_rate}{channels}"


@dataclass(slots=True, frozen=True)
class TransportParameters:
    """ICE and DTLS attributes, and how RTCP is carried."""

    username: str = ""
    password: str = ""
    fingerprints: tuple[tuple[str, str], ...] = ()
    """Pairs of hash name and value."""
    setup: str = ""
    rtcp_mux: bool = False
    """``rtcp-mux`` or ``rtcp-mux-only`` (RFC 8858)."""

    def or_else(self, other: "TransportParameters") -> "TransportParameters":
        """These, and those of ``other`` that are missing here."""
        return TransportParameters(
            username=self.username or other.username,
            password=self.password or other.password,
            fingerprints=self.fingerprints or other.fingerprints,
            setup=self.setup or other.setup,
            rtcp_mux=self.rtcp_mux or other.rtcp_mux,
        )


@dataclass(slots=True, frozen=True)
class OfferedSection:
    """One media section."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    mid: str
    direction: str
    is_bundle_only: bool
    """Only where it is in a BUNDLE group: the attribute has no meaning for others (RFC 9143 §6)."""
    transport: TransportParameters
    codecs: tuple[OfferedCodec, ...]
    """In the order of the formats; RTP only."""
    extensions: Mapping[str, int]
    """RTP header extensions that the offerer receives: identifiers by URI."""
    recvonly_extensions: frozenset[str] = frozenset()
    """Those of them that it does not send (RFC 8285 §5)."""
    max_bps: float | None = None
    """The most that the offerer wants to receive, without the headers of IP and UDP: ``b=TIAS``, or else ``b=AS``."""

    @property
    def is_data_channel(self) -> bool:
        """Whether it carries SCTP (RFC 8841)."""
        return self.kind == "application" and "SCTP" in self.protocol

    @property
    def is_offered(self) -> bool:
        """Not so for port zero, unless the section is bundle-only: those always have it (RFC 9143 §6)."""
        return self.port != 0 or self.is_bundle_only


@dataclass(slots=True, frozen=True)
class Offer:
    """A session description."""

    sections: tuple[OfferedSection, ...]
    bundles: tuple[tuple[str, ...], ...]
    """The identification tags of each BUNDLE group."""
    is_ice_lite: bool

    def bundle_of(self, section: OfferedSection) -> tuple[str, ...]:
        """The BUNDLE group that a section is in; empty if it is in none."""
        return next((bundle for bundle in self.bundles if section.mid in bundle), ())


def parse_offer(text: str) -> Offer:
    """Read a session description. Raises :class:`~gateway.errors.BadRequestError` for anything else."""
    if len(text) > OFFER_MAX_BYTES:
        raise BadRequestError(f"the offer is longer than {OFFER_MAX_BYTES} characters")
    lines = [line.rstrip(" \t") for line in re.split(r"\r\n|\n|\r", text.removeprefix(BYTE_ORDER_MARK).strip())]
    if lines[0] != "v=0":
        raise BadRequestError("the body is not SDP: it does not begin with v=0")
    for number, line in enumerate(lines, 1):
        if line and (len(line) < 2 or line[1] != "=" or not ("a" <= line[0] <= "z")):
            raise BadRequestError(f"the offer is not valid SDP: line {number} is not of the form type=value")
    starts = [place for place, line in enumerate(lines) if line.startswith("m=")]
    if not starts:
        raise BadRequestError("the offer has no media section")
    if len(starts) > MEDIA_MAX:
        raise BadRequestError(f"the offer has more than {MEDIA_MAX} media sections")
    session = _attributes(lines[: starts[0]])
    max_bps = _max_bps(lines[: starts[0]])
    ends = [*starts[1:], len(lines)]
    sections = tuple(
        replace(
            _section(start + 1, lines[start], _attributes(lines[start + 1 : end]), session),
            max_bps=_max_bps(lines[start + 1 : end]) or max_bps,
        )
        for start, end in zip(starts, ends, strict=True)
    )
    mids = [section.mid for section in sections if section.mid]
    if len(set(mids)) < len(mids):
        raise BadRequestError("the offer is not valid SDP: two media sections have the same mid")
    groups = [value.split() for name, value in session if name == "group"]
    listed = [dict.fromkeys(group[1:]) for group in groups if group[:1] == ["BUNDLE"]]
    bundles = tuple(tuple(mid for mid in group if mid in mids) for group in listed)
    bundled = {mid for bundle in bundles for mid in bundle}
    sections = tuple(
        replace(section, is_bundle_only=section.is_bundle_only and section.mid in bundled) for section in sections
    )
    return Offer(sections, bundles, ("ice-lite", "") in session)


def _max_bps(lines: list[str]) -> float | None:
    """The bandwidth lines of a section or of the session (RFC 8866 §5.8, RFC 3890 §6.2). Zero is no limit."""
    found = {match[1]: match[2] for match in map(_BANDWIDTH.fullmatch, lines) if match is not None}
    bps = float(found["TIAS"]) if "TIAS" in found else float(found.get("AS", 0)) * 1000 * AS_SHARE
    return bps or None


_Attributes = list[tuple[str, str]]


def _attributes(lines: list[str]) -> _Attributes:
    found = []
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            found.append((name.strip(), value.strip()))
    return found


def _section(number: int, line: str, attributes: _Attributes, session: _Attributes) -> OfferedSection:
    match = _MEDIA.fullmatch(line[2:])
    if match is None:
        raise BadRequestError(f"the offer is not valid SDP: line {number} is not a media description")
    kind, port, protocol, formats = match[1], int(match[2]), match[3], tuple(match[4].split())
    if port > 65_535:
        raise BadRequestError(f"the offer is not valid SDP: line {number} has no valid port")
    values = dict(attributes)
    mid = values.get("mid", "")
    if mid and _TOKEN.fullmatch(mid) is None:
        raise BadRequestError("the offer is not valid SDP: a mid is not a token")
    names = [name for name, _ in (*session, *attributes)]
    extensions = _extensions([*session, *attributes])
    return OfferedSection(
        kind=kind,
        port=port,
        protocol=protocol,
        formats=formats,
        mid=mid,
        direction=next((name for name in reversed(names) if name in _DIRECTIONS), "sendrecv"),
        is_bundle_only="bundle-only" in values,
        transport=_transport(attributes, session),
        codecs=_codecs(formats, attributes) if "RTP" in protocol else (),
        extensions={uri: identifier for uri, (identifier, _) in extensions.items()},
        recvonly_extensions=frozenset(uri for uri, (_, direction) in extensions.items() if direction == "recvonly"),
    )


def _transport(attributes: _Attributes, session: _Attributes) -> TransportParameters:
    values = {**dict(session), **dict(attributes)}
    fingerprints = [value for name, value in attributes if name == "fingerprint"]
    if not fingerprints:
        fingerprints = [value for name, value in session if name == "fingerprint"]
    matches = [_FINGERPRINT.fullmatch(value) for value in fingerprints]
    return TransportParameters(
        username=values.get("ice-ufrag", ""),
        password=values.get("ice-pwd", ""),
        fingerprints=tuple((match[1].lower(), match[2].upper()) for match in matches if match is not None),
        setup=values.get("setup", "").lower(),
        rtcp_mux="rtcp-mux" in values or "rtcp-mux-only" in values,
    )


def _codecs(formats: tuple[str, ...], attributes: _Attributes) -> tuple[OfferedCodec, ...]:
    codecs: dict[str, OfferedCodec] = {}
    offered = dict.fromkeys(formats)
    for item in offered:
        if item in _STATIC_FORMATS:
            codecs[item] = OfferedCodec(int(item), *_STATIC_FORMATS[item], None)
    for name, value in attributes:
        match = _RTPMAP.fullmatch(value) if name == "rtpmap" else None
        if match is not None and match[1] in offered and _may_be_used(int(match[1])):
            channels = int(match[4]) if match[4] else None
            codecs[match[1]] = OfferedCodec(int(match[1]), match[2], int(match[3]), channels)
    parameters: dict[str, dict[str, str | None]] = {item: {} for item in (*codecs, "*")}
    feedback: dict[str, dict[str, None]] = {item: {} for item in (*codecs, "*")}
    for name, value in attributes:
        number, _, text = value.partition(" ")
        if number not in parameters or _PARAMETER.fullmatch(text) is None:
            continue
        if name == "fmtp" and len(parameters[number]) < LINES_MAX:
            parameters[number] |= _parameters(text)
        elif name == "rtcp-fb" and len(feedback[number]) < LINES_MAX:
            feedback[number][" ".join(text.split())] = None
    return tuple(
        replace(
            codecs[item],
            parameters=parameters["*"] | parameters[item],
            feedback=tuple(feedback["*"] | feedback[item]),
        )
        for item in offered
        if item in codecs
    )


def _may_be_used(payload_type: int) -> bool:
    """Types from 64 to 95 look like RTCP where both have one port (RFC 5761 §4)."""
    return payload_type < 64 or 96 <= payload_type < 128


def _parameters(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for item in text.split(";"):
        name, equals, value = item.partition("=")
        if name.strip():
            found[name.strip().lower()] = value.strip() if equals else None
    return found


def _extensions(attributes: _Attributes) -> dict[str, tuple[int, str | None]]:
    """Identifiers and directions of the extensions that the offerer receives, by URI.

    An identifier that stands for a second extension, too, means the first (RFC 8285 §5: it has to be unique).
    """
    found: dict[str, tuple[int, str | None]] = {}
    for name, value in attributes:
        match = _EXTMAP.fullmatch(value) if name == "extmap" else None
        if match is None or match[2] in ("sendonly", "inactive"):
            continue
        identifier = int(match[1])
        if all(used != identifier for uri, (used, _) in found.items() if uri != match[3]):
            found[match[3]] = identifier, match[2]
    return found
