"""PacketRules: checks that an engine follows the rules of :mod:`gateway.media`, which every consumer relies on.

An engine may be third-party code, and a muxer does not recover from time that runs backwards. A run that breaks a rule
is ended with a message that names it. The next run begins anew.
"""

from gateway.clock import CLOCK_RATE
from gateway.errors import CaptureError
from gateway.media import MediaKind, Packet

STEP_MAX_90K = 3600 * CLOCK_RATE
"""Largest step between two packets. ``CAPTURE_TIMEOUT`` is ten minutes at most, so that no run is silent for longer."""


class PacketRules:
    """One run's packets. ``run`` is the number that they have to carry."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._last_dts_90k: dict[MediaKind, int] = {}

    def check(self, packet: Packet) -> None:
        """Raises :class:`~gateway.errors.CaptureError` for a packet that breaks a rule."""
        last_90k = self._last_dts_90k.get(packet.kind)
        if packet.run != self._run:
            raise _broken(packet, f"it belongs to run {packet.run}, and this is run {self._run}")
        if last_90k is None and packet.is_video and not packet.is_keyframe:
            raise _broken(packet, "the first one of a run is no keyframe")
        if last_90k is not None and packet.dts_90k <= last_90k:
            raise _broken(packet, f"its dts is {packet.dts_90k} after {last_90k}")
        if last_90k is not None and packet.dts_90k > last_90k + STEP_MAX_90K:
            raise _broken(packet, f"its dts is {packet.dts_90k} after {last_90k}, which is more than an hour")
        if packet.pts_90k < packet.dts_90k:
            raise _broken(packet, f"its pts {packet.pts_90k} is before its dts {packet.dts_90k}")
        self._last_dts_90k[packet.kind] = packet.dts_90k


def _broken(packet: Packet, why: str) -> CaptureError:
    return CaptureError(f"the capture engine sent an invalid {packet.kind} packet: {why}; see gateway/media.py")
