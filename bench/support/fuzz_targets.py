"""The targets of bench.fuzz: each parser of data from the network, from cameras and from disks.

Rules:

1. A target is a function that is called once. It imports what it needs, which atheris instruments meanwhile, and
   returns samples, made by the real implementation, and the function that handles a mutation of them.
2. An exception that the parser documents is no finding. Everything else is, and so is a broken invariant.
"""

import contextlib
import hmac
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.support.rtsp_fuzz_targets import RTSP_TARGETS

Run = Callable[[bytes], object]
Target = Callable[[], tuple[list[bytes], Run]]


def stun() -> tuple[list[bytes], Run]:
    """Binding requests from the network. Every second one has a valid integrity over random attributes."""
    from aioice import stun as message

    from gateway.clock import SYSTEM_CLOCK
    from gateway.webrtc.ice.agent import IceAgent, IceSession
    from gateway.webrtc.ice.registry import IceRegistry
    from tests.gateway.webrtc.wire import CapturingTransport

    registry = IceRegistry()
    agent = IceAgent(SYSTEM_CLOCK, ("them", "p" * 24), lambda _: None, lambda _: None)
    # The same each time, for --replay. No sample contains the password.
    agent.sessions[-1] = IceSession("abcdefgh", "correct-horse-battery-st", agent.remote)
    registry.add(agent)
    here = ("192.0.2.1", 5000)

    def signed(attributes: bytes, password: bytes = b"correct-horse-battery-st") -> bytes:
        username = f"{agent.username}:x".encode()
        body = struct.pack("!HH", 6, len(username)) + username + bytes(-len(username) % 4) + attributes
        body += bytes(-len(body) % 4)
        covered = struct.pack("!HHI12s", 1, len(body) + 24, message.COOKIE, bytes(12)) + body
        digest = hmac.digest(password, covered, "sha1")
        return covered + struct.pack("!HH", 8, 20) + digest

    def run(data: bytes) -> None:
        is_signed = data[:1] >= b"\x80"
        before = registry.addresses
        answer = registry.check(signed(data[1:]) if is_signed else data[1:], here, CapturingTransport)
        if answer is not None:
            assert len(answer[0]) <= len(data) + 120, "amplification"
            message.parse_message(answer[0])
        assert is_signed or registry.addresses == before, "an address was tied without a password"
        registry.remove(agent)
        registry.add(agent)

    attributes = b"".join(
        struct.pack("!HH", kind, len(value)) + value
        for kind, value in ((0x24, b"\x6e\x7f\x1e\xff"), (0x802A, bytes(8)), (0x25, b""), (0xC057, bytes(4)))
    )
    return [
        b"\0" + signed(attributes, b"another"),
        b"\x80" + attributes,
        b"\x80" + struct.pack("!HH", 0x8029, 8) + bytes(8),
    ], run


def rtcp() -> tuple[list[bytes], Run]:
    """Compound packets, and the reports of a viewer."""
    from aiortc import rtp

    from gateway.clock import CLOCK_RATE
    from gateway.webrtc.rtp.rtcp import RemoteInboundStats, goodbye, parse, sender_report
    from gateway.webrtc.rtp.transport_cc import PACKETS_MAX, TransportFeedback
    from tests.support.transport_cc import write_feedback

    block = rtp.RtcpReceiverInfo(ssrc=1, fraction_lost=3, packets_lost=7, highest_sequence=99, jitter=5, lsr=77, dlsr=2)
    samples = [
        bytes(rtp.RtcpRrPacket(ssrc=2, reports=[block, block])) + goodbye([1, 2]),
        sender_report(1, 90_000 * 1_800_000_000, 5, 10, 1000, "door"),
        bytes(rtp.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[1, 2, 17, 65_535])),
        bytes(rtp.RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2)),
        bytes(rtp.RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=rtp.pack_remb_fci(500_000, [1, 2]))),
        write_feedback(65_530, 1 << 23, 7, [0, 1, 300, None, None, 290, *range(400, 440), *[None] * 30, 500]),
    ]

    def run(data: bytes) -> None:
        reception = RemoteInboundStats()
        listed = 0
        for packet in parse(data):
            if isinstance(packet, TransportFeedback):
                listed += len(packet.arrivals)
            for report in getattr(packet, "reports", ()):
                reception.take(report, CLOCK_RATE, 90_000 * 1_800_000_000)
            # One datagram must not request the whole history repeatedly.
            assert len(getattr(packet, "lost", ())) <= 17 * len(data)
        assert listed <= PACKETS_MAX

    return samples, run


