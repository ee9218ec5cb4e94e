"""Times in requests."""

from datetime import UTC, datetime

Time = datetime | float | str
"""A ``datetime`` with a zone, Unix seconds, or a text: RFC 3339, or ``now``."""


def time_text(time: Time) -> str:
    """A time as the gateway takes it. Raises ``ValueError`` for a ``datetime`` without a zone."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError(f"{time!r} has no time zone: use datetime.now(UTC), or .astimezone() for a local time")
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return time if isinstance(time, str) else repr(float(time))
