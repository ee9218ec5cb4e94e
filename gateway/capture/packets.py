"""PacketBuilder: makes packets of coded frames, by the rules of :mod:`gateway.media`. Every engine that passes a
camera's own frames on uses it.

Rules:

1. Nothing is passed on before a video keyframe whose parameter sets are known, in-band or from the session description.
   In-band ones win: a session description is out of date once a camera is reconfigured. Each kind is kept until another
   comes: the packet that a keyframe's VPS or PPS was in may have been lost, and some cameras send them at other times.
2. A keyframe with another active SPS begins a new :class:`~gateway.media.StreamInfo`. Other parameter sets may change
   with every keyframe (some encoders write their quantiser into the PPS): such keyframes keep theirs, and the stream is
   the same. So it is where the SPS has just another identifier, level or frame rate, and where it changes for more than
   :data:`SPS_CHANGES_MAX` times without saying anything new.
3. Presentation times tell whether a stream has B-frames, unless its SPS excludes them or the picture that steps back
   has no B slice: then it is the camera's clock. The SPS is believed until one whole GOP was seen: many cameras could
   reorder and never do. Without B-frames, decoding time is presentation time. Where a camera stamps B-frames
   as it sends them, the order count of their slices moves them (:mod:`gateway.capture.picture_order`).
4. Every picture of Motion JPEG is a keyframe, and says itself what it is. So do the keyframes of AV1, and of MPEG-4 or
   the session description says it. These have no B-frames: cameras send the simple profile, and AV1 shows in coded
   order.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from gateway.capture.counters import CaptureCounters
from gateway.capture.picture_order import PictureOrder
from gateway.capture.timeline import ArrivalTime, SourceTime, Timeline, Timestamps
from gateway.clock import CLOCK_RATE
from gateway.codec import av1, jpeg, mpeg4
from gateway.codec.h264 import is_b_slice
from gateway.codec.parameter_sets import ParameterSets, active_first, first_slice, parameter_sets_in, video_info
from gateway.codec.sps import MAX_FRAME_RATE, Sps
from gateway.media import AUDIO, VIDEO, AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo

SIZE_OF: Mapping[str, Callable[[bytes], tuple[int, int] | None]] = {
    "mjpeg": jpeg.picture_size,
    "mpeg4": mpeg4.picture_size,
    "av1": av1.picture_size,
}
"""What says itself what it is (rule 4), by FFmpeg's name of the codec."""

_STRINGS = {"mjpeg": "jpeg", "mpeg4": "mp4v.20"}

VIDEO_CODECS = frozenset({"h264", "hevc", *SIZE_OF})
"""What can be passed on."""


def begins_anew(codec: str, data: bytes) -> bool:
    """Whether a picture of rule 4 is a keyframe."""
    return codec == "mjpeg" or (mpeg4.is_keyframe(data) if codec == "mpeg4" else av1.is_keyframe(data))


KEYFRAME_TIMEOUT_S = 60.0
"""How long packets may come without a keyframe, in seconds. Cameras with a smart codec send one every 20 s or so.
After a minute, none will come."""

MAX_REORDER_S = 1
"""Seconds. A presentation time further back than this is a jump and not a B-frame: at most 16 frames are reordered
(H.264 §A.3)."""

SPS_CHANGES_MAX = 2
"""Changes of the SPS in one run that count as a camera being reconfigured. More are its habit."""

WHOLE_GOP_FRAMES = 8
"""So many frames show whether there are B-frames. A GOP may have fewer where packets are lost."""

ORDER_FRAMES = 250
"""So many frames without one that is reordered: there will be none."""

UNDECLARED_REORDER = 2
"""Frames. By how many a stream with B-frames reorders whose SPS does not say: two levels of B-frames need as many."""

MEDIAN_STEPS = 9
"""Steps between frames of which the median is the usual one: a third of them may be after a loss."""

EARLY_AUDIO_FRAMES = 64
"""More than a second: cameras send up to a second of sound at once, and that may be before their first picture."""


