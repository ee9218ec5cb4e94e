"""ClientAuthentication: the credentials of one RTSP connection.

Rules:

1. The password is a token. The user is its name, or anything that is no token's name.
2. Digest and Basic are offered, and Basic alone where Digest can prove no token: it needs the token itself, and not
   its hash. A JWT needs Basic, too.
3. What was accepted once stays with the connection; a request that brings credentials is checked by them.
"""

from gateway.errors import UnauthorizedError
from gateway.rtsp.messages import Request
from gateway.rtsp.server_auth import (
    BASIC_CHALLENGE,
    BasicAnswer,
    DigestAnswer,
    DigestChallenger,
    digest_secret,
    parse_authorization,
)
from gateway.rtsp_server.access import Access, ClientAccess


class ClientAuthentication:
    """See the module. ``address`` is the client's."""

    def __init__(self, access: Access, address: str) -> None:
        self._access = access
        self._address = address
        self._digest = DigestChallenger()
        self._accepted: ClientAccess | None = None
        self._is_stale = False
        """Whether the last answer was to a nonce of another connection."""

    @property
    def challenges(self) -> tuple[tuple[str, str], ...]:
        """The headers of a 401."""
        digest = [self._digest.challenge(is_stale=self._is_stale)] if self._access.digest_tokens("") else []
        return tuple(("WWW-Authenticate", value) for value in [*digest, BASIC_CHALLENGE])

    async def verify(self, request: Request) -> ClientAccess:
        """Who sends a request. Raises :class:`~gateway.errors.UnauthorizedError`, for a wrong answer after a delay."""
        header = request.headers.get("Authorization") if self._access.is_required else None
        if header is None and self._accepted is not None:
            return self._accepted
        accepted = await self._of(header, request)
        self._accepted = accepted
        return accepted

    async def _of(self, header: str | None, request: Request) -> ClientAccess:
        answer = parse_authorization(header) if header is not None else None
        self._is_stale = isinstance(answer, DigestAnswer) and self._digest.is_stale(answer)
        if isinstance(answer, BasicAnswer):
            return await self._access.by_token(answer.secret, self._address)
        if isinstance(answer, DigestAnswer):
            if self._is_stale:
                raise UnauthorizedError("this answer is to the nonce of another connection")
            for token in self._access.digest_tokens(answer.user):
                if self._digest.is_right(answer, request.method, request.uri, digest_secret(answer.user, token)):
                    return await self._access.by_token(token, self._address)
            await self._access.refuse(answer.response, self._address)
        return await self._access.anonymous(self._address)
