"""RenditionChooser: which rendition a viewer gets, from its bandwidth, the size of its tile, and what there is.

Theory of operation. A viewer has one :class:`RenditionChooser`. Its owner calls :meth:`RenditionChooser.choose`
whenever an input changes, and at least twice a second while the viewer is connected: a choice may have to wait. The
owner then switches at the chosen rendition's next keyframe, and keeps sending the old one until then::

    chooser = RenditionChooser()
    choice = chooser.choose(
        clock.monotonic(),
        [Rendition("main", 4_000_000, 1920, 1080), Rendition("sub", 250_000, 640, 360)],
        estimate_bps=session.estimate_bps,  # None: not known (yet), so nothing is excluded
        tile=(640, 360),  # device pixels; None: not known
    )
    if choice.rendition.name != sent: ...  # switch at its keyframe; choice.reason says why
    session.set_wanted(choice.wanted_bps)  # probe up to this; None: the viewer could not use more

A viewer that was begun with another rendition than the first choice (the one that has a GOP in memory) needs nothing
more: ``choose`` says which one it should have. A pinned viewer is not asked about.

Rules:

1. The tile sets a ceiling: the smallest rendition that is at least ``TILE_SHARE`` of the tile wide and high. Without a
   tile the largest. A tile that changes by a few pixels changes nothing (``TILE_SHARE_DOWN``).
2. Below the ceiling the largest rendition that the estimate carries is chosen; the smallest one if it carries none.
   What exceeds the estimate even then is left out by the sender (:mod:`gateway.webrtc.rtp.video_sender`).
3. Down for bandwidth after ``DOWN_AFTER_S`` of too low an estimate; at once if it is below ``DOWN_AT_ONCE_SHARE`` of
   the bitrate. Up for the tile at once, as the viewer has asked for it. Down for the tile when that was small for
   ``TILE_DOWN_AFTER_S``: a tile that changes its size again and again keeps the larger rendition.
4. Up for bandwidth after the estimate was ``UP_SHARE`` of the higher bitrate for ``UP_AFTER_S``. If the higher one
   did not last ``RELAPSE_S``, the next wait is twice as long, up to ``UP_AFTER_MAX_S``. One that lasts resets it.
5. ``now`` is monotonic seconds. Nothing here waits or sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

TILE_SHARE = 0.75
"""A picture that is scaled up by a third is hardly worse."""

TILE_SHARE_DOWN = 0.85
"""A smaller rendition is chosen for a smaller tile only if it has this share of it."""

TILE_DOWN_AFTER_S = 2.0
"""Nothing is wrong meanwhile: the picture is larger than it is shown."""

DOWN_AFTER_S = 0.5
"""Two or three feedback messages: one of them may be wrong."""

DOWN_AT_ONCE_SHARE = 0.6

UP_SHARE = 1.15
"""A camera's bitrate varies, and audio and retransmissions need their share."""

UP_AFTER_S = 1.0
UP_AFTER_MAX_S = 60.0

RELAPSE_S = 20.0
"""A link that carries the higher rendition for less than this does not carry it."""

BITS_PER_S_UNKNOWN = 4_000_000
"""Assumed of a rendition whose bitrate is not known: that of a usual main stream."""


@dataclass(slots=True, frozen=True)
class Rendition:
    """One stream of a camera. ``bits_per_s`` is 0 while it is not known; so are ``width`` and ``height``."""

    name: str
    bits_per_s: float
    width: int = 0
    height: int = 0

    @property
    def needed_bps(self) -> float:
        """The bitrate, or what is assumed of it."""
        return self.bits_per_s or BITS_PER_S_UNKNOWN

    @property
    def _order(self) -> tuple[int, float]:
        return self.width * self.height, self.needed_bps


@dataclass(slots=True, frozen=True)
class Choice:
    """What a viewer should have now."""

    rendition: Rendition
    reason: str
    """A clause for status and log, such as ``its network carries about 300 kbit/s``."""
    wanted_bps: float | None
    """The estimate that would give it the best rendition for its tile; ``None`` if it has that one."""


