"""The server's side of RTSP's credentials: challenges, and what a client answers (RFC 7616, RFC 7617).

Rules:

1. Digest is MD5 (RFC 2617): FFmpeg, VLC and GStreamer know no other. It protects the secret on the wire, no more.
2. A nonce belongs to one connection, and is good for as long: another connection does not accept a recorded answer.
3. An answer is for the method and the address of its own request. For a track, live555 (VLC and many recorders) proves
   the address of the stream: any address that leads to it counts, however its end, its host and its query are written.
   The challenge has no ``qop``: all clients know that form (RFC 2617 §3.2.2.1), and with the nonce of rule 2 nothing is
   lost.
4. An answer to a nonce of another connection says nothing about the password: it is stale (§3.2.1), and the client
   tries again with the new nonce without asking its user.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode
from dataclasses import dataclass, field
from urllib.parse import urlsplit

REALM = "liveedge"

_PARAMETER = re.compile(r"""([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))""")

BASIC_CHALLENGE = f'Basic realm="{REALM}"'


@dataclass(frozen=True, slots=True)
class BasicAnswer:
    """User and secret as they are."""

    user: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DigestAnswer:
    """The proof that a client knows a user's secret."""

    user: str
    parameters: dict[str, str] = field(repr=False)

    @property
    def response(self) -> str:
        """The proof itself."""
        return self.parameters.get("response", "").lower()


def parse_authorization(value: str) -> BasicAnswer | DigestAnswer | None:
    """What an ``Authorization`` header says; ``None`` for one that cannot be read."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            user, colon, secret = b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
        except ValueError:
            return None
        return BasicAnswer(user, secret) if colon else None
    if scheme.lower() == "digest":
        parameters = {
            found[1].lower(): found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
            for found in _PARAMETER.finditer(rest)
        }
        return DigestAnswer(parameters["username"], parameters) if "username" in parameters else None
    return None


def digest_secret(user: str, secret: str) -> str:
    """What takes the place of a user's secret in the calculation, HA1 (RFC 7616 §3.4.2)."""
    return _md5(f"{user}:{REALM}:{secret}")


class DigestChallenger:
    """The challenges of one connection."""

    def __init__(self) -> None:
        self._nonce = secrets.token_hex(16)

    def challenge(self, *, is_stale: bool = False) -> str:
        """The value of a ``WWW-Authenticate`` header; ``is_stale`` by rule 4."""
        return f'Digest realm="{REALM}", nonce="{self._nonce}"{", stale=TRUE" if is_stale else ""}'

    def is_stale(self, answer: DigestAnswer) -> bool:
        """Rule 4."""
        return answer.parameters.get("nonce") != self._nonce

    def is_right(self, answer: DigestAnswer, method: str, uri: str, user_secret: str) -> bool:
        """Whether the answer proves ``user_secret`` (:func:`digest_secret`) for this request."""
        given = answer.parameters
        if given.get("nonce") != self._nonce or given.get("realm") != REALM:
            return False
        proven = given.get("uri", "")
        if not _leads_to(proven, uri) or given.get("algorithm", "MD5").upper() != "MD5" or "qop" in given:
            return False
        request = _md5(f"{method}:{proven}")
        wanted = _md5(f"{user_secret}:{self._nonce}:{request}")
        return hmac.compare_digest(wanted.encode(), answer.response.encode(errors="replace"))


def _leads_to(proven: str, uri: str) -> bool:
    """Whether an address is that of a request, or of the stream that the request's track is in (rule 3)."""
    if proven == uri:
        return True
    try:
        of_answer, of_request = (urlsplit(each).path.rstrip("/") for each in (proven, uri))
    except ValueError:
        return False
    return bool(of_answer) and f"{of_request}/".startswith(f"{of_answer}/")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
