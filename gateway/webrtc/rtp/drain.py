"""Drain: nothing is sent until the queue of a link that has suddenly become narrow is empty.

What is sent into a full queue is lost, or arrives after all that stands in it. To wait costs nothing, then: the first
picture comes as early, and those after it are not late.

The queue is empty when the viewer has told of all packets that were sent, or when it has told of no further one for
``SILENCE_S``: the newest ones are lost.
"""

from gateway.webrtc.rtp.transport_sequence import PacketLog

SILENCE_S = 0.15
"""Two intervals of Chromium's feedback, at the rate of a narrow link."""


class Drain:
    """Of one viewer, begun at ``now`` (monotonic seconds)."""

    __slots__ = ("_end_sequence", "_log", "_progress_s", "_reported")

    def __init__(self, log: PacketLog, now: float) -> None:
        self._log = log
        self._end_sequence = log.next_sequence
        self._reported = log.reported_sequence
        self._progress_s = now

    def is_over(self, now: float) -> bool:
        """Whether the queue is empty."""
        reported = self._log.reported_sequence
        if reported != self._reported:
            self._reported, self._progress_s = reported, now
        return reported >= self._end_sequence or now - self._progress_s >= SILENCE_S
