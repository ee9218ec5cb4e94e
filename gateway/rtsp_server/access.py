"""Access: who a client of the RTSP server is, and what it may see. :mod:`web.auth.rtsp_access` implements it."""

from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from gateway.errors import LiveedgeError


class ClientAccess(Protocol):
    """A client whose credential was verified."""

    def require_view(self, camera_id: str) -> None:
        """Raise :class:`~gateway.errors.ForbiddenError` unless it may watch the camera."""
        ...

    def require_publish(self, camera_id: str) -> None:
        """Raise :class:`~gateway.errors.ForbiddenError` unless it may publish the camera."""
        ...

    def on_revoke(
        self, callback: Callable[[LiveedgeError], None], camera_id: str, *, publishes: bool = False
    ) -> Callable[[], None]:
        """Call ``callback`` once it may not do that any more. Returns a function that ends this."""
        ...


class Access(Protocol):
    """All methods raise :class:`~gateway.errors.UnauthorizedError` for wrong credentials, after a delay."""

    @property
    def is_required(self) -> bool:
        """Whether clients need credentials."""
        ...

    def digest_tokens(self, user: str) -> Sequence[str]:
        """The tokens that a user may prove by Digest: the one with that name, or else all.

        Only those that are known themselves, and not by their hash. Empty where no token is.
        """
        ...

    async def anonymous(self, address: str) -> ClientAccess:
        """The access of a client without credentials."""
        ...

    async def by_token(self, token: str, address: str) -> ClientAccess:
        """The access of a client that sent a token."""
        ...

    async def refuse(self, proof: str, address: str) -> NoReturn:
        """Refuse a client whose ``proof`` by Digest is that of no token."""
        ...
