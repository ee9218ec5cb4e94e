"""What the roof knows of whoever connects, as the doors below need it: no more than these three things."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.access import Authorize


@dataclass(frozen=True, slots=True)
class Access:
    """One connection's rights. ``expires_in_s`` is when it ends; ``None`` is never."""

    authorize: Authorize
    may_view: Callable[[str], bool]
    expires_in_s: float | None = None


Admit = Callable[[web.Request, object], Awaitable[Access]]
"""Who is it: the request that connects, and Socket.IO's ``auth`` as it came. Raises ``UnauthorizedError``."""


def _nothing_asked(_event: str, _camera_id: str | None) -> None:
    return


def _all_shown(_camera_id: str) -> bool:
    return True


UNGUARDED = Access(_nothing_asked, _all_shown)
"""Where nobody guards the door."""