class RenditionChooser:
    """The chooser of one viewer; see the module's rules."""

    def __init__(self) -> None:
        self.switches = 0
        """How often the choice has changed."""
        self._chosen: str | None = None
        self._is_at_ceiling = False
        """Whether the last choice was limited by the tile, not by the estimate."""
        self._small_since_s: float | None = None
        """Since when the tile has been too small for the chosen rendition."""
        self._low_since_s: float | None = None
        """Since when the estimate has been too low for the chosen rendition."""
        self._high_since_s: float | None = None
        """Since when it has been enough for a higher one."""
        self._risen_at_s: float | None = None
        """When a higher one was last chosen because of the estimate."""
        self._up_after_s = UP_AFTER_S

    def choose(
        self,
        now: float,
        renditions: Sequence[Rendition],
        *,
        estimate_bps: float | None,
        tile: tuple[int, int] | None = None,
    ) -> Choice:
        """Choose one of ``renditions``, of which there is at least one, in any order.

        ``tile`` is the width and height in device pixels at which the viewer shows the picture.
        """
        ordered = sorted(renditions, key=lambda each: each._order)
        current = next((place for place, each in enumerate(ordered) if each.name == self._chosen), None)
        ceiling = self._hold(now, _ceiling(ordered, tile, current), current)
        if current is None or current > ceiling:
            place = _carried(ordered[: ceiling + 1], estimate_bps)
            self._low_since_s = self._high_since_s = None
        else:
            place = self._adapt(now, ordered[: ceiling + 1], current, estimate_bps)
        self._is_at_ceiling = place == ceiling
        if ordered[place].name != self._chosen:
            self.switches += self._chosen is not None
            self._chosen = ordered[place].name
        if place < ceiling:
            return Choice(ordered[place], _narrow(estimate_bps), ordered[ceiling].needed_bps * UP_SHARE)
        if ceiling < len(ordered) - 1:
            return Choice(ordered[place], "it is as large as the viewer shows it", None)
        reason = "it is the best there is" if len(ordered) > 1 else "it is the only one"
        return Choice(ordered[place], reason, None)

    def _hold(self, now: float, ceiling: int, current: int | None) -> int:
        """The ceiling, or that of the larger tile of a moment ago (rule 3)."""
        if current is None or current <= ceiling:
            self._small_since_s = None
            return ceiling
        self._small_since_s = now if self._small_since_s is None else self._small_since_s
        if now - self._small_since_s < TILE_DOWN_AFTER_S:
            return current
        self._small_since_s = None
        return ceiling

    def _adapt(self, now: float, ordered: Sequence[Rendition], current: int, estimate_bps: float | None) -> int:
        """The place in ``ordered``, of which the last one is the ceiling."""
        if self._risen_at_s is not None and now - self._risen_at_s >= RELAPSE_S:
            self._risen_at_s, self._up_after_s = None, UP_AFTER_S
        needed = ordered[current].needed_bps
        if current and estimate_bps is not None and estimate_bps < needed:
            self._high_since_s = None
            self._low_since_s = now if self._low_since_s is None else self._low_since_s
            if estimate_bps >= DOWN_AT_ONCE_SHARE * needed and now - self._low_since_s < DOWN_AFTER_S:
                return current
            self._low_since_s = None
            if self._risen_at_s is not None:
                self._risen_at_s, self._up_after_s = None, min(2 * self._up_after_s, UP_AFTER_MAX_S)
            return _carried(ordered[:current], estimate_bps)
        self._low_since_s = None
        higher = _carried(ordered, None if estimate_bps is None else estimate_bps / UP_SHARE)
        if higher <= current:
            self._high_since_s = None
            return current
        if self._is_at_ceiling:
            # The tile has grown, or a rendition has been added.
            return higher
        self._high_since_s = now if self._high_since_s is None else self._high_since_s
        if now - self._high_since_s < self._up_after_s:
            return current
        self._high_since_s, self._risen_at_s = None, now
        return higher


def _ceiling(ordered: Sequence[Rendition], tile: tuple[int, int] | None, current: int | None) -> int:
    """The place of the smallest rendition that is large enough for the tile."""
    if tile is None:
        return len(ordered) - 1
    for place, each in enumerate(ordered):
        share = TILE_SHARE_DOWN if current is not None and place < current else TILE_SHARE
        if each.width >= share * tile[0] and each.height >= share * tile[1]:
            return place
    return len(ordered) - 1


def _carried(ordered: Sequence[Rendition], estimate_bps: float | None) -> int:
    """The place of the largest rendition that the estimate carries; the smallest one if it carries none."""
    if estimate_bps is None:
        return len(ordered) - 1
    return max((place for place, each in enumerate(ordered) if each.needed_bps <= estimate_bps), default=0)


def _narrow(estimate_bps: float | None) -> str:
    if estimate_bps is None:
        return "its network has just become better"
    return f"its network carries about {estimate_bps / 1000:.0f} kbit/s"
