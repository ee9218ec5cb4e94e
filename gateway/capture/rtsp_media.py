"""RtspMedia: the media of one RTSP session, from RTP packets to packets by the rules of :mod:`gateway.media`. Sans-IO.

Theory of operation. A packet takes one call: the track's depacketizer appends its payload to the picture, and with the
last packet of a picture (the marker bit) the picture is published. The engine gives the bytes and the time at which
they arrived.

Rules:

1. After a loss, frames are dropped up to the next keyframe, and counted: a frozen picture is right, hardware decoders
   stop at a broken one. Where no intact keyframe comes within :data:`KEYFRAME_WAIT_S`, frames are passed on up to the
   next one, whatever is lost meanwhile. Some cameras send no keyframe (intra refresh). While no frame comes at all, for
   :data:`PAUSE_S` and longer, no keyframe is awaited. H.265 of a camera that sends keyframes waits for
   :data:`SURE_KEYFRAME_WAIT_S`: its decoders conceal nothing.
2. A fault in sound or metadata never costs video: it is logged, and the track is left out for the rest of the session.
3. The format of sound is that in which it comes (:mod:`gateway.capture.rtsp_sound`). Where that is not certain, as
   with all AAC, video waits for the first sound, for :data:`SOUND_WAIT_S` at most, so that the stream begins with its
   right description. Otherwise a stream of another description begins with the next keyframe.
4. Where no keyframe comes for :data:`INTRA_WAIT_S`, although the camera was asked, pictures of I slices alone are taken
   for keyframes, until there is one.
5. Video is of the codec that it shows itself to be until its first keyframe
   (:mod:`gateway.rtsp.depacketize.codec_finder`), whatever the session description says.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

from gateway.capture.counters import CaptureCounters
from gateway.capture.g711_rate import may_be_plain
from gateway.capture.packets import PacketBuilder
from gateway.capture.rtsp_sound import RtspSound
from gateway.capture.rtsp_tracks import PayloadFormat, ReceivedTrack
from gateway.capture.timeline import ArrivalTime, SourceTime
from gateway.clock import Clock, seconds_90k
from gateway.codec.annexb import join
from gateway.media import AudioInfo, Metadata, Packet
from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.audio import SamplesDepacketizer
from gateway.rtsp.depacketize.codec_finder import CodecFinder
from gateway.rtsp.depacketize.metadata import MetadataDepacketizer
from gateway.rtsp.depacketize.nal import NalDepacketizer
from gateway.rtsp.formats import AudioFormat, MetadataFormat, VideoFormat

log = logging.getLogger(__name__)

KEYFRAME_WAIT_S = 12.0
"""How long a keyframe is awaited after a loss, in seconds: longer than the GOP of most cameras."""


SURE_KEYFRAME_WAIT_S = 60.0
"""Rule 1, in seconds."""

PAUSE_S = 2.0
"""Rule 1, in seconds."""

INTRA_WAIT_S = 6.0
"""Rule 4, in seconds: two requests have had time to be answered (:mod:`gateway.capture.keyframe_requests`)."""

SOUND_WAIT_S = 0.3
"""Rule 3, in seconds: cameras send sound every 20 to 250 ms."""

SOUND_WAIT_MAX_BYTES = 8 * 1024 * 1024
"""Of video that waits. Beyond, it does not wait."""


@dataclass(frozen=True, slots=True)
class TrackFormat:
    """A track set up. ``first_timestamp`` and ``first_sequence`` give those of RTP-Info, once they are known; see
    :class:`~gateway.capture.rtsp_tracks.ReceivedTrack`."""

    format: VideoFormat | AudioFormat | MetadataFormat
    first_timestamp: Callable[[], int | None] = field(default=lambda: None)
    first_sequence: Callable[[], int | None] = field(default=lambda: None)


class RtspMedia:
    """See the module. One of the ``formats`` is video; ``tracks`` are in their order."""

    def __init__(
        self,
        formats: Sequence[TrackFormat],
        on_packet: Callable[[Packet], None],
        clock: Clock,
        *,
        run: int = 0,
        camera_id: str = "",
        frame_rate: Fraction | None = None,
        is_reordered: bool = False,
        counters: CaptureCounters | None = None,
        on_metadata: Callable[[Metadata], None] | None = None,
        is_watched: Callable[[], bool] = lambda: True,
    ) -> None:
        """``frame_rate`` is that of the session description. ``is_reordered`` for UDP. ``clock`` is only asked for the
        wall clock: monotonic times are arguments. While ``is_watched`` returns false, sound may wait a little."""
        self.video_at = 0.0
        """When the newest sign of working video came, in monotonic seconds."""
        self.keyframe_at = float("-inf")
        """When the newest keyframe came, in monotonic seconds."""
        self.frames = 0
        """Pictures that came."""
        self.frame_at = 0.0
        """When the newest came, in monotonic seconds."""
        self.step_s = 0.0
        """The time between the latest two, in seconds."""
        self._on_packet = on_packet
        self._clock = clock
        self._camera_id = camera_id
        self.counters = counters if counters is not None else CaptureCounters()
        self._lost_at: float | None = None
        self._since_arrival_90k = 0
        """How long ago the frame came that is passed on, in ticks."""
        self._keyframes = 0
        self._awaited_since: float | None = None
        """Since when there is video, and no keyframe to begin with."""
        self._begins_with_intra = False
        self._on_metadata = on_metadata
        self._run = run
        self._failed: set[int] = set()
        """The tracks that rule 2 has left out."""
        video = next(each.format for each in formats if isinstance(each.format, VideoFormat))
        audio = next((each.format for each in formats if isinstance(each.format, AudioFormat)), None)
        self._codec = video.codec
        self._video_base = Fraction(1, video.clock_rate)
        self._sound = RtspSound(self._take_audio, self.counters, camera_id)
        self._waits_for_sound = audio is not None and not (
            audio.is_certain
            and audio.info.codec != "aac"
            and len(audio.payload_types) == 1
            and not may_be_plain(audio.info)
        )
        self._waiting: list[tuple[Frame, ArrivalTime]] = []
        """Video that waits for the first sound (rule 3), from its first keyframe on."""
        self._builder = PacketBuilder(
            video.codec,
            run,
            parameter_sets=join(*video.parameter_sets),
            frame_rate=frame_rate,
            audio=audio.info if audio is not None else None,
            counters=self.counters,
        )
        self.tracks = [
            ReceivedTrack(
                *self._payload_formats(each.format, is_watched),
                first_timestamp=each.first_timestamp,
                first_sequence=each.first_sequence,
                is_reordered=is_reordered,
            )
            for each in formats
        ]
        for track in self.tracks:
            others = [each for each in self.tracks if each is not track]
            track.received_elsewhere = partial(_received, others)
        self._is_video = [isinstance(each.format, VideoFormat) for each in formats]

    @property
    def has_begun(self) -> bool:
        """Whether there was a keyframe with its parameter sets."""
        return self._builder.info is not None

    @property
    def keyframe_wanted_since(self) -> float | None:
        """Since when a keyframe is awaited, to begin or after a loss; ``None`` while none is."""
        return self._lost_at if self.has_begun else self._awaited_since

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins."""
        return any(each.pictures.is_prompt for each in self._depacketizers() if isinstance(each, NalDepacketizer))

    def count(self) -> None:
        """Bring the counters up to date with what the tracks have counted."""
        self.counters.rtp_packets_lost = sum(track.lost for track in self.tracks)
        self.counters.rtp_packets_invalid = sum(track.invalid for track in self.tracks)
        depacketizers = list(self._depacketizers())
        self.counters.metadata_documents_dropped = sum(
            each.malformed for each in depacketizers if isinstance(each, MetadataDepacketizer)
        )
        self.counters.frames_damaged = sum(
            each.pictures.damaged for each in depacketizers if isinstance(each, NalDepacketizer)
        )

    @property
    def has_ended(self) -> bool:
        """Whether the source of the video has said goodbye."""
        return any(track.has_ended for track, is_video in zip(self.tracks, self._is_video, strict=True) if is_video)

    def receive(self, number: int, packet: memoryview, now: float) -> None:
        """Take an RTP packet of a track; the view is valid during the call only. ``now`` is monotonic."""
        self.receiver(number)(packet, now)

    def receiver(self, number: int) -> Callable[[memoryview, float], None]:
        """:meth:`receive` of one track."""
        return self.tracks[number].receive if self._is_video[number] else partial(self._receive_other, number)

    def _receive_other(self, number: int, packet: memoryview, now: float) -> None:
        """Take a packet of sound or metadata: rule 2."""
        if number in self._failed:
            return
        try:
            self.tracks[number].receive(packet, now)
        except Exception:
            self._failed.add(number)
            log.exception(
                "camera %s: its sound or metadata cannot be read and is left out",
                self._camera_id,
                extra={"camera": self._camera_id},
            )

    def receive_control(self, number: int, packet: memoryview, now: float) -> None:
        """Take an RTCP packet of a track."""
        self.control_receiver(number)(packet, now)

    def control_receiver(self, number: int) -> Callable[[memoryview, float], None]:
        """:meth:`receive_control` of one track."""
        return self.tracks[number].receive_control

    def expire(self, now: float) -> None:
        """Give up on packets that do not come (UDP), and pass on pictures that nothing has followed for a while."""
        for track in self.tracks:
            self._since_arrival_90k = seconds_90k(now - track.heard_at)
            track.expire(now)
        self._since_arrival_90k = 0
        if self._waiting and now - self._waiting[0][1].monotonic >= SOUND_WAIT_S:
            self._end_wait_for_sound()

    def _take_video(self, frame: Frame, now: float) -> None:
        if self._builder.info is None:
            # Before the first keyframe, every picture shows that the camera works.
            self.video_at = now
            if self._awaited_since is None:
                self._awaited_since = now
        frame = self._taken_for_keyframe(frame, now)
        self._keyframes += frame.is_keyframe
        if frame.is_keyframe:
            self._lost_at = None
            self.keyframe_at = now
        elif self._lost_at is not None and now - self.frame_at >= PAUSE_S:
            self._lost_at += now - self.frame_at
        elif frame.follows_loss and self._lost_at is None:
            self._lost_at = now
        self.frames, self.step_s, self.frame_at = self.frames + 1, now - self.frame_at, now
        is_sure = self._codec == "hevc" and self._keyframes > 1
        wait_s = SURE_KEYFRAME_WAIT_S if is_sure else KEYFRAME_WAIT_S
        if self._lost_at is not None and now - self._lost_at < wait_s:
            self.counters.frames_dropped_after_loss += 1
            self.video_at = now
            return
        arrival = ArrivalTime(self._clock.wall_90k() - self._since_arrival_90k, now)
        if self._waits_for_sound and (self._waiting or frame.is_keyframe):
            self._waiting.append((frame, arrival))
            size = sum(len(each.data) for each, _ in self._waiting)
            if now - self._waiting[0][1].monotonic < SOUND_WAIT_S and size <= SOUND_WAIT_MAX_BYTES:
                self.video_at = now
                return
            self._end_wait_for_sound()
            return
        self._pass_video(frame, arrival)

    def _taken_for_keyframe(self, frame: Frame, now: float) -> Frame:
        """Rule 4."""
        if frame.is_keyframe:
            self._begins_with_intra = False
            return frame
        since = self._awaited_since
        if not self.has_begun and since is not None and now - since >= INTRA_WAIT_S:
            self._begins_with_intra = True
        return frame._replace(is_keyframe=True) if self._begins_with_intra and frame.is_intra else frame

    def _pass_video(self, frame: Frame, arrival: ArrivalTime) -> None:
        has_begun = self.has_begun
        packet = self._builder.video(
            frame.data, frame.timestamp, self._video_base, arrival, is_keyframe=frame.is_keyframe
        )
        if packet is None:
            return
        self.video_at = arrival.monotonic
        self._on_packet(packet)
        if not has_begun:
            self._end_search_for_codec()
            for early in self._builder.take_early_audio(packet):
                self._on_packet(early)

    def _end_wait_for_sound(self) -> None:
        """Rule 3: pass on what waits."""
        if not self._waits_for_sound:
            return
        self._waits_for_sound = False
        waiting, self._waiting = self._waiting, []
        for frame, arrival in waiting:
            self._pass_video(frame, arrival)

    def _payload_formats(
        self, format: VideoFormat | AudioFormat | MetadataFormat, is_watched: Callable[[], bool]
    ) -> list[PayloadFormat]:
        formats = [format, *format.others] if isinstance(format, AudioFormat) else [format]
        found: list[PayloadFormat] = []
        for each in formats:
            depacketizer = self._finder(each) if isinstance(each, VideoFormat) else each.make()
            if isinstance(depacketizer, SamplesDepacketizer):
                depacketizer.joins = lambda: not is_watched()
            taker = self._taker(each, depacketizer)
            found.append(PayloadFormat(each.payload_type, each.clock_rate, depacketizer, taker))
        return found

    def _finder(self, format: VideoFormat) -> Depacketizer:
        """Rule 5."""
        formats = {each.codec: each for each in (*format.others, format)}
        if len(formats) == 1:
            return format.make()

        def take(codec: str) -> None:
            log.warning(
                "the camera sends %s, and its session description says %s; it is taken for what it sends",
                codec,
                self._codec,
                extra={"camera": self._camera_id},
            )
            self._codec = codec
            self._builder.expect_codec(codec, join(*formats[codec].parameter_sets))

        return CodecFinder(format.codec, {codec: each.make for codec, each in formats.items()}, take)

    def _end_search_for_codec(self) -> None:
        for track in self.tracks:
            for each in track.formats:
                if isinstance(each.depacketizer, CodecFinder):
                    track.replace_depacketizer(each.depacketizer, each.depacketizer.inner)

    def _depacketizers(self) -> Iterator[Depacketizer]:
        for track in self.tracks:
            for each in track.formats:
                found = each.depacketizer
                yield found.inner if isinstance(found, CodecFinder) else found

    def _taker(
        self, format: VideoFormat | AudioFormat | MetadataFormat, depacketizer: Depacketizer
    ) -> Callable[[Frame, float], None]:
        if isinstance(format, VideoFormat):
            return self._take_video
        if isinstance(format, MetadataFormat):
            return self._take_metadata
        return self._sound.taker(format, depacketizer)

    def _take_metadata(self, frame: Frame, now: float) -> None:
        del now
        if self._on_metadata is not None:
            self._on_metadata(Metadata(frame.data, self._clock.wall_90k(), self._run))

    def _take_audio(self, frame: Frame, now: float, info: AudioInfo, base: Fraction) -> None:
        self._builder.expect_audio(info)
        self._end_wait_for_sound()
        time = SourceTime(frame.timestamp, None, base, frame.duration)
        packet = self._builder.audio(frame.data, time, ArrivalTime(self._clock.wall_90k(), now))
        if packet is not None:
            self._on_packet(packet)


def _received(tracks: Sequence[ReceivedTrack]) -> int:
    return sum(each.received for each in tracks)
