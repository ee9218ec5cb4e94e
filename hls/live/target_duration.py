"""LivePlan: the two durations that a live playlist promises for its whole life, and how they are found.

Theory of operation. EXT-X-TARGETDURATION must never change (rfc8216bis §6.2.1) and the part target is as good as
constant, so both must be right before the first playlist leaves. They depend on the camera: a part is a whole number of
its frames, a segment a whole number of its GOPs. A :class:`PlanProbe` therefore looks at the stream up to its second
keyframe, or for ``PROBE_MAX_S`` where GOPs are longer. A camera that is captured already has been through this long
before a viewer comes; a cold one has its playlist within its first GOP.
"""

import itertools
import math
from dataclasses import dataclass
from statistics import median

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import Packet

PART_AIM_S = 0.2
"""What a part should last: three of them are the distance to the live edge (PART-HOLD-BACK), and shorter ones cost a
request each."""

PART_MARGIN = 1.025
"""Part target over the frames that make a part: room for the jitter of time stamps. Little, since three part targets
are latency; what is beyond it is the cutter's to smooth."""

MIN_SEGMENT_S = 1.0
"""A segment is as many GOPs as it takes to last this long."""

PROBE_MAX_S = 4.0
"""GOPs up to here are measured. A longer one would keep a cold camera's first viewer waiting, and is planned for."""

LONG_GOP_TARGET_S = 12
"""Target duration where the GOP is longer than the probe: 10 s, the longest that cameras commonly offer, with room."""

MAX_TARGET_S = 60
"""Smart codecs stretch GOPs further. Beyond this, segments without a keyframe are better than a window of minutes."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """``part_target_90k``: EXT-X-PART-INF's PART-TARGET. ``target_duration_s``: EXT-X-TARGETDURATION, whole seconds."""

    part_target_90k: int
    target_duration_s: int

    @property
    def part_min_90k(self) -> int:
        """The least that an ordinary part lasts: 85 % of the part target (§4.4.4.9)."""
        return -(-self.part_target_90k * 85 // 100)

    @property
    def target_duration_90k(self) -> int:
        return self.target_duration_s * CLOCK_RATE


class PlanProbe:
    """Looks at the video packets of one run, from a keyframe on, until it knows the plan.

    ``longest_gop_90k`` is what the camera was seen to do before.
    """

    def __init__(self, longest_gop_90k: int = 0) -> None:
        self._dts_90k: list[int] = []
        self._longest_gop_90k = longest_gop_90k

    def add(self, packet: Packet) -> LivePlan | None:
        """Take the next video packet; the plan, once it is known."""
        self._dts_90k.append(packet.dts_90k)
        span_90k = packet.dts_90k - self._dts_90k[0]
        if packet.is_keyframe and span_90k >= seconds_90k(MIN_SEGMENT_S):
            return self._plan(span_90k)
        if span_90k >= seconds_90k(PROBE_MAX_S):
            return self._plan(None)
        return None

    def _plan(self, segment_90k: int | None) -> LivePlan:
        frame_90k = median(after - before for before, after in itertools.pairwise(self._dts_90k))
        frames = max(1, round(seconds_90k(PART_AIM_S) / frame_90k))
        # Whole milliseconds, upwards: the playlist's figure is then the very one that parts are held to.
        part_target_90k = math.ceil(frames * frame_90k * PART_MARGIN / 90) * 90
        # Room for a GOP that a camera stretches by a frame or some, and never less than 2 s: a target duration is the
        # unit of every timeout of the protocol.
        longest_90k = max(segment_90k or 0, self._longest_gop_90k)
        target_s = math.ceil((longest_90k * 1.15 + part_target_90k) / CLOCK_RATE)
        least_s = 2 if segment_90k is not None else LONG_GOP_TARGET_S
        return LivePlan(part_target_90k, min(max(least_s, target_s), MAX_TARGET_S))
