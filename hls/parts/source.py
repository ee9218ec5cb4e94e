"""RecordedParts: one camera's parts for its recording. They are those of the live window, which are made once.

Theory of operation. The live window's segmenter cannot be used at all times. It begins when the target durations are
known, a GOP after the camera's first frame; it is replaced with the window; and it waits for a keyframe after a jump of
the camera's clock. Meanwhile a segmenter of this object's own makes the parts. The live window's takes over with the
next keyframe that begins one of its parts, so that every frame is in one part. Until then frames become parts twice.

Rules:

1. The samples of a part are passed on as soon as it is complete.
2. Without a live window (:class:`HubParts`), this object makes all parts.
3. Video that MP4 is not used for (:data:`~hls.mp4.fragments.VIDEO_CODECS`) makes no parts.
4. A camera's sound is in its parts from the first frame of a run on, if the same sound was heard in an earlier run.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.clock import Clock, seconds_90k
from gateway.hub import PacketHub
from gateway.media import AudioInfo, Packet
from hls.mp4.fragments import VIDEO_CODECS
from hls.parts.part import PartSamples
from hls.parts.segmenter import Segmenter
from hls.parts.target_duration import LONG_GOP_TARGET_S, PART_DURATION_S, PART_MARGIN, TargetDurations

OWN_TARGETS = TargetDurations(seconds_90k(PART_DURATION_S * PART_MARGIN), LONG_GOP_TARGET_S)
"""Of parts that no playlist has."""
SamplesSink = Callable[[PartSamples], None]


class PartSource(Protocol):
    """What a recording needs from a camera."""

    def attach(self, sink: SamplesSink) -> Callable[[], None]:
        """Give ``sink`` the parts of the current GOP and all later ones. Returns a function that ends it.

        There is one sink at a time. It must not block.
        """
        ...

    def end_run(self) -> None:
        """The camera is lost: complete the open part."""
        ...

    def open_samples(self) -> PartSamples | None:
        """The frames that no part has yet."""
        ...


class RecordedParts:
    """See the module. ``now_s`` is monotonic time in seconds."""

    def __init__(self) -> None:
        self._sink: SamplesSink | None = None
        self._own: Segmenter | None = None
        self._live: Segmenter | None = None
        """What makes the parts, if it is the live window's."""
        self._heard: AudioInfo | None = None

    @property
    def has_sink(self) -> bool:
        """Whether the camera is recorded."""
        return self._sink is not None

    def attach(self, sink: SamplesSink, gop: Sequence[Packet], now_s: float) -> Callable[[], None]:
        """Give ``sink`` the parts of ``gop``, the camera's packets so far, and all later ones."""
        self._sink = sink
        for packet in gop:
            self.feed(packet, now_s)

        def detach() -> None:
            if self._live is not None:
                self._live.on_samples = None
            self._sink = self._own = self._live = None

        return detach

    def feed(self, packet: Packet, now_s: float, live: Segmenter | None = None) -> None:
        """Take the camera's next packet, after ``live``, the live window's segmenter, has taken it."""
        if packet.info.video.codec not in VIDEO_CODECS:
            return
        if not packet.is_video:
            self._heard = packet.info.audio
        if self._sink is None:
            return
        if self._live is not None:
            if self._live is live and (live.is_running or not packet.is_video):
                return
            self._live.end_run(packet)
            self._live.on_samples = None
            self._live = None
        if live is not None and live.begins_with(packet):
            self._take_over(live, packet)
        else:
            self._feed_own(packet, now_s)

    def end_run(self) -> None:
        """Complete the open part, if this object makes it."""
        if self._own is not None:
            self._own.end_run()

    def open_samples(self) -> PartSamples | None:
        """The frames that no part has yet."""
        segmenter = self._live or self._own
        return segmenter.open_samples() if segmenter is not None else None

    def _take_over(self, live: Segmenter, packet: Packet) -> None:
        if self._own is not None:
            self._own.end_run(packet)
        self._own, self._live = None, live
        live.on_samples = self._sink

    def _feed_own(self, packet: Packet, now_s: float) -> None:
        if self._own is None:
            # It joins where the live window's segmenter stopped.
            self._own = Segmenter(OWN_TARGETS, for_recording=True, sound_may_wait=lambda: True)
            self._own.on_samples = self._sink
        if packet.is_video and packet.info.audio is not None and packet.info.audio == self._heard:
            self._own.has_audio = True
        self._own.feed(packet, now_s)
        self._own.take_events()


class HubParts:
    """A :class:`PartSource` of a hub alone, for a camera without a live window."""

    def __init__(self, hub: PacketHub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._parts = RecordedParts()

    def attach(self, sink: SamplesSink) -> Callable[[], None]:
        detach_parts = self._parts.attach(sink, self._hub.gop, self._clock.monotonic())
        detach_hub = self._hub.attach(lambda packet: self._parts.feed(packet, self._clock.monotonic()), replay=False)

        def detach() -> None:
            detach_hub()
            detach_parts()

        return detach

    def end_run(self) -> None:
        self._parts.end_run()

    def open_samples(self) -> PartSamples | None:
        return self._parts.open_samples()