def framing() -> tuple[list[bytes], Run]:
    """Frames of RFC 4571, as ICE-TCP connections bring them, in pieces."""
    import asyncio

    from gateway.webrtc.ice.registry import IceRegistry
    from gateway.webrtc.ice.tcp import FRAME_MAX_BYTES, TcpPort, TcpTransport

    class Nowhere(asyncio.Transport):
        """The transport of a connection without a peer."""

        def abort(self) -> None:
            self.is_open = False

    def run(data: bytes) -> None:
        registry = IceRegistry()
        path = TcpTransport(TcpPort(registry))
        path._transport = transport = Nowhere()
        transport.is_open = True
        for at in range(0, len(data), 700):
            path.data_received(data[at : at + 700])
            if not transport.is_open:
                break
            assert len(path._buffer) <= FRAME_MAX_BYTES + 2
        assert registry.refused["error"] == 0

    return [b"\0\x14" + b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), b"\0\1\x80" * 5, b"\x08\x01" + bytes(2049)], run


def offer() -> tuple[list[bytes], Run]:
    """Offers, and their answers."""
    from dataclasses import replace

    from gateway.errors import BadRequestError, NegotiationError
    from gateway.media import AudioInfo
    from gateway.webrtc.sdp.answer import write_answer
    from gateway.webrtc.sdp.negotiation import negotiate
    from gateway.webrtc.sdp.offer import parse_offer
    from tests.gateway.webrtc.sdp.test_answer import AUDIO, DATA, HEAD, LOCAL, VIDEO
    from tests.gateway.webrtc.wire import INFO

    infos = [INFO, replace(INFO, audio=AudioInfo("pcm_alaw", "alaw", 8000, 1, b""))]
    samples = [HEAD + VIDEO, HEAD + VIDEO + AUDIO + DATA, HEAD.replace("actpass", "passive") + AUDIO + VIDEO]
    samples.append(HEAD.replace("BUNDLE 0 1", "BUNDLE 0") + VIDEO + AUDIO)

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        with contextlib.suppress(BadRequestError, NegotiationError):
            description = parse_offer(text)
            for info in infos:
                lines = write_answer(negotiate(description, info, "door"), LOCAL)
                assert lines.count("\r\nm=") == len(description.sections), "a section without its answer"
                assert "\n" not in lines.replace("\r\n", ""), "a line of the offer's making"

    return [sample.encode() for sample in samples], run


def fragment() -> tuple[list[bytes], Run]:
    """SDP fragments of trickle ICE and of restarts."""
    from gateway.errors import BadRequestError
    from gateway.webrtc.sdp.fragment import RestartedTransport, parse_fragment, write_fragment

    video = RestartedTransport("abcd", "p" * 22, "m=video 9 UDP/TLS/RTP/SAVPF 96", "0", ["0"])
    audio = RestartedTransport("efgh", "q" * 22, "m=audio 9 UDP/TLS/RTP/SAVPF 8", "1", [])
    samples = [
        write_fragment([video, audio], ("1 1 udp 2130706431 192.0.2.1 8189 typ host",)),
        "a=ice-ufrag:abcd\r\na=ice-pwd:" + "x" * 22 + "\r\n",
    ]

    def run(data: bytes) -> None:
        with contextlib.suppress(BadRequestError):
            parse_fragment(data.decode("utf-8", "replace")).credentials({"0"})

    return [sample.encode() for sample in samples], run


