"""Static bearer tokens: ``AUTH_TOKEN`` and the file's ``[auth.tokens.NAME]``.

Only hashes are kept. A look-up compares all hashes, each in constant time, so that its duration does not depend on the
token.
"""

import hashlib
import hmac

from gateway.access import Scope
from web.auth.grant import Grant
from web.auth.settings import AuthSettings

ADMIN_NAME = "admin"
"""The name of the grant of ``AUTH_TOKEN``."""


class StaticTokens:
    """See the module."""

    def __init__(self, settings: AuthSettings) -> None:
        self._grants: list[tuple[bytes, Grant]] = []
        if settings.auth_token is not None:
            grant = Grant(ADMIN_NAME, frozenset({Scope.ADMIN}))
            self._grants.append((_digest(settings.auth_token.get_secret_value()), grant))
        for name, table in settings.auth.tokens.items():
            cameras = None if table.cameras is None else frozenset(table.cameras)
            if table.token is not None:
                digest = _digest(table.token.get_secret_value())
            else:
                digest = bytes.fromhex(table.token_sha256 or "")
            self._grants.append((digest, Grant(f"token {name}", frozenset(table.scopes), cameras)))

    @property
    def grants(self) -> list[Grant]:
        """Those of all tokens, ``AUTH_TOKEN`` first."""
        return [grant for _, grant in self._grants]

    def find(self, token: str) -> Grant | None:
        """The grant of a token; ``None`` for an unknown one."""
        digest = _digest(token)
        found = None
        for known, grant in self._grants:
            if hmac.compare_digest(known, digest):
                found = grant
        return found

    def named(self, name: str) -> Grant | None:
        """The grant with a name, to check what was derived from it earlier."""
        return next((grant for _, grant in self._grants if grant.name == name), None)

    def digest_of(self, name: str) -> bytes | None:
        """The hash of the token with a name."""
        return next((digest for digest, grant in self._grants if grant.name == name), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
