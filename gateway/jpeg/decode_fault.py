"""DecodeFault: whether the pictures of a stream cannot be decoded any more. Sans-IO; times are monotonic seconds.

Single packets that cannot be decoded are usual: a picture is missing. A stream of which nothing can be decoded for
:data:`AFTER_S` is a fault that somebody has to hear of: packets come, so the camera is live, and no picture does.
"""

AFTER_S = 5.0
"""Two of the usual GOPs: the next keyframe repairs what a lost packet has broken."""


class DecodeFault:
    """See the module. ``is_present`` is whether there is a fault."""

    def __init__(self) -> None:
        self.is_present = False
        self._since_s: float | None = None

    def reset(self) -> bool:
        """Nothing is decoded any more, or something was. Returns whether a fault has ended."""
        was_present, self.is_present = self.is_present, False
        self._since_s = None
        return was_present

    def failed(self, now_s: float) -> bool:
        """Packets gave no picture, some of them with an error. Returns whether this is a fault from now on."""
        if self._since_s is None:
            self._since_s = now_s
        if self.is_present or now_s - self._since_s < AFTER_S:
            return False
        self.is_present = True
        return True
