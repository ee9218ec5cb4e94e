"""Trickled candidates and ICE restarts: SDP fragments (RFC 8840), as WHEP carries them.

An ICE-lite agent needs none of the viewer's candidates: their syntax is checked, and they are dropped. What matters is
the ICE user fragment: one that differs from the session's is an ICE restart (RFC 8839 §4.4.1.1.1). It holds for the
media section above it, and before the first one for all (RFC 8840 §4.4).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import BadRequestError
from gateway.webrtc.sdp.answer import ICE_OPTIONS

FRAGMENT_MAX_LINES = 256
"""A browser has about ten candidates."""


Credentials = tuple[str | None, str | None]
"""User fragment and password."""

_NONE: Credentials = None, None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A parsed fragment."""

    sections: Mapping[str | None, Credentials]
    """Those that have any, by identification tag. ``None``: for all sections, or for one without a tag."""
    candidates: int

    def credentials(self, mids: Collection[str]) -> Credentials:
        """Those of the transport of these sections, as far as the fragment has any."""
        own = (each for mid, each in self.sections.items() if mid in mids)
        return next(own, self.sections.get(None, _NONE))

    @property
    def any_credentials(self) -> Credentials:
        """The last ones, whatever section they are of."""
        return next(reversed(list(self.sections.values())), _NONE)


def parse_fragment(text: str) -> Fragment:
    """Read a fragment. Raises :class:`~gateway.errors.BadRequestError` for anything else."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadRequestError("the fragment is empty")
    if len(lines) > FRAGMENT_MAX_LINES:
        raise BadRequestError(f"the fragment has more than {FRAGMENT_MAX_LINES} lines")
    sections: list[dict[str, str]] = [{}]
    candidates = 0
    for line in lines:
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise BadRequestError("the fragment is not SDP: a line is not of the form type=value")
        name, _, value = line[2:].partition(":")
        if line[0] == "m":
            sections.append({})
        elif line[0] == "a" and name == "candidate":
            check_candidate(value)
            candidates += 1
        elif line[0] == "a" and name in ("mid", "ice-ufrag", "ice-pwd"):
            sections[-1][name] = value
    found: dict[str | None, Credentials] = {}
    for section in sections:
        credentials = _credentials(section)
        if credentials != _NONE:
            found[section.get("mid")] = credentials
    return Fragment(found, candidates)


def _credentials(section: Mapping[str, str]) -> Credentials:
    username, password = section.get("ice-ufrag"), section.get("ice-pwd")
    # RFC 8839 §5.4: at least 4 and 22 characters, 256 at most.
    if username is not None and not 4 <= len(username) <= 256:
        raise BadRequestError("the fragment's ice-ufrag is not 4 to 256 characters long")
    if password is not None and not 22 <= len(password) <= 256:
        raise BadRequestError("the fragment's ice-pwd is not 22 to 256 characters long")
    return username, password


def check_candidate(value: str) -> None:
    """Check the syntax of the value of a candidate attribute. Raises :class:`~gateway.errors.BadRequestError`."""
    parts = value.split()
    numbers = (parts[1], parts[3], parts[5]) if len(parts) >= 8 and parts[6] == "typ" else ()
    if not numbers or not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in numbers):
        raise BadRequestError("a candidate is not of the form of RFC 8839 §5.1")


@dataclass(frozen=True, slots=True)
class RestartedTransport:
    """Our ICE parameters of one transport after a restart, and the media section that has the transport.

    ``mid`` and ``bundle`` are empty if the offer has none.
    """

    username: str
    password: str
    media_line: str
    mid: str
    bundle: Sequence[str]


def write_fragment(transports: Sequence[RestartedTransport], candidates: Sequence[str]) -> str:
    """Our ICE parameters after a restart (RFC 9725 §4.3.3), each under the media section that has the transport."""
    lines = ["a=ice-lite", ICE_OPTIONS]
    lines += [f"a=group:BUNDLE {' '.join(each.bundle)}" for each in transports if each.bundle]
    for each in transports:
        if each.mid or len(transports) > 1:
            lines.append(each.media_line)
        if each.mid:
            lines.append(f"a=mid:{each.mid}")
        lines += [f"a=ice-ufrag:{each.username}", f"a=ice-pwd:{each.password}"]
        lines += [f"a=candidate:{candidate}" for candidate in candidates]
        lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"
