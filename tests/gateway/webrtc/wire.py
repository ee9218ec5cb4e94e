"""CapturingTransport: collects what is sent to a viewer, decrypts it with a second SRTP session, and parses it with
aiortc."""

from collections.abc import Sequence

from aiortc.rtp import RtpPacket
from pylibsrtp import Policy, Session

from gateway.clock import CLOCK_RATE
from gateway.media import MediaKind, Packet, StreamInfo, VideoInfo
from gateway.rtsp.packetize import h264
from gateway.webrtc.rtp.packets import MAX_PAYLOAD_BYTES, Frame, PacketHistory, packet_template
from gateway.webrtc.rtp.srtp import OutboundSrtp, SrtpBuffer

KEY = bytes(range(28))
SETS = b"\0\0\0\1\x67\x42\xc0\x1f\0\0\0\1\x68\xce\x3c\x80"
INFO = StreamInfo(VideoInfo("h264", "avc1.42c01f", 640, 360, SETS))
FRAME_90K = 3000
VIDEO = packet_template(96, b"", 16)
RTX = packet_template(97, b"", 16)


def _policy(ssrc_type: int) -> Policy:
    policy = Policy(KEY, ssrc_type, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return policy


class CapturingTransport:
    """A transport that keeps what is sent; with ``is_full`` it refuses."""

    remote = ("192.0.2.1", 1234)
    protocol = "udp"

    def __init__(self) -> None:
        self.is_full = False
        self.calls = 0
        self.datagrams: list[bytes] = []
        self._session = Session(_policy(Policy.SSRC_ANY_INBOUND))

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        if self.is_full:
            return False
        self.calls += 1
        whole = bytes(data)
        self.datagrams += [whole[at : at + segment_bytes] for at in range(0, len(whole), segment_bytes)]
        return True

    def close(self) -> None:
        """Nothing to close."""

    def take(self) -> list[RtpPacket]:
        """The packets since the last time, in order."""
        return [RtpPacket.parse(plain) for plain in self.take_plain()]

    def take_plain(self) -> list[bytes]:
        """The same, as decrypted bytes."""
        datagrams, self.datagrams = self.datagrams, []
        return [self._session.unprotect(datagram) for datagram in datagrams]


def srtp() -> OutboundSrtp:
    """The encryption that a :class:`CapturingTransport` decrypts."""
    return OutboundSrtp(Session(_policy(Policy.SSRC_ANY_OUTBOUND)), SrtpBuffer())


def unit(kind: int, size: int, seed: int = 0) -> bytes:
    """A NAL unit of this type and size, with no start code and no zero at its end."""
    return bytes((0x60 | kind,)) + bytes((seed + place) % 251 + 1 for place in range(size - 1))


def annex_b(*units: bytes) -> bytes:
    """NAL units with start codes."""
    return b"".join(b"\0\0\0\1" + item for item in units)


class FrameSource:
    """Frames for a history, one after the other: a keyframe, then deltas."""

    def __init__(self, history: PacketHistory | None = None) -> None:
        self.history = PacketHistory() if history is None else history
        self.number = 0

    def add(self, *, key: bool = False, size: int = 3000, count: int = 1) -> Frame:
        """Add ``count`` frames (a keyframe first, with ``key``); returns the last."""
        for _ in range(count):
            payloads = h264.payloads([unit(5 if key else 1, size, self.number)], MAX_PAYLOAD_BYTES)
            frame = Frame(
                number=self.number,
                first_index=self.history.end_index,
                payloads=payloads,
                timestamp=self.number * FRAME_90K,
                captured_at_90k=self.number * FRAME_90K,
                is_keyframe=key,
                size_bytes=sum(map(len, payloads)),
            )
            self.history.append(frame)
            self.number += 1
            key = False
        return frame


def packet(
    number: int,
    *,
    key: bool = False,
    size: int = 3000,
    run: int = 1,
    start_90k: int = 0,
    captured_90k: int = 1000 * CLOCK_RATE,
    info: StreamInfo = INFO,
    reorder_90k: int = 0,
) -> Packet:
    """A packet as a camera's hub publishes it."""
    at = start_90k + number * FRAME_90K
    return Packet(
        MediaKind.VIDEO,
        annex_b(unit(5 if key else 1, size, number)),
        at + reorder_90k,
        at,
        FRAME_90K,
        key,
        captured_90k + number * FRAME_90K,
        info,
        run,
    )


def sequences(packets: Sequence[RtpPacket]) -> list[int]:
    """Their sequence numbers from the first one's on, unwrapped."""
    first = packets[0].sequence_number
    return [(item.sequence_number - first) & 0xFFFF for item in packets]


def timestamps(packets: Sequence[RtpPacket]) -> list[int]:
    """One timestamp a frame, relative to the first one's, unwrapped."""
    first = packets[0].timestamp
    return list(dict.fromkeys((item.timestamp - first) & 0xFFFFFFFF for item in packets))
