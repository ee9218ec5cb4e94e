"""ICE servers for viewers: the setting ``ICE_SERVERS`` in the form that browsers take (RFC 7064, RFC 7065).

An entry is a URL, ``stun:host:port`` or ``turn:host:port?transport=udp``, where a TURN URL may carry credentials before
the host, as in ``turn:user:password@host``; ``turn:secret@host``, without a colon, is the shared secret of TURN servers
with time-limited credentials (coturn's ``use-auth-secret``, draft-uberti-behave-turn-rest): each viewer gets a user
name that contains the time of expiry, and its HMAC as the password.

The gateway itself uses none of them: it knows its addresses, and an answer must not wait for a third party.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from gateway.clock import CLOCK_RATE
from gateway.errors import SettingsError

CREDENTIALS_LIFETIME_S = 24 * 3600
"""TURN checks them for allocations and refreshes: a viewer must reconnect after a day."""

_SCHEMES = frozenset({"stun", "stuns", "turn", "turns"})


@dataclass(frozen=True, slots=True)
class IceServer:
    """One server for a viewer: an RTCIceServer of the browsers' API."""

    url: str
    username: str | None = None
    credential: str | None = None

    def link(self) -> str:
        """The value of a ``Link`` header (RFC 9725 §4.6)."""
        value = f'<{self.url}>; rel="ice-server"'
        if self.username is not None and self.credential is not None:
            value += f'; username="{_quoted(self.username)}"; credential="{_quoted(self.credential)}"'
            value += '; credential-type="password"'
        return value

    def as_dict(self) -> dict[str, str]:
        """As JSON for ``new RTCPeerConnection({iceServers: […]})``."""
        result = {"urls": self.url}
        if self.username is not None and self.credential is not None:
            result |= {"username": self.username, "credential": self.credential}
        return result


@dataclass(frozen=True, slots=True)
class _Entry:
    url: str
    username: str | None
    password: str | None
    secret: str | None


class IceServers:
    """The parsed setting. Raises :class:`~gateway.errors.SettingsError` for an invalid entry."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = [_entry(entry) for entry in entries]

    def offers(self, wall_90k: int) -> list[IceServer]:
        """The servers for a viewer that joins now, with its credentials."""
        return [_offer(entry, wall_90k) for entry in self._entries]


def _entry(text: str) -> _Entry:
    scheme, colon, rest = text.partition(":")
    rest = rest.removeprefix("//")
    credentials, at, host = rest.rpartition("@")
    if not colon or scheme.lower() not in _SCHEMES or not host:
        # The entry may be a secret, so it is not repeated.
        raise SettingsError("ICE_SERVERS: an entry is not of the form stun:host:port or turn:user:password@host:port")
    is_turn = scheme.lower().startswith("turn")
    if is_turn and not at:
        raise SettingsError("ICE_SERVERS: a TURN entry has no credentials; write turn:user:password@host:port")
    url = f"{scheme.lower()}:{host}"
    if not is_turn:
        return _Entry(url, None, None, None)
    username, colon, password = credentials.partition(":")
    if not colon:
        return _Entry(url, None, None, unquote(credentials))
    return _Entry(url, unquote(username), unquote(password), None)


def _offer(entry: _Entry, wall_90k: int) -> IceServer:
    if entry.secret is None:
        return IceServer(entry.url, entry.username, entry.password)
    username = f"{wall_90k // CLOCK_RATE + CREDENTIALS_LIFETIME_S}:liveedge"
    digest = hmac.new(entry.secret.encode(), username.encode(), hashlib.sha1).digest()
    return IceServer(entry.url, username, base64.b64encode(digest).decode())


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
