"""ForwardMuxer: a camera's packets into a container of libav that sends them. Blocks; for a process.

Rules:

1. Video passes as it is. Sound passes where it is AAC, and is encoded as AAC otherwise: RTMP servers take nothing else.
   Sound that cannot be encoded is left out, and video goes on.
2. Times begin at zero with the first keyframe. Sound of before is left out.
"""

import io
import logging
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from gateway.clock import CLOCK_RATE
from gateway.codec.audio import AudioTranscoder
from gateway.forward.target import ForwardTarget
from gateway.media import AudioInfo, Packet, StreamInfo

log = logging.getLogger(__name__)

BASE = Fraction(1, CLOCK_RATE)

AAC_FRAME = 1024
AAC_BIT_RATE_BPS = 64_000


class ForwardMuxer:
    """See the module. ``place`` is host and port that libav connects to. Raises ``av.FFmpegError`` and ``OSError``."""

    def __init__(self, target: ForwardTarget, place: str, info: StreamInfo) -> None:
        self.info = info
        self._first_90k: int | None = None
        self._transcoder, audio = _audio(info.audio)
        url = target.url
        userinfo = f"{url.userinfo}@" if url.userinfo else ""
        path = url.target if url.target.startswith("/") else f"/{url.target}"
        is_rtmp = url.scheme.startswith("rtmp")
        options = {"rtsp_transport": "tcp"}
        if is_rtmp:
            host = f"[{url.host}]" if ":" in url.host else url.host
            application = url.target.lstrip("/").partition("?")[0].rpartition("/")[0]
            port = f":{url.port}" if url.port else ""
            options = {"rtmp_live": "live", "rtmp_tcurl": f"{url.scheme}://{host}{port}/{application}"}
        address = f"{'rtmp' if is_rtmp else 'rtsp'}://{userinfo}{place}{path}"
        self._container: OutputContainer = av.open(address, "w", format="flv" if is_rtmp else "rtsp", options=options)
        try:
            self._video = _add(self._container, _template(info.video.codec, info), info.video.parameter_sets, BASE)
            self._audio: Stream | None = None
            if audio is not None:
                rate = Fraction(1, audio.sample_rate_hz)
                self._audio = _add(self._container, _template("aac", audio), audio.extradata, rate)
                context = self._audio.codec_context
                assert isinstance(context, av.AudioCodecContext)
                # Without it, libav describes the channels by an extension that other servers do not know.
                context.layout = "stereo" if audio.channels == 2 else "mono"
            self._container.start_encoding()
        except BaseException:
            self._container.close()
            raise

    def write(self, packets: Iterable[Packet]) -> None:
        """Send packets."""
        for packet in packets:
            if self._first_90k is None:
                if not (packet.is_video and packet.is_keyframe):
                    continue
                self._first_90k = packet.dts_90k
            if packet.is_video:
                self._send(
                    self._video,
                    packet.data,
                    packet.pts_90k - self._first_90k,
                    packet.dts_90k - self._first_90k,
                    BASE,
                    is_keyframe=packet.is_keyframe,
                )
            elif self._audio is not None:
                self._write_audio(packet, packet.pts_90k - self._first_90k)

    def close(self) -> None:
        """Say goodbye, as far as the connection is still there."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            log.debug("a forward was not closed cleanly: %s", type(error).__name__)

    def _write_audio(self, packet: Packet, pts_90k: int) -> None:
        assert self._audio is not None
        if self._transcoder is None:
            if pts_90k >= 0:
                self._send(self._audio, packet.data, pts_90k, pts_90k, BASE)
            return
        rate_hz = self._transcoder.info.sample_rate_hz
        try:
            frames = self._transcoder.transcode(packet.data, pts_90k)
        except (av.FFmpegError, ValueError):
            return
        for frame in frames:
            if frame.position >= 0:
                self._send(self._audio, frame.data, frame.position, frame.position, Fraction(1, rate_hz))

    def _send(
        self, stream: Stream, data: bytes, pts: int, dts: int, base: Fraction, *, is_keyframe: bool = True
    ) -> None:
        coded = av.Packet(data)
        coded.stream, coded.time_base, coded.pts, coded.dts, coded.is_keyframe = stream, base, pts, dts, is_keyframe
        self._container.mux(coded)


def _audio(source: AudioInfo | None) -> tuple[AudioTranscoder | None, AudioInfo | None]:
    """What makes AAC of the sound, if it is needed, and the AAC."""
    if source is None or (source.codec == "aac" and source.extradata):
        return None, source
    channels = min(source.channels, 2)
    rate_hz = 16_000 if source.sample_rate_hz <= 16_000 else 48_000
    try:
        transcoder = AudioTranscoder(
            source, "aac", rate_hz, channels, frame_samples=AAC_FRAME, bit_rate_bps=AAC_BIT_RATE_BPS * channels
        )
    except (av.FFmpegError, ValueError) as error:
        log.warning("a forward has no sound: %s cannot be encoded as AAC (%s)", source.codec, type(error).__name__)
        return None, None
    return transcoder, transcoder.info


def _add(container: OutputContainer, template: InputContainer, extradata: bytes, base: Fraction) -> Stream:
    stream = container.add_stream_from_template(template.streams[0], opaque=True)
    stream.codec_context.extradata = extradata
    stream.time_base = base
    template.close()
    return stream


def _template(codec: str, info: StreamInfo | AudioInfo) -> InputContainer:
    """A container with a stream of the codec: PyAV makes one whose context takes extradata from nothing else."""
    parameters: dict[str, Any] = (
        {"rate": info.sample_rate_hz, "time_base": Fraction(1, info.sample_rate_hz)}
        if isinstance(info, AudioInfo)
        else {"width": info.video.width, "height": info.video.height, "time_base": BASE}
    )
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof"}) as container:
        container.add_mux_stream(codec, **parameters)
        container.start_encoding()
    buffer.seek(0)
    return av.open(buffer, "r")
