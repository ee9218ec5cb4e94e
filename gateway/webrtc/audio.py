"""A camera's audio for WebRTC: G.711 and Opus pass unchanged, other codecs are encoded as Opus, once for all viewers.

Theory of operation. :class:`AudioSource` turns the camera's audio packets into RTP payloads with timestamps of the
codec's clock, on the fan-out's timeline. A codec that WebRTC does not know goes through
:class:`~gateway.codec.audio.AudioTranscoder`, which exists only while a viewer has audio. Transcoding 20 ms costs about
0.2 ms of CPU on the event loop: less than handing it to a thread.

A fault affects audio only: it is logged and counted, the next packet gets a new transcoder, and video goes on.
"""

import logging
from collections.abc import Iterator

import av

from gateway.clock import CLOCK_RATE
from gateway.codec.audio import AudioTranscoder, EncodedAudioFrame
from gateway.media import AudioInfo, Packet
from gateway.webrtc.sdp.codecs import AudioCodec, native_codec

log = logging.getLogger(__name__)

OPUS_RATE_HZ = 48_000
OPUS_FRAME_SAMPLES = 960
"""20 ms, what WebRTC uses (RFC 7587 §4.2)."""

OPUS_BIT_RATE_BPS = 48_000
"""Enough for speech and street noise; a tenth of the smallest video."""

DRIFT_MAX_SAMPLES = OPUS_RATE_HZ // 5
"""0.2 s. RTP timestamps continue without gaps, since a receiver conceals each gap. When they differ from the camera's
by more than this, packets were lost: continue at the camera's time, so that audio and video stay in step."""

SPLIT_SAMPLES = 160
"""20 ms of G.711, what receivers expect (RFC 3551 §4.2)."""

SPLIT_ABOVE_SAMPLES = 960
"""120 ms of G.711, the longest packet that receivers must take. Some cameras send 2 KiB at once, more than a UDP packet
holds."""

_PASSED_THROUGH = frozenset({"pcm_alaw", "pcm_mulaw", "opus"})


class AudioSource:
    """Audio packets in, RTP payloads of ``codec`` out."""

    def __init__(self, codec: AudioCodec) -> None:
        self.codec = codec
        self._info: AudioInfo | None = None
        self._transcoder: AudioTranscoder | None = None
        self._next: int | None = None
        """The timestamp of the next Opus frame if there is no gap."""
        self.faults = 0

    def payloads(self, packet: Packet, at_90k: int) -> list[tuple[bytes, int]]:
        """Payloads and their timestamps in the codec's clock. Never raises.

        ``at_90k`` is the packet's time on the fan-out's timeline.
        """
        audio = packet.info.audio
        if audio is None:
            return []
        if native_codec(audio) is self.codec and audio.codec in _PASSED_THROUGH:
            at = at_90k * self.codec.clock_rate // CLOCK_RATE
            return [(packet.data, at)] if audio.codec == "opus" else _split(packet.data, at)
        if self.codec is not AudioCodec.OPUS:
            return []
        try:
            if self._transcoder is None or audio != self._info:
                self._transcoder, self._info = _opus_transcoder(audio), audio
            return list(self._without_gaps(self._transcoder.transcode(packet.data, at_90k)))
        except (av.FFmpegError, ValueError) as error:
            self.faults += 1
            log.warning("audio could not be encoded as Opus: %s", error)
            self._transcoder = self._next = None
            return []

    def _without_gaps(self, frames: list[EncodedAudioFrame]) -> Iterator[tuple[bytes, int]]:
        for position, data in frames:
            if self._next is None or abs(position - self._next) > DRIFT_MAX_SAMPLES:
                self._next = position
            yield data, self._next
            self._next += OPUS_FRAME_SAMPLES


def _split(data: bytes, at: int) -> list[tuple[bytes, int]]:
    """G.711, a byte a sample, in payloads that a packet can hold."""
    if len(data) <= SPLIT_ABOVE_SAMPLES:
        return [(data, at)]
    return [(data[start : start + SPLIT_SAMPLES], at + start) for start in range(0, len(data), SPLIT_SAMPLES)]


def _opus_transcoder(source: AudioInfo) -> AudioTranscoder:
    return AudioTranscoder(
        source,
        "opus",
        OPUS_RATE_HZ,
        min(source.channels, 2),
        frame_samples=OPUS_FRAME_SAMPLES,
        bit_rate_bps=OPUS_BIT_RATE_BPS,
    )
