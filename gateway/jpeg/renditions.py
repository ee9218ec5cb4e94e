"""Which widths a picture is encoded in, so that viewers cannot multiply the work by asking for ever new ones. Sans-IO.

Rules:

1. A width is never above the source's, and even (4:2:0).
2. The first :data:`CHOSEN_MAX` distinct widths are encoded as they were requested.
3. While there are so many, another width is replaced by the nearest of those and of the *steps*: the source's width, a
   half, a quarter and an eighth of it. The steps are always there, so that nobody can leave others with a bad choice.
4. :data:`QUALITIES_MAX` pictures of a width and another quality than the usual are encoded beside these. Further ones
   have the usual quality.
"""

import math
from collections.abc import Collection

CHOSEN_MAX = 4
"""A wall of cameras and a single view need two."""

STEPS = 4

QUALITIES_MAX = 4
"""A program that asks for a quality of its own asks for one or two."""


def rendition(requested: int | None, source: int, present: Collection[int | None]) -> int | None:
    """The width to encode for ``requested`` pixels; ``None`` is the source's.

    ``source`` is the width of the source, ``present`` are the renditions that are encoded already.
    """
    if requested is None or requested >= source:
        return None
    wanted = max(2, requested - requested % 2)
    steps: list[int | None] = [None, *(_even(source >> step) for step in range(1, STEPS))]
    if wanted in present or wanted in steps or len(set(present) - set(steps)) < CHOSEN_MAX:
        return wanted
    # By ratio: a picture of 22 pixels is no substitute for one of 90.
    return min({*present, *steps}, key=lambda width: abs(math.log((width or source) / wanted)))


def quality(requested: int | None, width: int | None, present: Collection[tuple[int | None, int | None]]) -> int | None:
    """The quality to encode for ``requested`` at a width; ``None`` is the usual.

    ``present`` are the widths and qualities that are encoded already. Rule 4.
    """
    others = {each for each in present if each[1] is not None}
    return requested if (width, requested) in others or len(others) < QUALITIES_MAX else None


def _even(width: int) -> int:
    return max(2, width - width % 2)
