"""Times in requests."""

from datetime import UTC, datetime

from liveedge_client.errors import InvalidArgumentError

Time = datetime | float | str
"""A ``datetime`` with a zone, Unix seconds, or a text: RFC 3339, or ``now``."""


def time_text(time: Time) -> str:
    """A time as the gateway takes it. Raises :class:`InvalidArgumentError` for a ``datetime`` without a zone."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise InvalidArgumentError(
                f"{time!r} has no time zone: use datetime.now(UTC), or .astimezone() for a local time"
            )
        try:
            return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except OverflowError:
            raise InvalidArgumentError(f"{time!r} has no year in UTC") from None
    return time if isinstance(time, str) else repr(float(time))
