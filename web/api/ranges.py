"""Byte ranges of a ``Range`` header (RFC 9110 §14). Without I/O.

Rules:

1. A unit other than ``bytes`` is ignored (§14.2), and so are more than :data:`RANGES_MAX` ranges: the answer is then
   the whole file, which costs no more than without the header.
2. Ranges that overlap or touch are joined (§15.3.7.2), so an answer is never longer than the file and a few headers.
   Others stay in the order of the request.
3. Ranges that are invalid, or all beyond the end, cannot be satisfied (§14.1.1, §15.5.17).
"""

import re

RANGES_MAX = 64
"""More than a player or a PDF viewer asks for at once. What has more is an attack, or is better off with the file."""

Range = tuple[int, int]
"""The bytes [from, to)."""

_SPEC = re.compile(r"(\d*)-(\d*)", re.ASCII)

_DIGITS_MAX = 18
"""Longer numbers are beyond every file; converting thousands of digits would be work, or an error."""


class UnsatisfiableError(Exception):
    """416: rule 3."""


def parse_range(value: str, length: int) -> list[Range] | None:
    """The ranges of a file of ``length`` bytes, not empty; ``None`` for a header that is ignored.

    Raises :class:`UnsatisfiableError`.
    """
    unit, equals, listed = value.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    specs = [spec.strip(" \t") for spec in listed.split(",")]
    specs = [spec for spec in specs if spec]
    if len(specs) > RANGES_MAX:
        return None
    ranges = [_resolve(spec, length) for spec in specs]
    satisfiable = _joined([each for each in ranges if each is not None])
    if not satisfiable:
        raise UnsatisfiableError
    return satisfiable


def _resolve(spec: str, length: int) -> Range | None:
    """The bytes of one range; ``None`` if it begins beyond the end. Raises :class:`UnsatisfiableError`."""
    match = _SPEC.fullmatch(spec)
    if match is None or spec == "-":
        raise UnsatisfiableError
    first, last = (_number(digits) for digits in match.groups())
    if first is None:
        # The last bytes. The pattern leaves no other case than that `last` is a number.
        start, end = max(0, length - (last or 0)), length
    elif last is not None and last < first:
        raise UnsatisfiableError
    else:
        start, end = first, length if last is None else min(last + 1, length)
    return (start, end) if start < end else None


def _number(digits: str) -> int | None:
    if not digits:
        return None
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _DIGITS_MAX else 10**_DIGITS_MAX


def _joined(ranges: list[Range]) -> list[Range]:
    """Rule 2."""
    joined: list[Range] = []
    for start, end in ranges:
        touching = [each for each in joined if each[0] <= end and start <= each[1]]
        whole = (min([start, *(each[0] for each in touching)]), max([end, *(each[1] for each in touching)]))
        if not touching:
            joined.append(whole)
            continue
        place = joined.index(touching[0])
        joined[place] = whole
        joined = [each for number, each in enumerate(joined) if number == place or each not in touching]
    return joined


def within(ranges: list[Range], window: Range) -> list[Range]:
    """What of the ranges is in a window: an answer may have less than was asked for (§15.3.7)."""
    cut = [(max(start, window[0]), min(end, window[1])) for start, end in ranges]
    return [(start, end) for start, end in cut if start < end]
