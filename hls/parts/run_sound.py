"""RunSound: the sound of one run of a camera, on the media timeline.

Rules:

1. It is in the init segment only if audio was received, because the init segment promises it, and :mod:`hls.mp4.audio`
   keeps the promise.
2. What is received during the first part of a run begins with that part. What comes later begins with a segment, after
   a discontinuity.
3. A stream whose playlist has a track of sound already, or shall have one because the camera's other stream has sound,
   has silence where it has none itself: players that use a source buffer take no change of the number of tracks. It is
   in the playlist only, and not in the recording.
"""

from collections.abc import Callable, Sequence

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, Packet
from hls.mp4.audio import AudioCounters, AudioTrack, fmp4_audio
from hls.mp4.fragments import Sample
from hls.mp4.silence import silence_like

SOUND_WAIT_90K = 6 * CLOCK_RATE // 5
"""How long the beginning of a run waits for sound that is declared and was never heard, so that it need not begin anew
with sound. Some cameras send a packet of it only every second."""


def can_have_sound(packet: Packet) -> bool:
    """Whether the packet's stream declares sound that MP4 can have."""
    return fmp4_audio(packet.info.audio) is not None


class RunSound:
    """See the module. ``is_heard`` as in :class:`~hls.mp4.audio.AudioTrack`. ``playlist_sound`` is that of the playlist
    so far, and ``wanted_sound`` that of another stream, which this one shall have too; rule 3."""

    def __init__(
        self,
        counters: AudioCounters,
        is_heard: Callable[[], bool],
        playlist_sound: AudioInfo | None = None,
        wanted_sound: Callable[[], AudioInfo | None] = lambda: None,
    ) -> None:
        self.track: AudioTrack | None = None
        """``None`` while there is no sound, and no silence."""
        self.newest: AudioInfo | None = None
        """The stream's own sound, as it is in MP4, that was there last."""
        self.playlist_sound = playlist_sound
        """What the init segments say so far."""
        self._wanted_sound = wanted_sound
        self._counters = counters
        self._is_heard = is_heard
        self._declared: AudioInfo | None = None
        self._start_90k = self._offset_90k = 0

    def begin_run(self, keyframe: Packet, start_90k: int, offset_90k: int, *, is_expected: bool) -> None:
        """The run's first frame is at ``start_90k``, and its packets ``offset_90k`` later than they say."""
        self.track = None
        self._declared = keyframe.info.audio
        self._start_90k, self._offset_90k = start_90k, offset_90k
        if is_expected and can_have_sound(keyframe):
            self._begin()
        elif (like := self.playlist_sound or self._wanted_sound()) is not None:
            self._begin_silence(like)

    def feed(self, packet: Packet, is_opening: bool) -> None:
        """Take a packet of the run. ``is_opening``: its first part is open, so that sound may begin with it."""
        if is_opening and not self.is_own and can_have_sound(packet):
            self._begin()
        if self.track is not None and not self.track.is_silent:
            self.track.feed(packet)

    @property
    def is_own(self) -> bool:
        """Whether there is sound, and not only silence."""
        return self.track is not None and not self.track.is_silent

    @property
    def is_wanted(self) -> bool:
        """Whether there is no track, and there shall be silence from the next keyframe on."""
        wanted = self._wanted_sound() if self.track is None else None
        return wanted is not None and silence_like(wanted.sample_rate_hz, wanted.channels) is not None

    @property
    def is_awaited(self) -> bool:
        """Whether sound is declared and was never heard."""
        return self._declared is not None and self.track is None

    @property
    def info(self) -> AudioInfo | None:
        """What the init segment says of it."""
        return self.track.info if self.track is not None else None

    @property
    def offset(self) -> int:
        """By how much samples are later than their packets say, in samples."""
        return self.track.offset if self.track is not None else 0

    def take(self, until_90k: int, *, may_wait: bool = False) -> Sequence[Sample]:
        """See :meth:`~hls.mp4.audio.AudioTrack.take`."""
        return self.track.take(until_90k, may_wait=may_wait) if self.track is not None else ()

    def waiting(self, until_90k: int) -> Sequence[Sample]:
        """See :meth:`~hls.mp4.audio.AudioTrack.waiting`."""
        return self.track.waiting(until_90k) if self.track is not None else ()

    def _begin(self) -> None:
        if self._declared is not None:
            self.track = AudioTrack(self._declared, self._start_90k, self._offset_90k, self._counters, self._is_heard)
            self.newest = self.playlist_sound = self.track.info

    def _begin_silence(self, like: AudioInfo) -> None:
        silence = silence_like(like.sample_rate_hz, like.channels)
        if silence is not None:
            self.track = AudioTrack(silence.info, self._start_90k, self._offset_90k, self._counters, is_silent=True)
            self.playlist_sound = self.track.info
