"""Credentials for RTSP: Basic (RFC 7617) and Digest (RFC 7616, RFC 2617), with the strongest that both sides know.

Rules:

1. Of several challenges the strongest is answered (RFC 7616 §3.7): SHA-512-256, SHA-256, MD5, and Basic last.
2. A challenge to credentials refuses them. They are tried again where the nonce is another one and is said to be stale
   (RFC 7616 §3.3), or where they have been accepted since: some cameras take each nonce once, and do not say so.
3. A URL's ``user@`` without a password is that user with an empty password.
"""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_HASHES: dict[str, Callable[[bytes], str]] = {
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
"""Strongest first; names are those of RFC 7616 §6.1, without ``-sess``."""

_MISSPELT = {name.replace("-", "", 1): name for name in _HASHES}
"""Some cameras write ``SHA256``. What they wrote is sent back."""

_QOPS = ("auth", "auth-int")

CHALLENGES_MAX = 16
"""Challenges of one response that are read."""

# Between two of them may be any number of blanks and commas (RFC 9110 §5.6.1.2).
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?=[\s,]|$)\s*")
_PARAMETER = re.compile(r"""[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))""")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a ``WWW-Authenticate`` header; parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str]

    @property
    def nonce(self) -> str:
        return self.parameters.get("nonce", "")


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password; neither is shown in ``repr``."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def parse_challenges(values: Sequence[str]) -> list[Challenge]:
    """The challenges of all ``WWW-Authenticate`` headers of a response; one header may hold several (RFC 9110 §11.6.1).

    What cannot be read is left out.
    """
    challenges: list[Challenge] = []
    for value in values:
        place = 0
        while len(challenges) < CHALLENGES_MAX and (scheme := _SCHEME.match(value, place)):
            place = scheme.end()
            parameters: dict[str, str] = {}
            while found := _PARAMETER.match(value, place):
                place = found.end()
                text = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
                parameters.setdefault(found[1].lower(), text)
            challenges.append(Challenge(scheme[1].lower(), parameters))
    return challenges


class Authenticator:
    """Answers challenges for one connection."""

    def __init__(
        self, credentials: Credentials | None, cnonce: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._credentials = credentials
        self._cnonce = cnonce
        self._challenge: Challenge | None = None
        self._count = 0
        self._has_succeeded = False

    def succeeded(self) -> None:
        """A request was not refused with 401."""
        self._has_succeeded = self._challenge is not None

    def accept(self, challenges: Sequence[Challenge]) -> bool:
        """Take the challenges of a 401; whether another try makes sense (rules 1 and 2)."""
        if self._credentials is None:
            return False
        chosen = _strongest(challenges)
        if chosen is None:
            return False
        before, had_succeeded = self._challenge, self._has_succeeded
        self._challenge, self._count, self._has_succeeded = chosen, 0, False
        if before is None:
            return True
        is_stale = had_succeeded or chosen.parameters.get("stale", "").lower() == "true"
        return chosen.scheme == "digest" and is_stale and chosen.nonce != before.nonce

    def authorization(self, method: str, uri: str) -> str | None:
        """The ``Authorization`` header of a request, or ``None`` before any challenge."""
        if self._challenge is None or self._credentials is None:
            return None
        if self._challenge.scheme == "basic":
            pair = f"{self._credentials.user}:{self._credentials.password}".encode()
            return f"Basic {b64encode(pair).decode()}"
        return self._digest(self._challenge, self._credentials, method, uri)

    def _digest(self, challenge: Challenge, credentials: Credentials, method: str, uri: str) -> str:
        given = challenge.parameters
        algorithm = given.get("algorithm", "MD5")
        digest = _HASHES[_base_algorithm(algorithm)]
        realm, nonce = given.get("realm", ""), challenge.nonce
        offered = re.split(r"[\s,]+", given.get("qop", "").lower())
        qop = next((each for each in _QOPS if each in offered), "")
        self._count += 1
        cnonce, count = self._cnonce(), f"{self._count:08x}"

        def hashed(*parts: str) -> str:
            # A realm may be in any encoding (:mod:`gateway.rtsp.messages`, rule 5).
            return digest(":".join(parts).encode("utf-8", "surrogateescape"))

        secret = hashed(credentials.user, realm, credentials.password)
        if algorithm.lower().endswith("-sess"):
            secret = hashed(secret, nonce, cnonce)
        # Requests of ours have no body (RFC 7616 §3.4.3).
        request = hashed(method, uri, digest(b"")) if qop == "auth-int" else hashed(method, uri)
        response = hashed(secret, nonce, count, cnonce, qop, request) if qop else hashed(secret, nonce, request)
        quoted = {"username": credentials.user, "realm": realm, "nonce": nonce, "uri": uri, "response": response}
        parts = [f'{name}="{_escape(value)}"' for name, value in quoted.items()]
        if "opaque" in given:
            parts.append(f'opaque="{_escape(given["opaque"])}"')
        if "algorithm" in given:
            parts.append(f"algorithm={algorithm}")
        if qop or algorithm.lower().endswith("-sess"):
            parts.append(f'cnonce="{cnonce}"')
        if qop:
            parts += [f"qop={qop}", f"nc={count}"]
        return "Digest " + ", ".join(parts)


def _strongest(challenges: Sequence[Challenge]) -> Challenge | None:
    order = list(_HASHES)

    def strength(challenge: Challenge) -> int | None:
        if challenge.scheme == "basic":
            return len(order)
        if challenge.scheme != "digest" or "nonce" not in challenge.parameters:
            return None
        qop = challenge.parameters.get("qop")
        if qop and not set(_QOPS) & set(re.split(r"[\s,]+", qop.lower())):
            return None
        name = _base_algorithm(challenge.parameters.get("algorithm", "MD5"))
        return order.index(name) if name in order else None

    known = [(rank, place) for place, challenge in enumerate(challenges) if (rank := strength(challenge)) is not None]
    return challenges[min(known)[1]] if known else None


def _base_algorithm(name: str) -> str:
    base = name.strip().upper().removesuffix("-SESS")
    return _MISSPELT.get(base, base)


def _escape(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", text)
