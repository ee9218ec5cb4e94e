"""Audio as RTP payloads, and what a session description calls it. Each frame goes out as the camera sent it.

Rules:

1. AAC is sent as AAC-hbr, one frame a packet, a frame that is larger than a packet in fragments (RFC 3640 §3.3.6).
2. Samples (G.711, G.722, G.726, L16) are split where a packet cannot hold them, or receivers would not take as much
   (RFC 3551 §4.2).
3. A codec without a payload format here has no track.
"""

from base64 import b16encode
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.media import AudioInfo

DYNAMIC = 97
"""The payload type of what has no static one (RFC 3551 §6)."""

Payloads = Callable[[bytes, int], list[tuple[bytes, int]]]
"""Makes RTP payloads of a frame, each at most as large as the second argument says, and where each begins in the
frame, in ticks of the RTP clock."""


@dataclass(frozen=True, slots=True)
class AudioPayloadFormat:
    """How a track is sent. ``rtpmap`` and ``fmtp`` are the values of these attributes (RFC 8866 §6.6, §6.15)."""

    payload_type: int
    rtpmap: str
    clock_rate: int
    payloads: Payloads = field(compare=False)  # what it does is in the other fields
    fmtp: str = ""
    has_markers: bool = False
    """Whether the marker bit ends a frame; of samples it would begin a talkspurt (RFC 3551 §4.1)."""


def audio_payload_format(audio: AudioInfo) -> AudioPayloadFormat | None:
    """The format of a camera's sound; ``None`` for a codec that RTP does not carry here."""
    make = _FORMATS.get(audio.codec)
    return make(audio) if make is not None else None


def _aac(audio: AudioInfo) -> AudioPayloadFormat | None:
    if not audio.extradata:
        return None
    config = b16encode(audio.extradata).decode()
    fmtp = f"profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config}"
    rate = audio.sample_rate_hz
    return AudioPayloadFormat(DYNAMIC, f"mpeg4-generic/{rate}/{audio.channels}", rate, _aac_payloads, fmtp, True)


def _aac_payloads(data: bytes, max_bytes: int) -> list[tuple[bytes, int]]:
    if len(data) >= 1 << 13:
        return []  # More than its size field holds.
    header = b"\x00\x10" + (len(data) << 3).to_bytes(2, "big")
    room = max_bytes - len(header)
    return [(header + data[at : at + room], 0) for at in range(0, len(data), room)]


def _opus(audio: AudioInfo) -> AudioPayloadFormat:
    # Always 48 kHz and two channels, whatever is inside (RFC 7587 §7).
    fmtp = f"sprop-stereo={int(audio.channels > 1)}"
    return AudioPayloadFormat(DYNAMIC, "opus/48000/2", 48_000, _whole, fmtp)


def _whole(data: bytes, max_bytes: int) -> list[tuple[bytes, int]]:
    return [(data, 0)] if len(data) <= max_bytes else []


def _samples(
    encoding: str, bits: int, static: int | None = None, ticks_per_sample: float = 1
) -> Callable[[AudioInfo], AudioPayloadFormat]:
    """A codec of ``bits`` a sample and channel. ``static`` is its payload type at 8000 Hz with one channel."""

    def make(audio: AudioInfo) -> AudioPayloadFormat:
        clock_rate = round(audio.sample_rate_hz * ticks_per_sample)
        is_static = static is not None and (clock_rate, audio.channels) == (8000, 1)
        channels = f"/{audio.channels}" if audio.channels > 1 else ""
        # The shortest whole number of bytes and samples, of all channels together.
        unit = bits * audio.channels
        while unit % 8:
            unit += bits * audio.channels
        bytes_a_s = clock_rate / ticks_per_sample * bits * audio.channels / 8

        def payloads(data: bytes, max_bytes: int) -> list[tuple[bytes, int]]:
            room = max_bytes * 8 // unit * unit // 8
            return [(data[at : at + room], round(at / bytes_a_s * clock_rate)) for at in range(0, len(data), room)]

        return AudioPayloadFormat(
            static if is_static and static is not None else DYNAMIC,
            f"{encoding}/{clock_rate}{channels}",
            clock_rate,
            payloads,
        )

    return make


def _g726(prefix: str) -> Callable[[AudioInfo], AudioPayloadFormat]:
    def make(audio: AudioInfo) -> AudioPayloadFormat:
        bits = audio.extradata[0] if audio.extradata else 4
        return _samples(f"{prefix}G726-{bits * 8}", bits)(audio)

    return make


_FORMATS: dict[str, Callable[[AudioInfo], AudioPayloadFormat | None]] = {
    "aac": _aac,
    "opus": _opus,
    "pcm_mulaw": _samples("PCMU", 8, 0),
    "pcm_alaw": _samples("PCMA", 8, 8),
    # Its clock is 8000 although it samples at 16,000 Hz, two samples a byte (RFC 3551 §4.5.2).
    "adpcm_g722": _samples("G722", 4, 9, 0.5),
    "adpcm_g726le": _g726(""),
    "adpcm_g726": _g726("AAL2-"),
    "pcm_s16be": _samples("L16", 16),
}
