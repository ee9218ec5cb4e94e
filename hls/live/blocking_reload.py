"""Whether a blocking playlist reload is answered now (rfc8216bis §6.2.5.2)."""

from gateway.clock import to_seconds
from gateway.errors import BadRequestError
from hls.live.segment import LiveSegment


def is_answered(
    msn: int, part: int | None, last: LiveSegment, opened: LiveSegment | None, part_target_90k: int
) -> bool:
    """Whether the playlist has segment ``msn``, or its ``part``. Its newest segment is ``last``, then comes ``opened``.

    Raises :class:`~gateway.errors.BadRequestError` if it is too far ahead.
    """
    open_parts = opened.listed_parts if opened is not None else 0
    if msn > last.msn + 2:
        raise BadRequestError(f"_HLS_msn is {msn}, more than two ahead of the playlist, which is at {last.msn}")
    if part is None:
        return msn <= last.msn
    listed = last.listed_parts
    if msn == last.msn and listed and part >= listed:
        ahead, msn, part = part - listed, msn + 1, 0
    else:
        ahead = part - (open_parts if msn == last.msn + 1 else 0) if msn > last.msn else 0
    part_target_s = to_seconds(part_target_90k)
    limit = 3 / part_target_s if part_target_s < 1 else 3
    if ahead >= limit:
        raise BadRequestError(f"_HLS_part is {ahead} parts ahead of the playlist; the limit is {limit:.0f}")
    return msn <= last.msn or (msn == last.msn + 1 and part < open_parts)