def picture() -> tuple[list[bytes], Run]:
    """Access units as RTP payloads, and back."""
    from gateway.rtsp.packetize.h264 import access_unit, payloads
    from tests.support.sources.encoded import encode

    def run(data: bytes) -> None:
        max_bytes = 20 + data[0] * 5 if data else 20
        units = access_unit(data[1:], data[1:])
        back: list[bytes] = []
        for payload in payloads(units, max_bytes):
            assert len(payload) <= max_bytes, "a payload that does not fit"
            kind = payload[0] & 0x1F
            if kind == 28 and payload[1] & 0x80:
                back.append(bytes([payload[0] & 0xE0 | payload[1] & 0x1F]) + payload[2:])
            elif kind == 28:
                back[-1] += payload[2:]
            elif kind == 24:
                at = 1
                while at < len(payload):
                    size = int.from_bytes(payload[at : at + 2], "big")
                    back.append(payload[at + 2 : at + 2 + size])
                    at += 2 + size
            else:
                back.append(payload)
        assert back == units

    return [b"\x40" + encode()[number].data for number in (0, 1)], run


def parameter_sets() -> tuple[list[bytes], Run]:
    """SPS and PPS of H.264 (first byte even) and H.265 (odd), in Annex B."""
    from gateway.codec.parameter_sets import find_parameter_sets, video_info
    from gateway.errors import NoVideoError
    from tests.support.sources.encoded import EncoderSettings, encode

    samples = [
        b"\0" + encode()[0].data[:200],
        b"\1" + encode(EncoderSettings(hevc=True))[0].data[:400],
        b"\0\0\0\0\1\x67\x64\0\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\0\0\3\0\x10\0\0\3\3\xc0\xf1\x83\x19\x60\0\0\0\1\x68\xeb",
    ]

    def run(data: bytes) -> None:
        codec = "hevc" if data[:1] and data[0] & 1 else "h264"
        with contextlib.suppress(NoVideoError):
            sets = find_parameter_sets(codec, data[1:])
            if sets is not None:
                info, _ = video_info(codec, sets)
                assert 0 < info.width <= 16_384
                assert 0 < info.height <= 16_384
                assert info.frame_rate is None or 0 < info.frame_rate <= 300

    return samples, run


def access_units() -> tuple[list[bytes], Run]:
    """Parts of frames as libav returns them, assembled to access units."""
    from gateway.capture.access_units import AccessUnitAssembler
    from gateway.capture.timeline import ArrivalTime
    from tests.support.sources.encoded import EncoderSettings, encode

    start = b"\0\0\0\1"

    def run(data: bytes) -> None:
        if not data:
            return
        units = AccessUnitAssembler("hevc" if data[0] & 1 else "h264", 1 / 90_000)
        taken = given = 0
        for number, piece in enumerate(data[1:].split(b"\xff\xfe")):
            if piece:
                taken += len(piece)
                pts = piece[-1] * 100 if data[0] & 2 else number * 3000
                for unit in units.push(piece, pts, ArrivalTime(number, 0.0)):
                    given += len(unit.data)
        assert given <= taken, "more came out than went in"

    cut = b"\xff\xfe"
    h264 = cut.join(packet.data for packet in encode()[:4])
    hevc = cut.join(packet.data for packet in encode(EncoderSettings(hevc=True))[:4])
    return [b"\0" + h264, b"\2" + h264, b"\1" + hevc, b"\0" + cut.join([start + b"\x65\x88", b"abc", b"d"])], run


