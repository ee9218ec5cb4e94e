"""Times as clients write them: RFC 3339 with a zone, Unix seconds, or ``now`` where that can be meant."""

import math
import re
from datetime import datetime

from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError

TIME_HELP = "RFC 3339 with a zone, Unix seconds, or ``now``"

_SECONDS = re.compile(r"\d{1,11}(?:\.\d{1,9})?", re.ASCII)

# An unescaped "+" of a zone reaches us as a space; nothing else can be meant by one there.
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)([Zz]|[+ -]\d{2}:\d{2})", re.ASCII)


def parse_time(text: str, name: str, now_90k: int | None = None) -> int:
    """A moment in 90 kHz ticks since the Unix epoch. ``now`` is allowed where ``now_90k`` is given.

    Raises :class:`~gateway.errors.BadRequestError` that names the parameter.
    """
    if now_90k is not None and text == "now":
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
                return seconds * CLOCK_RATE + (int(fraction.ljust(9, "0")) * 9 + 50_000) // 100_000
    also = "" if now_90k is None else " or now"
    raise BadRequestError(
        f"{name}: {text[:40]!r} is no time; write 2026-11-22T18:50:00Z, the like with a zone, Unix seconds{also}"
    )
