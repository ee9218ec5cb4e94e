"""MeasuredStart: the first packets of a live playlist, kept until its target durations are known."""

from gateway.media import Packet
from hls.mp4.audio import fmp4_audio
from hls.parts.run_sound import SOUND_WAIT_90K
from hls.parts.target_duration import FEW_FRAMES, STILL_90K, TargetDurationProbe, TargetDurations

PROBE_MAX_BYTES = 32 * 1024 * 1024
"""The probe begins again if a stream has no second keyframe within this many bytes."""


class MeasuredStart:
    """See the module. ``longest_gop_90k`` is the longest GOP that the camera had before."""

    def __init__(self, longest_gop_90k: int) -> None:
        self._longest_gop_90k = longest_gop_90k
        self._probe: TargetDurationProbe | None = None
        self._packets: list[Packet] = []
        self._bytes = 0
        self._targets: TargetDurations | None = None
        self._has_changed = False
        """Whether the stream of this run has changed while it was measured."""
        self._dropped = 0

    @property
    def is_guess(self) -> bool:
        """Whether the target duration was chosen without knowing a GOP."""
        return self._probe is not None and self._probe.is_guess

    def feed(self, packet: Packet, *, is_awaited: bool) -> TargetDurations | None:
        """Take the next packet. Returns the durations once they are known, and sound need not be waited for."""
        first = self._packets[0] if self._packets else packet
        is_change = packet.info != first.info and not self._has_changed
        if packet.run != first.run or is_change or self._bytes > PROBE_MAX_BYTES:
            # The second change is taken for a habit.
            self._has_changed = is_change
            self._dropped += sum(each.is_video for each in self._packets)
            self._probe, self._packets, self._bytes = None, [], 0
            self._targets = None
        if self._probe is None:
            if not (packet.is_video and packet.is_keyframe):
                self._dropped += packet.is_video
                return None
            self._probe = TargetDurationProbe(self._longest_gop_90k)
        self._packets.append(packet)
        self._bytes += len(packet.data)
        if self._targets is None and packet.is_video:
            self._targets = self._probe.add(packet, is_awaited=is_awaited or self._bytes > PROBE_MAX_BYTES // 2)
        return None if self._targets is None or self._waits_for_sound() else self._targets

    def take(self) -> list[Packet]:
        """The packets, which are not kept any more.

        Stills may begin with wrong timestamps, until their clock is measured: the last two of them are taken.
        """
        packets, self._packets = self._packets, []
        video = [each for each in packets if each.is_video]
        longest_90k = video[-1].dts_90k - video[-2].dts_90k if len(video) > 2 else 0
        if longest_90k >= STILL_90K and len(video) <= FEW_FRAMES + 1 and all(each.is_keyframe for each in video):
            first_step_90k = video[1].dts_90k - video[0].dts_90k
            if first_step_90k * 10 < longest_90k:
                self._dropped += len(video) - 2
                packets = packets[packets.index(video[-2]) :]
        return packets

    def take_dropped(self) -> int:
        """How many frames were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _waits_for_sound(self) -> bool:
        """Whether the first part may still get the sound that is declared."""
        newest = self._packets[-1]
        lasts_90k = newest.dts_90k - self._packets[0].dts_90k
        is_silent = all(each.is_video for each in self._packets)
        return is_silent and lasts_90k < SOUND_WAIT_90K and fmp4_audio(newest.info.audio) is not None
