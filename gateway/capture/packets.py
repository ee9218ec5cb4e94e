"""PacketBuilder: makes packets of coded frames, by the rules of :mod:`gateway.media`. Every engine that passes a
camera's own frames on uses it.

Rules:

1. Nothing is passed on before a video keyframe whose parameter sets are known, in-band or from the session description.
   In-band ones win: a session description is out of date once a camera is reconfigured.
2. A keyframe with another active SPS begins a new :class:`~gateway.media.StreamInfo`. Other parameter sets may change
   with every keyframe (some encoders write their quantiser into the PPS): such keyframes keep theirs, and the stream is
   the same. So it is where the SPS has just another identifier, level or frame rate, and where it changes for more than
   :data:`SPS_CHANGES_MAX` times without saying anything new.
3. Presentation times tell whether a stream has B-frames, unless its SPS excludes them or the picture that steps back
   has no B slice: then it is the camera's clock. The SPS is believed until one whole GOP was seen: many cameras could
   reorder and never do. Without B-frames, decoding time is presentation time.
4. Every picture of Motion JPEG is a keyframe, and says itself what it is.
"""

from collections import deque
from dataclasses import replace
from fractions import Fraction

from gateway.capture.counters import CaptureCounters
from gateway.capture.timeline import ArrivalTime, SourceTime, Timeline, Timestamps
from gateway.clock import CLOCK_RATE
from gateway.codec import jpeg
from gateway.codec.h264 import is_b_slice
from gateway.codec.parameter_sets import ParameterSets, active_first, find_parameter_sets, first_slice, video_info
from gateway.codec.sps import MAX_FRAME_RATE, Sps
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo

MJPEG = "mjpeg"

VIDEO_CODECS = frozenset({"h264", "hevc", MJPEG})
"""What can be passed on."""

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

UNDECLARED_REORDER = 2
"""Frames. By how many a stream with B-frames reorders whose SPS does not say: two levels of B-frames need as many."""


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
            self._timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / self._declared_rate))
        self._sets: ParameterSets | None = None if codec == MJPEG else find_parameter_sets(codec, parameter_sets)
        self._sps: Sps | None = None
        """What the stream's parameter sets say; ``None`` before its first keyframe."""
        self._frame_rate = self._first_rate = self._declared_rate
        """What the newest parameter sets say, and those of the stream."""
        self._sps_changes = 0
        self._may_reorder = True
        self._reorder = 0
        self._has_reordered = False
        self._frames = 0
        """Since the SPS is what it is."""
        self._newest_pts: int | None = None
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
        if self._codec == MJPEG:
            self._read_jpeg(data)
        elif is_keyframe:
            self._read_parameter_sets(data)
        times = self._timeline.timestamp(MediaKind.VIDEO, SourceTime(pts, None, time_base), arrival, self._reorder)
        if self.info is None:
            return None
        return self._packet(MediaKind.VIDEO, data, times, is_keyframe=is_keyframe, info=self.info)

    def expect_audio(self, audio: AudioInfo) -> None:
        """The audio that follows is this. Where it was other, another stream begins with the next keyframe."""
        if audio != self._audio:
            self._audio = audio
            self._early.clear()

    def audio(self, data: bytes, time: SourceTime, arrival: ArrivalTime) -> Packet | None:
        """The packet of an audio frame; ``None`` before the first keyframe of a stream with this audio."""
        times = self._timeline.timestamp(MediaKind.AUDIO, time, arrival)
        if self.info is None:
            self._early.append((data, times))
            return None
        if self.info.audio != self._audio:
            return None
        return self._packet(MediaKind.AUDIO, data, times, is_keyframe=True, info=self.info)

    def take_early_audio(self, first: Packet) -> list[Packet]:
        """The audio that came before the ``first`` packet of video, and is not for a time before it."""
        early = [(data, times) for data, times in self._early if times.dts_90k >= first.dts_90k]
        self._early.clear()
        return [self._packet(MediaKind.AUDIO, data, times, is_keyframe=True, info=first.info) for data, times in early]

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

    def _read_jpeg(self, data: bytes) -> None:
        """Rule 4."""
        size = jpeg.picture_size(data)
        video = self.info.video if self.info is not None else None
        if size is not None and (video is None or (video.width, video.height) != size):
            self.info = StreamInfo(VideoInfo(MJPEG, "jpeg", *size, b"", self._declared_rate), self._audio)

    def _read_parameter_sets(self, data: bytes) -> None:
        """Read from a keyframe what the stream is from here on."""
        sets = find_parameter_sets(self._codec, data) or self._sets
        if sets is None:
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
        self._reorder = self._reorder if video.has_b_frames else 0
        if video.frame_rate:
            self._timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / video.frame_rate))
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
