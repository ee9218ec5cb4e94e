"""FragmentBorders: which parts make a fragment of a recording."""

from gateway.clock import CLOCK_RATE

FRAGMENT_MAX_90K = 9 * CLOCK_RATE // 20
"""A fragment has one part, or several that are together at most so long; most have two parts of 0.2 s. A crash loses
less than 0.6 s whatever the keyframe interval: a fragment, what waits for the next reading of a camera that nobody
watches (0.1 s), and the time of writing."""


class FragmentBorders:
    """A function of the parts alone, so that all who have the parts find the same borders.

    A fragment begins with each part that begins with a keyframe. It ends where another part as long as the last one
    would make it longer than :data:`FRAGMENT_MAX_90K`.
    """

    def __init__(self) -> None:
        self._duration_90k = 0

    def is_complete(self, duration_90k: int, *, is_keyframe: bool) -> bool:
        """Whether the fragment ends with the next part, which begins with a keyframe or does not."""
        if is_keyframe:
            self._duration_90k = 0
        self._duration_90k += duration_90k
        if self._duration_90k + duration_90k <= FRAGMENT_MAX_90K:
            return False
        self._duration_90k = 0
        return True