class PacketBuilder:
    """The packets of one run."""

    def __init__(
        self,
        codec: str,
        run: int,
        *,
        parameter_sets: bytes = b"",
        frame_rate: Fraction | None = None,
        audio: AudioInfo | None = None,
        counters: CaptureCounters | None = None,
    ) -> None:
        """``codec`` is one of :data:`VIDEO_CODECS`. ``parameter_sets`` (Annex B or ``avcC``/``hvcC``) and
        ``frame_rate`` are those of the session description."""
        self.info: StreamInfo | None = None
        """The stream at present; ``None`` before the first usable keyframe."""
        self._timeline = Timeline(counters)
        self._codec = codec
        self._run = run
        self._audio = audio
        self._declared_rate = frame_rate if frame_rate is not None and 1 <= frame_rate <= MAX_FRAME_RATE else None
        if self._declared_rate:
            self._timeline.expect(VIDEO, round(CLOCK_RATE / self._declared_rate))
        self._configuration = parameter_sets if codec in SIZE_OF else b""
        """Of rule 4."""
        self._known = ParameterSets((), (), ()) if codec in SIZE_OF else parameter_sets_in(codec, parameter_sets)
        """The newest of each kind, and those of the session description until then."""
        self._sets: ParameterSets | None = None
        """Those that the stream began with."""
        self._sps: Sps | None = None
        """What the stream's parameter sets say; ``None`` before its first keyframe."""
        self._frame_rate = self._first_rate = self._declared_rate
        """What the newest parameter sets say, and those of the stream."""
        self._sps_changes = 0
        self._may_reorder = codec not in SIZE_OF
        self._reorder = 0
        self._has_reordered = False
        self._frames = 0
        """Since the SPS is what it is."""
        self._newest_pts: int | None = None
        self._steps: deque[int] = deque(maxlen=MEDIAN_STEPS)
        """Between the latest decoding times, where times are those of decoding."""
        self._newest_dts_90k: int | None = None
        self._order: PictureOrder | None = None
        """While it has to be asked."""
        self._early: deque[tuple[bytes, Timestamps]] = deque(maxlen=EARLY_AUDIO_FRAMES)
        """Audio that came before the first keyframe; the oldest is dropped."""

    def video(
        self, data: bytes, pts: int | None, time_base: Fraction, arrival: ArrivalTime, *, is_keyframe: bool
    ) -> Packet | None:
        """The packet of an access unit in Annex B, or a JPEG; ``None`` before the first usable keyframe (rule 1).

        Raises :class:`~gateway.errors.NoVideoError` for parameter sets that cannot be read.
        """
        self._frames += 1
        self._observe_order(data, pts, time_base, is_keyframe=is_keyframe)
        if self._codec in SIZE_OF:
            if is_keyframe:
                self._read_picture(data)
        elif is_keyframe or self.info is None:
            self._read_parameter_sets(data, is_keyframe=is_keyframe)
        if self._order is not None:
            times = self._ordered(self._order, data, pts, time_base, arrival, is_keyframe=is_keyframe)
        else:
            times = self._timeline.timestamp(VIDEO, SourceTime(pts, None, time_base), arrival, self._reorder)
        if self.info is None:
            return None
        return self._packet(VIDEO, data, times, is_keyframe=is_keyframe, info=self.info)

    def expect_codec(self, codec: str, parameter_sets: bytes) -> None:
        """The video is of another codec than was said, with these parameter sets of the session description. Before the
        first keyframe."""
        assert self.info is None
        self._codec = codec
        self._may_reorder = codec not in SIZE_OF
        self._known = ParameterSets((), (), ()) if codec in SIZE_OF else parameter_sets_in(codec, parameter_sets)
        self._newest_pts, self._order = None, None

    def expect_audio(self, audio: AudioInfo) -> None:
        """The audio that follows is this. Where it was other, another stream begins with the next keyframe."""
        if audio != self._audio:
            self._audio = audio
            self._early.clear()

    def audio(self, data: bytes, time: SourceTime, arrival: ArrivalTime) -> Packet | None:
        """The packet of an audio frame; ``None`` before the first keyframe of a stream with this audio."""
        times = self._timeline.timestamp(AUDIO, time, arrival)
        if self.info is None:
            self._early.append((data, times))
            return None
        if self.info.audio != self._audio:
            return None
        return self._packet(AUDIO, data, times, is_keyframe=True, info=self.info)

    def take_early_audio(self, first: Packet) -> list[Packet]:
        """The audio that came before the ``first`` packet of video, and is not for a time before it."""
        early = [(data, times) for data, times in self._early if times.dts_90k >= first.dts_90k]
        self._early.clear()
        return [self._packet(AUDIO, data, times, is_keyframe=True, info=first.info) for data, times in early]

    def _packet(
        self, kind: MediaKind, data: bytes, times: Timestamps, *, is_keyframe: bool, info: StreamInfo
    ) -> Packet:
        return Packet(
            kind=kind,
            data=data,
            pts_90k=times.pts_90k,
            dts_90k=times.dts_90k,
            duration_90k=times.duration_90k,
            is_keyframe=is_keyframe,
            captured_at_90k=times.captured_at_90k,
            info=info,
            run=self._run,
        )

    def _observe_order(self, data: bytes, pts: int | None, time_base: Fraction, *, is_keyframe: bool) -> None:
        """Notice where presentation order differs from decoding order."""
        if pts is None or not self._may_reorder:
            return
        if is_keyframe or self._newest_pts is None:
            # A step back from GOP to GOP comes from the camera's clock, and not from a B-frame.
            self._newest_pts = pts
            return
        back = self._newest_pts - pts
        self._newest_pts = max(self._newest_pts, pts)
        if 0 < back * time_base < MAX_REORDER_S and (self._codec != "h264" or is_b_slice(first_slice("h264", data))):
            self._has_reordered = True
            self._reorder = self._reorder or UNDECLARED_REORDER

    def _ordered(
        self,
        order: PictureOrder,
        data: bytes,
        pts: int | None,
        time_base: Fraction,
        arrival: ArrivalTime,
        *,
        is_keyframe: bool,
    ) -> Timestamps:
        """The times of a picture, where its order has to be looked at."""
        places = order.note(data, pts, time_base, arrival.monotonic, is_keyframe=is_keyframe)
        if order.has_reordered and not self._has_reordered:
            self._has_reordered = True
            self._reorder = self._reorder or UNDECLARED_REORDER
        is_over = order.is_healthy or (not order.has_reordered and self._frames > ORDER_FRAMES)
        if is_over:
            self._order = None
        is_untimed = order.is_untimed and order.has_reordered
        if not order.is_by_decoding and not is_untimed:
            return self._timeline.timestamp(VIDEO, SourceTime(pts, None, time_base), arrival, self._reorder)
        sent = None if is_untimed else pts
        times = self._timeline.timestamp(VIDEO, SourceTime(sent, sent, time_base), arrival)
        later_90k = max(0, places + self._reorder) * self._step_90k(times.dts_90k)
        return times._replace(pts_90k=times.dts_90k + later_90k)

    def _step_90k(self, dts_90k: int) -> int:
        """The usual time from one frame to the next, in ticks: what is lost in between does not count."""
        steps = self._steps
        if self._newest_dts_90k is not None:
            steps.append(dts_90k - self._newest_dts_90k)
        self._newest_dts_90k = dts_90k
        enough = len(steps) == MEDIAN_STEPS
        return sorted(steps)[MEDIAN_STEPS // 2] if enough else self._timeline.expected_step_90k(VIDEO)

    def _read_picture(self, data: bytes) -> None:
        """Rule 4."""
        video = self._av1(data) if self._codec == "av1" else self._of_size(data)
        if video is None:
            return
        if self.info is None or self.info.video != video or self.info.audio != self._audio:
            self.info = StreamInfo(video, self._audio)

    def _of_size(self, data: bytes) -> VideoInfo | None:
        size_of = SIZE_OF[self._codec]
        size = size_of(data) or size_of(self._configuration)
        if size is None:
            return None
        return VideoInfo(self._codec, _STRINGS[self._codec], *size, self._configuration, self._declared_rate)

    def _av1(self, data: bytes) -> VideoInfo | None:
        found = av1.sequence_header(data)
        if found is None:
            return None
        return VideoInfo("av1", found.codec_string, found.width, found.height, found.obu, self._declared_rate)

    def _read_parameter_sets(self, data: bytes, *, is_keyframe: bool) -> None:
        """Read from a keyframe what the stream is from here on."""
        found = parameter_sets_in(self._codec, data)
        known = self._known
        self._known = ParameterSets(found.vps or known.vps, found.sps or known.sps, found.pps or known.pps)
        sets = self._known
        if not is_keyframe or not sets.is_complete(self._codec):
            return
        if len(sets.sps) > 1:
            sets = active_first(self._codec, data, sets)
        if self.info is not None and self._is_same_stream(self.info, sets):
            if sets != self._sets and not self.info.video.has_changing_sets:
                self.info = replace(self.info, video=replace(self.info.video, has_changing_sets=True))
            # A whole GOP was seen: what it did counts, and not what the SPS would have allowed.
            is_known = self._has_reordered or self._frames >= WHOLE_GOP_FRAMES
            has_b_frames = self._has_reordered if is_known else self.info.video.has_b_frames
            video = replace(self.info.video, has_b_frames=has_b_frames, frame_rate=self._frame_rate)
            is_same_rate = video.frame_rate == self.info.video.frame_rate
            if video == self.info.video and is_same_rate and self.info.audio == self._audio:
                return
        else:
            video, sps = video_info(self._codec, sets, self._declared_rate)
            self._sets, self._sps, self._frame_rate = sets, sps, video.frame_rate
            self._first_rate = video.frame_rate
            self._may_reorder = sps.max_reorder != 0
            self._reorder = sps.max_reorder or 0
            self._has_reordered = False
            self._frames = 0
            self._order = PictureOrder(self._codec, sets, sps) if self._may_reorder else None
        self._reorder = self._reorder if video.has_b_frames else 0
        if video.frame_rate:
            self._timeline.expect(VIDEO, round(CLOCK_RATE / video.frame_rate))
        self.info = StreamInfo(video, self._audio)

    def _is_same_stream(self, info: StreamInfo, sets: ParameterSets) -> bool:
        """Rule 2."""
        assert self._sets is not None
        if sets.sps[0] == self._sets.sps[0]:
            self._frame_rate = self._first_rate
            return True
        video, sps = video_info(self._codec, sets, self._declared_rate)
        if self._sps is not None and sps.is_like(self._sps):
            self._frame_rate = video.frame_rate
            return True
        self._sps_changes += 1
        if self._sps_changes <= SPS_CHANGES_MAX:
            return False
        now, before = ((each.codec_string, each.width, each.height) for each in (video, info.video))
        return now == before
