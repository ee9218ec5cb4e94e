"""KnownTokens: the tokens of the settings and those that were issued, as one table."""

from gateway.clock import Clock
from web.auth.grant import Grant
from web.auth.issued_tokens import IssuedTokens
from web.auth.tokens import StaticTokens


class KnownTokens:
    """See the module. Those of the settings come first.

    ``used_90k``: when each token of the settings was used last since the start, by the name of its grant.
    """

    def __init__(self, static: StaticTokens, issued: IssuedTokens, used_90k: dict[str, int], clock: Clock) -> None:
        self.static = static
        self.used_90k = used_90k
        self._issued = issued
        self._clock = clock

    def find(self, token: str) -> Grant | None:
        """The grant of a token; ``None`` for an unknown one. Raises :class:`~web.auth.grant.ExpiredError`."""
        grant = self.static.find(token)
        if grant is None:
            return self._issued.find(token)
        self.used_90k[grant.name] = self._clock.wall_90k()
        return grant

    def named(self, name: str) -> Grant | None:
        """The grant with a name, to check what was derived from it earlier."""
        return self.static.named(name) or self._issued.named(name)

    def digest_of(self, name: str) -> bytes | None:
        """The hash of the token with a name."""
        return self.static.digest_of(name) or self._issued.digest_of(name)
