"""SequenceTrust: whether a gap in the sequence numbers of one track is a loss, where packets come in order. Sans-IO.

TCP loses nothing. What is missing there is what the camera did not send, mostly because its buffer was full: then its
numbers are contiguous but for some gaps. Other cameras write numbers that mean nothing, and no picture would be left.

Rules:

1. Of the last :data:`WINDOW` packets (or of all, where there are fewer), at most a third may be irregular: after a gap,
   or not ahead of those before. At most :data:`STEPS_BACK` may not be ahead: an encoder that restarts begins anew.
2. :data:`SHARED_GAPS` gaps in a row that are each as large as what other tracks have received in between are no chance:
   the camera counts the packets of all its tracks together.
3. Numbers that were not right are so again after a gap that follows :data:`TRUSTED_PACKETS` without one.
"""

from collections import deque

WINDOW = 96
STEPS_BACK = 1
SHARED_GAPS = 8
TRUSTED_PACKETS = 1000


class SequenceTrust:
    """See the module."""

    def __init__(self) -> None:
        self._irregular: deque[tuple[int, bool]] = deque(maxlen=WINDOW)
        """The irregular packets of the window: the count of all packets then, and whether it was ahead."""
        self._is_trusted = True
        self._elsewhere = self._shared_gaps = 0

    def are_right(self, missing: int, total: int, elsewhere: int, *, is_ahead: bool) -> bool:
        """Note a packet after a gap of ``missing`` packets, or that is not ahead; whether gaps are losses now.

        ``total`` and ``elsewhere`` are how many packets this track, with this one, and the others have received.
        """
        before, self._elsewhere = self._elsewhere, elsewhere
        if missing:
            self._shared_gaps = self._shared_gaps + 1 if elsewhere - before == missing else 0
        irregular = self._irregular
        since = total - irregular[-1][0] if irregular else total
        irregular.append((total, is_ahead))
        while irregular[0][0] <= total - WINDOW:
            irregular.popleft()
        if not self._is_trusted:
            self._is_trusted = since >= TRUSTED_PACKETS
        else:
            steps_back = sum(not ahead for _, ahead in irregular)
            self._is_trusted = (
                3 * len(irregular) <= min(total, WINDOW)
                and steps_back <= STEPS_BACK
                and self._shared_gaps < SHARED_GAPS
            )
        return self._is_trusted