def boxes() -> tuple[list[bytes], Run]:
    """Files on the disk, read box by box: growing and closed, with and without audio."""
    from gateway.errors import StorageError
    from hls.archive.fragment import pack_fragments
    from hls.archive.hls_segments import hls_segments, pack_hls
    from hls.archive.scan import scan
    from hls.mp4.init_segment import growing_head, init_id
    from hls.mp4.moof import parse_runs

    descriptor = os.memfd_create("fuzz")
    path = Path(f"/proc/self/fd/{descriptor}")

    def run(data: bytes) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        with contextlib.suppress(StorageError):
            found = scan(path)
            assert 0 < found.init_size <= len(data)
            assert found.whole_bytes <= found.file_bytes == len(data)
            assert all(0 <= part.offset < part.offset + part.size <= len(data) for part in found.fragments)
            pack_fragments(found.fragments)
            pack_hls(hls_segments(found.fragments, is_complete=True))
        growing_head(data)
        init_id(data)
        parse_runs(data)

    return _files(), run


def recovered_files() -> tuple[list[bytes], Run]:
    """Files on the disk, truncated and recovered; libav reads them, too."""
    import av.logging

    from gateway.errors import StorageError
    from hls.archive.recovery import read_recording, truncate_to_fragments

    av.logging.set_level(av.logging.PANIC)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path = folder / "20261122T185000Z.mp4"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(StorageError):
            if truncate_to_fragments(path) is not None:
                first = path.read_bytes()
                assert truncate_to_fragments(path) is not None, "truncating a truncated file removed it"
                assert path.read_bytes() == first
        if path.exists():
            with contextlib.suppress(StorageError):
                read_recording(path, "door")

    return _files(), run


def _files() -> list[bytes]:
    from tests.support.recording import record
    from tests.support.sources.encoded import EncoderSettings, encode

    samples = []
    for what, finish in (
        (EncoderSettings(seconds=1), True),
        (EncoderSettings(seconds=1), False),
        (EncoderSettings(seconds=1, audio=True), False),
        (EncoderSettings(seconds=1, hevc=True), True),
    ):
        with tempfile.TemporaryDirectory() as name:
            recordings = record(Path(name), encode(what), finish=finish)
            samples.append(recordings[-1][0].path(Path(name)).read_bytes())
    return [*samples, samples[1][: len(samples[1]) // 2]]


def url() -> tuple[list[bytes], Run]:
    """Camera URLs with any characters; no text contains a password after it was redacted."""
    from gateway.capture.url import normalise
    from gateway.errors import CaptureError, redact

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        redact(text)
        with contextlib.suppress(CaptureError):
            once = normalise(text)
            assert normalise(once) == once, "it is not read as it was written"
            assert not any(letter <= " " or letter == "\x7f" for letter in once), "a header of its own"

    return [
        b"rtsp://user:pa#ss@cam.example:554/stream?x=1&password=y",
        b"rtsp://[fd00::1]:8554/a%20b",
        b"rtsps://a/b:c/d@e",
    ], run


def time() -> tuple[list[bytes], Run]:
    """Times in queries."""
    from gateway.clock import to_rfc3339
    from gateway.errors import BadRequestError
    from gateway.times import parse_time

    def run(data: bytes) -> None:
        with contextlib.suppress(BadRequestError):
            # Years of five digits are Unix seconds, and cannot be written as RFC 3339.
            at_90k = parse_time(data.decode("utf-8", "replace"), "at", 0)
            if at_90k < 253_402_300_800 * 90_000:
                to_rfc3339(at_90k)

    return [b"2026-11-22T18:50:00.123456789+09:00", b"1795373400.5", b"now"], run


def settings() -> tuple[list[bytes], Run]:
    """``liveedge.toml``."""
    from gateway.config.file import SettingsFile
    from gateway.errors import SettingsError

    descriptor = os.memfd_create("fuzz")
    path = Path(f"/proc/self/fd/{descriptor}")

    def run(data: bytes) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        with contextlib.suppress(SettingsError):
            file = SettingsFile.read(path)
            for keys in file.lines:
                file.where(*keys)

    return [
        (Path(__file__).parents[2] / "liveedge.example.toml").read_bytes()[:4000],
        b'[cameras."a.b"]\nurl="x"\n',
    ], run


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        stun, rtcp, framing, offer, fragment, picture, parameter_sets, access_units, boxes, recovered_files, url, time,
        settings,
    )
} | RTSP_TARGETS  # fmt: skip
