"""Trickled candidates and ICE restarts: SDP fragments (RFC 8840), as WHEP carries them.

An ICE-lite agent needs none of the viewer's candidates: their syntax is checked, and they are dropped. What matters is
the ICE user fragment: one that differs from the session's is an ICE restart (RFC 8839 §4.4.1.1.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import BadRequestError
from gateway.webrtc.sdp.answer import ICE_OPTIONS

FRAGMENT_MAX_LINES = 256
"""A browser has about ten candidates."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A parsed fragment. ``username`` and ``password`` are ``None`` if it has none."""

    username: str | None
    password: str | None
    candidates: int


def parse_fragment(text: str) -> Fragment:
    """Read a fragment. Raises :class:`~gateway.errors.BadRequestError` for anything else."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadRequestError("the fragment is empty")
    if len(lines) > FRAGMENT_MAX_LINES:
        raise BadRequestError(f"the fragment has more than {FRAGMENT_MAX_LINES} lines")
    values: dict[str, str] = {}
    candidates = 0
    for line in lines:
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise BadRequestError("the fragment is not SDP: a line is not of the form type=value")
        name, _, value = line[2:].partition(":")
        if line[0] != "a":
            continue
        if name == "candidate":
            check_candidate(value)
            candidates += 1
        elif name in ("ice-ufrag", "ice-pwd"):
            values[name] = value
    username, password = values.get("ice-ufrag"), values.get("ice-pwd")
    # RFC 8839 §5.4: at least 4 and 22 characters, 256 at most.
    if username is not None and not 4 <= len(username) <= 256:
        raise BadRequestError("the fragment's ice-ufrag is not 4 to 256 characters long")
    if password is not None and not 22 <= len(password) <= 256:
        raise BadRequestError("the fragment's ice-pwd is not 22 to 256 characters long")
    return Fragment(username, password, candidates)


def check_candidate(value: str) -> None:
    """Check the syntax of the value of a candidate attribute. Raises :class:`~gateway.errors.BadRequestError`."""
    parts = value.split()
    numbers = (parts[1], parts[3], parts[5]) if len(parts) >= 8 and parts[6] == "typ" else ()
    if not numbers or not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in numbers):
        raise BadRequestError("a candidate is not of the form of RFC 8839 §5.1")


def write_fragment(
    username: str, password: str, media_line: str, mid: str, bundle: Sequence[str], candidates: Sequence[str]
) -> str:
    """Our ICE parameters after a restart (RFC 9725 §4.3.3), under the media section that has the transport.

    ``mid`` and ``bundle`` are empty if the offer has none.
    """
    lines = ["a=ice-lite", ICE_OPTIONS]
    if bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
    if mid:
        lines += [media_line, f"a=mid:{mid}"]
    lines += [f"a=ice-ufrag:{username}", f"a=ice-pwd:{password}"]
    lines += [f"a=candidate:{candidate}" for candidate in candidates]
    lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"
