"""SendLimit: the rate that a viewer's video is limited to, from the estimate of its bandwidth.

A limit leaves out pictures (:mod:`gateway.webrtc.rtp.video_sender`), which is the last resort: it is for a viewer whose
network carries less than the smallest rendition, or until another rendition's keyframe is there.

Rules:

1. A limit begins when the estimate is below the stream's rate, and packets are lost or late, or the network has just
   become much narrower. An estimate alone is not enough: it may be too low, and nothing is gained by leaving out
   pictures that arrive.
2. The limit follows the estimate, less the share of audio and headers.
3. It ends when the estimate is above the stream's rate, or there is no estimate.
4. ``now`` does not occur here. Nothing waits or sends.
"""

OVERHEAD = 1.07
"""Bits on the wire for each bit of payload: headers, SRTP's tag, audio."""

BEGIN_SHARE = 0.8
"""Of the stream's rate. After congestion the estimate is 85 % of what the network carries."""

END_SHARE = 1.0
WANTED_SHARE = 1.2

OTHER_STREAM_SHARE = 0.7
"""A stream of so much less than the one that was limited is another rendition, and is judged anew."""

LOSS_BAD = 0.10
QUEUE_BAD_S = 0.25

LIMIT_MIN_BYTES_PER_S = 8_000
"""64 kbit/s, a keyframe of 80 KB in ten seconds. With less there is no video, and any network should carry this."""


class SendLimit:
    """The limit of one viewer; see the module's rules."""

    def __init__(self) -> None:
        self.bytes_per_s: int | None = None
        """Of SRTP packets; ``None``: no limit."""
        self.reason: str | None = None
        """Why pictures are left out; ``None`` without a limit."""
        self.limits = 0
        """How often a limit was set."""
        self._limited_bps = 0.0
        """The rate of the stream when the limit began."""

    def update(
        self,
        *,
        estimate_bps: float | None,
        stream_bytes_per_s: float,
        loss: float,
        queue_s: float,
        has_dropped: bool = False,
    ) -> None:
        """Take the present values. ``stream_bytes_per_s`` is what the stream sends; 0 while that is not known.

        ``has_dropped``: the network has just become much narrower (:mod:`gateway.webrtc.bandwidth.backlog`).
        """
        stream_bps = 8 * OVERHEAD * stream_bytes_per_s
        is_limited = self.bytes_per_s is not None and stream_bps >= OTHER_STREAM_SHARE * self._limited_bps
        if estimate_bps is None or (stream_bps and estimate_bps >= END_SHARE * stream_bps):
            self.bytes_per_s = self.reason = None
            return
        if not is_limited:
            is_bad = loss >= LOSS_BAD or queue_s >= QUEUE_BAD_S or has_dropped
            if not is_bad or (stream_bps and estimate_bps >= BEGIN_SHARE * stream_bps):
                self.bytes_per_s = self.reason = None
                return
            self.limits += 1
            self._limited_bps = stream_bps
            signs = [f"{loss:.0%} of the packets are lost"] if loss >= LOSS_BAD else []
            signs += [f"they are {queue_s:.1f} s late"] if queue_s >= QUEUE_BAD_S else []
            signs = signs or ["it carried much more a moment ago"]
            self.reason = f"its network carries about {estimate_bps / 1000:.0f} kbit/s ({', '.join(signs)})"
        self.bytes_per_s = max(LIMIT_MIN_BYTES_PER_S, round(estimate_bps / 8 / OVERHEAD))

    def wanted_bps(self, stream_bytes_per_s: float) -> float | None:
        """The estimate that would end the limit; ``None`` without one."""
        return None if self.bytes_per_s is None else WANTED_SHARE * 8 * OVERHEAD * stream_bytes_per_s
