"""Conditional requests (RFC 9110 §13) for a file with an ETag, and perhaps a date.

The precedence is that of §13.2.2: If-Match, or else If-Unmodified-Since; If-None-Match, or else If-Modified-Since; at
last, If-Range.
"""

from datetime import datetime

from aiohttp import hdrs, web

from gateway.clock import CLOCK_RATE, Clock
from web.api.entity_tags import is_listed

STRONG_AFTER_S = 1
"""A date is a strong validator if it is at least this much older than now: the file cannot have changed twice within
that second (§8.8.2.2)."""


def unmet_status(request: web.Request, etag: str, modified_s: int | None) -> int | None:
    """304 or 412 for a GET or HEAD whose preconditions say so; ``None`` for one that is to be answered.

    ``etag`` is in quotes; ``modified_s`` is in Unix seconds.
    """
    value = etag.strip('"')
    if any(wanted := request.headers.getall(hdrs.IF_MATCH, ())):
        if not is_listed(wanted, value, is_weak_allowed=False):
            return 412
    elif modified_s is not None and _is_after(modified_s, request.if_unmodified_since):
        return 412
    if any(known := request.headers.getall(hdrs.IF_NONE_MATCH, ())):
        return 304 if is_listed(known, value, is_weak_allowed=True) else None
    since = request.if_modified_since
    return 304 if modified_s is not None and since is not None and not _is_after(modified_s, since) else None


def is_range_current(request: web.Request, etag: str, modified_s: int | None, clock: Clock) -> bool:
    """Whether If-Range, if there is one, names this version of the file by a strong comparison (§13.1.5)."""
    condition = request.headers.get(hdrs.IF_RANGE)
    if condition is None:
        return True
    if '"' in condition:
        return condition.strip() == etag  # a weak one begins with W/, and is never equal
    date = request.if_range
    if date is None or modified_s is None or int(date.timestamp()) != modified_s:
        return False
    return clock.wall_90k() // CLOCK_RATE >= modified_s + STRONG_AFTER_S


def _is_after(modified_s: int, date: datetime | None) -> bool:
    return date is not None and modified_s > date.timestamp()
