"""What the roof knows of whoever connects, as the doors below need it: no more than these three things."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.access import Authorize
from gateway.errors import LiveedgeError

Release = Callable[[], None]

Keep = Callable[[str | None, str | None, Callable[[LiveedgeError], None]], Release]
"""``keep(event, camera_id, end)``: have ``end`` called, with the reason, once this caller may not send this event about
this camera any more; without an event, once they may not be connected. What is returned forgets it again."""


@dataclass(frozen=True, slots=True)
class Access:
    """One connection's rights, as they are whenever they are asked for."""

    authorize: Authorize
    may_view: Callable[[str], bool]
    keep: Keep


Admit = Callable[[web.Request, object], Awaitable[Access]]
"""Who is it: the request that connects, and Socket.IO's ``auth`` as it came. Raises ``UnauthorizedError``."""


def kept_for_good(_event: str | None, _camera_id: str | None, _end: Callable[[LiveedgeError], None]) -> Release:
    """Where nobody's rights end."""
    return lambda: None


def _nothing_asked(_event: str, _camera_id: str | None) -> None:
    return


def _all_shown(_camera_id: str) -> bool:
    return True


UNGUARDED = Access(_nothing_asked, _all_shown, kept_for_good)
"""Where nobody guards the door."""
