"""Times in requests: RFC 3339 with a zone, Unix seconds, or ``now`` where that makes sense."""

import math
import re
from collections.abc import Mapping
from datetime import datetime

from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError

TIME_HELP = "RFC 3339 with a zone, Unix seconds, or ``now``."

NOW = "now"

# What is smaller than a nanosecond is ignored (RFC 3339 §5.6 has no limit).
_SECONDS = re.compile(r"\d{1,11}(?:\.\d{1,40})?", re.ASCII)

# An unescaped "+" in a query arrives as a space. In this place a space can only be the sign of the zone.
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2}(?:\.\d{1,40})?)([Zz]|[+ -]\d{2}:\d{2})", re.ASCII)


def parse_time(text: str, name: str, now_90k: int | None = None) -> int:
    """A time in 90 kHz ticks since the Unix epoch. ``now`` is allowed if ``now_90k`` is given.

    Raises :class:`~gateway.errors.BadRequestError`, which names the parameter.
    """
    if now_90k is not None and text == NOW:
        return now_90k
    if _SECONDS.fullmatch(text):
        return math.floor(float(text) * CLOCK_RATE + 0.5)
    match = _RFC3339.fullmatch(text)
    if match is not None:
        day, time, zone = match.groups()
        whole, _, fraction = time.partition(".")
        zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
        try:
            seconds = int(datetime.fromisoformat(f"{day}T{whole}{zone}").timestamp())
        except (ValueError, OverflowError):
            pass
        else:
            if seconds >= 0:
                return seconds * CLOCK_RATE + (int(fraction[:9].ljust(9, "0")) * 9 + 50_000) // 100_000
    also = "" if now_90k is None else ", or now"
    raise BadRequestError(
        f"{name}: {text[:40]!r} is not a time: write RFC 3339 with a zone, like 2026-11-22T18:50:00Z,"
        f" or Unix seconds{also}"
    )


def parse_span(query: Mapping[str, str], now_90k: int) -> tuple[int | None, int | None]:
    """``start`` and ``end`` of a query, in 90 kHz ticks; an empty one counts as missing.

    Raises :class:`~gateway.errors.BadRequestError`.
    """
    start, end = query.get("start"), query.get("end")
    start_90k = parse_time(start, "start", now_90k) if start else None
    end_90k = parse_time(end, "end", now_90k) if end else None
    if start_90k is not None and end_90k is not None and end_90k <= start_90k:
        raise BadRequestError("end is not after start")
    return start_90k, end_90k
