"""FirstFlight: how much a new viewer is sent before it has told that it arrives.

Nothing is known of a new viewer's network. A whole GOP of 4 Mbit/s, sent at once, fills the queue of a narrow link for
as long as that queue is: a second with a good router, half a minute with a bad one. So no more than ``FLIGHT_BYTES``
are under way until the first transport-wide feedback about them, or a pace of the viewer's own
(:mod:`gateway.webrtc.bandwidth`). This is TCP's initial window (RFC 6928), with a keyframe's size. A viewer without
such feedback is sent all at once.
"""

from gateway.webrtc.rtp.transport_sequence import PacketLog

FLIGHT_BYTES = 80 * 1024
"""Most keyframes of 4 Mbit/s: the first picture does not wait."""

FLIGHT_MAX_S = 0.4
"""Round trip and the receiver's interval of 0.05 to 0.25 s. Who says nothing for longer says nothing at all."""


class FirstFlight:
    """Of one viewer. ``log`` is ``None`` if transport-wide feedback was not negotiated."""

    __slots__ = ("_began_s", "_end_sequence", "_log")

    def __init__(self, log: PacketLog | None) -> None:
        self._log = log
        """``None``: the flight is over."""
        self._began_s: float | None = None
        self._end_sequence: int | None = None
        """The number after its last packet."""

    def end(self) -> None:
        """More is known now."""
        self._log = None

    def may_send(self, now: float) -> bool:
        """Whether more may be sent. ``now`` is monotonic seconds."""
        log = self._log
        if log is None:
            return True
        if self._began_s is None:
            self._began_s = now
        if self._end_sequence is None and log.bytes_sent >= FLIGHT_BYTES:
            self._end_sequence = log.next_sequence
        is_told = self._end_sequence is not None and log.reported_sequence >= self._end_sequence
        if is_told or now - self._began_s > FLIGHT_MAX_S:
            self._log = None
            return True
        return self._end_sequence is None
