"""The targets of bench.fuzz for what RTSP cameras send: messages, descriptions, credentials, RTP, RTCP and payloads.

The rules are those of :mod:`bench.support.fuzz_targets`.
"""

import contextlib
from collections.abc import Callable
from itertools import pairwise

Run = Callable[[bytes], object]
Target = Callable[[], tuple[list[bytes], Run]]

START_CODE = b"\0\0\0\1"


def rtsp_messages() -> tuple[list[bytes], Run]:
    """The stream of an RTSP connection, in one piece and in two; both give the same, unless bytes are skipped."""
    from gateway.rtsp.errors import RtspProtocolError
    from gateway.rtsp.messages import BODY_MAX_BYTES, HEAD_MAX_BYTES, Message, StreamParser

    def parsed(*pieces: bytes) -> tuple[list[object], int]:
        found: list[object] = []

        def on_message(message: Message) -> None:
            assert len(message.body) <= BODY_MAX_BYTES
            assert sum(len(name) + len(value) for name, value in message.headers) <= 4 * HEAD_MAX_BYTES
            found.append(message.cseq)

        parser = StreamParser(lambda channel, frame: found.append((channel, bytes(frame))), on_message)
        try:
            for piece in pieces:
                parser.feed(piece)
        except RtspProtocolError:
            found.append("error")
        return found, parser.garbage_bytes

    def run(data: bytes) -> None:
        if data:
            cut = 1 + data[0] % len(data)
            whole, skipped = parsed(data[1:])
            assert parsed(data[1:cut], data[cut:])[0] == whole or skipped

    answer = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    request = b"OPTIONS rtsp://192.0.2.7/ RTSP/1.0\nCSeq: 3\nX: a\n folded\n\n"
    frame = b"$\0\0\4abcd"
    return [b"\x07" + answer + frame + request, b"\x20" + frame + b"\r\nstray" + frame + answer], run


def rtsp_session() -> tuple[list[bytes], Run]:
    """The answers to a whole session: as many as there are zero bytes between."""
    from gateway.rtsp.auth import Authenticator, Credentials
    from gateway.rtsp.client import ClientSession, State
    from gateway.rtsp.errors import RtspError
    from gateway.rtsp.messages import Request, Response, StreamParser
    from gateway.rtsp.redirect import RedirectError
    from gateway.rtsp.sdp import SessionDescription
    from gateway.rtsp.track import Track

    def choose(description: SessionDescription) -> list[Track]:
        return [Track(media, is_required=not number) for number, media in enumerate(description.media[:3])]

    def run(data: bytes) -> None:
        session = ClientSession(
            "rtsp://192.0.2.7/stream", Authenticator(Credentials("user", "pass"), lambda: "1"), choose,
            open_udp_ports=lambda: (5000, 5001),
        )  # fmt: skip
        sent = 0

        def take(message: Request | Response) -> None:
            if isinstance(message, Request):
                session.answer(message).encode()
            else:
                session.receive(message, 0.0)

        parser = StreamParser(lambda channel, frame: None, take)
        with contextlib.suppress(RtspError, RedirectError):
            for piece in data.split(b"\0"):
                while (request := session.next_request()) is not None:
                    request.encode()
                    sent += 1
                    assert sent < 1000, "it asks again and again"
                parser.feed(piece)
            if session.state is State.PLAYING:
                session.keep_alive(10.0).encode()
            teardown = session.teardown()
            if teardown is not None:
                teardown.encode()

    sdp = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    head = b"RTSP/1.0 200 OK\r\n"
    good = [
        head + b"CSeq: 1\r\nPublic: DESCRIBE, GET_PARAMETER\r\n\r\n",
        head + b"CSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp,
        head + b"CSeq: 3\r\nTransport: RTP/AVP/TCP;interleaved=0-1;ssrc=7\r\nSession: 4;timeout=60\r\n\r\n",
        head + b"CSeq: 4\r\nSession: 4\r\nRTP-Info: url=track1;seq=1;rtptime=2\r\n\r\n",
    ]
    asks = b'RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="a", nonce="b", qop="auth"\r\n\r\n'
    refuses = b"RTSP/1.0 461 No\r\nCSeq: 3\r\n\r\n"
    moves = b"RTSP/1.0 302 Go\r\nCSeq: 1\r\nLocation: rtsp://192.0.2.8/\r\n\r\n"
    return [b"\0".join(good), b"\0".join([asks, *good]), b"\0".join([*good[:2], refuses, *good[2:]]), moves], run


def sdp() -> tuple[list[bytes], Run]:
    """Session descriptions, and the formats that they name."""
    from gateway.rtsp.errors import RtspProtocolError
    from gateway.rtsp.formats import audio_format, video_format
    from gateway.rtsp.sdp import MEDIA_MAX, parse_sdp

    def run(data: bytes) -> None:
        with contextlib.suppress(RtspProtocolError):
            description = parse_sdp(data, "rtsp://192.0.2.7/stream")
            assert 0 < len(description.media) <= MEDIA_MAX
            for media in description.media:
                for found in (video_format(media), audio_format(media)):
                    if found is not None:
                        assert found.clock_rate > 0
                        found.make()

    return [
        b"v=0\r\no=- 0 0 IN IP4 0\r\ns=-\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        b"a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAFdoGx+hAAAADAEAAAAyjxYuo,aM48gA==\r\n"
        b"a=framerate:25.0\r\na=control:track1\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n"
        b"a=fmtp:97 mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3\r\na=sendonly\r\n",
        b"m=video 0 RTP/AVP 98\na=rtpmap:98 H265/90000\na=fmtp:98 sprop-vps=QAE=;sprop-sps=QgE=;sprop-max-don-diff=1\n"
        b"m=audio 0 RTP/AVP 96 0 8 9\na=rtpmap:96 MP4A-LATM/24000\na=fmtp:96 cpresent=0;config=400026203fc0\n"
        b"m=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\n",
    ], run


def rtp() -> tuple[list[bytes], Run]:
    """RTP and RTCP packets of a track over UDP, each with a length before it."""
    from gateway.capture.rtsp_tracks import PayloadFormat, ReceivedTrack
    from gateway.rtsp.depacketize.audio import PacketDepacketizer
    from tests.support.rtsp_camera import RtpSender

    def run(data: bytes) -> None:
        times: list[float] = []
        given = 0

        def take(frame: object, now: float) -> None:
            nonlocal given
            given += 1
            times.append(now)

        formats = [PayloadFormat(kind, 90_000 // (1 + kind % 2), PacketDepacketizer(), take) for kind in (96, 97)]
        track = ReceivedTrack(*formats, is_reordered=bool(data[:1] > b"\x7f"))
        place, now, sent = 1, 0.0, 0
        while place + 1 < len(data):
            size, place = data[place], place + 1
            packet, place = data[place : place + size], place + size
            now += 0.01
            sent += 1
            if size & 1:
                track.receive_control(memoryview(packet), now)
            else:
                track.receive(memoryview(packet), now)
            report = track.receiver_report(now)
            assert report is None or len(report) % 4 == 0
        track.expire(now + 10)
        assert given <= sent
        assert all(after >= before for before, after in pairwise(times))

    sender = RtpSender(first=65_530)
    packets = [sender.packet(b"abcd", number * 160, 0.0).data for number in range(12)]
    packets.insert(5, sender.report(1.5, 800, 0.0).data + b"\0")
    framed = b"".join(bytes((len(packet),)) + packet for packet in packets)
    return [b"\0" + framed, b"\xff" + framed, b"\xff" + framed[85:] + framed[:85]], run


def _payloads(data: bytes) -> list[tuple[memoryview, bool, int]]:
    """Payloads with marker and loss: two bytes of length, of which the upper bits are flags, before each."""
    found = []
    place = 0
    while place + 2 <= len(data):
        head = data[place] << 8 | data[place + 1]
        size = head & 0x1FFF
        found.append((memoryview(data)[place + 2 : place + 2 + size], bool(head & 0x8000), head >> 14 & 1))
        place += 2 + size
    return found


def _framed(payloads: list[tuple[bytes, bool]]) -> bytes:
    return b"".join((len(data) | (0x8000 if marker else 0)).to_bytes(2, "big") + data for data, marker in payloads)


def video_payloads() -> tuple[list[bytes], Run]:
    """RTP payloads of H.264 (first byte 0), H.265 (1) and Motion JPEG, as pictures."""
    from gateway.codec.annexb import nal_units
    from gateway.rtsp.depacketize.h264 import H264Depacketizer
    from gateway.rtsp.depacketize.h265 import H265Depacketizer
    from gateway.rtsp.depacketize.jpeg import JpegDepacketizer
    from tests.support.rtp import payloads
    from tests.support.sources.encoded import EncoderSettings, encode

    def run(data: bytes) -> None:
        if not data:
            return
        kind = data[0] % 4
        made = (H264Depacketizer(), H265Depacketizer(), H265Depacketizer(has_donl=True), JpegDepacketizer())[kind]
        taken = given = 0
        for number, (payload, marker, lost) in enumerate(_payloads(data[1:])):
            taken += len(payload)
            for frame in made.push(payload, number // 3 * 3000, marker=marker, lost=lost):
                given += len(frame.data)
                if kind < 3:
                    assert frame.data.startswith(START_CODE)
                    list(nal_units(frame.data))
        # Start codes and headers are added; nothing is made twice.
        assert given <= 700 * (1 + taken)

    samples = []
    for hevc in (False, True):
        units = [unit for packet in encode(EncoderSettings(hevc=hevc))[:3] for unit in nal_units(packet.data)]
        parts = [(each.data, each.marker) for unit in units for each in payloads(unit, 0, marker=True, hevc=hevc)]
        samples.append(bytes((hevc,)) + _framed(parts))
    jpeg = bytes((0, 0, 0, 0, 1, 50, 20, 12)) + bytes(range(64))
    samples.append(b"\3" + _framed([(jpeg, False), (bytes((0, 0, 0, 64, 1, 50, 20, 12)) + b"\xff\xd9", True)]))
    samples.append(b"\0" + _framed([(b"\x78\0\4\x67\1\2\3\0\2\x68\1", False), (b"\x19\0\1\0\3\x65\x88\1", True)]))
    return samples, run


def audio_payloads() -> tuple[list[bytes], Run]:
    """RTP payloads of AAC in its packings, and of codecs without one."""
    from fractions import Fraction

    from gateway.rtsp.depacketize.aac import AacDepacketizer
    from gateway.rtsp.depacketize.audio import SamplesDepacketizer
    from gateway.rtsp.depacketize.latm import LatmDepacketizer

    def run(data: bytes) -> None:
        if not data:
            return
        made = (AacDepacketizer(), LatmDepacketizer(16_000, is_in_band=True), SamplesDepacketizer(Fraction(8, 3), 300),
                AacDepacketizer(size_bits=6, index_bits=2, delta_bits=2, has_headers=False))[data[0] % 4]  # fmt: skip
        taken = given = 0
        for number, (payload, marker, lost) in enumerate(_payloads(data[1:])):
            taken += len(payload)
            for frame in made.push(payload, number * 1024, marker=marker, lost=lost):
                assert frame.duration >= 0
                given += len(frame.data)
        assert given <= taken, "more came out than went in"

    unit = bytes(range(40))
    adts = b"\xff\xf1\x4c\x80\x05\xff\xfc" + unit
    return [
        b"\0" + _framed([(b"\0\x20" + (40 << 3).to_bytes(2, "big") * 2 + unit * 2, True), (adts, True)]),
        b"\0" + _framed([(b"\0\x10" + (80 << 3).to_bytes(2, "big") + unit, False)] * 2),
        b"\1" + _framed([(b"\x28" + unit, False), (b"\x28" + unit, True)]),
        b"\2" + _framed([(unit, False)]),
    ], run


def metadata_payloads() -> tuple[list[bytes], Run]:
    """RTP payloads of ONVIF metadata, as it is (first byte even) and with gzip."""
    import gzip

    from gateway.rtsp.depacketize.metadata import DOCUMENT_MAX_BYTES, MetadataDepacketizer

    def run(data: bytes) -> None:
        made = MetadataDepacketizer(is_compressed=bool(data[:1] and data[0] & 1))
        for number, (payload, marker, lost) in enumerate(_payloads(data[1:])):
            for frame in made.push(payload, number, marker=marker, lost=lost):
                assert 0 < len(frame.data) <= DOCUMENT_MAX_BYTES

    document = b"<tt:MetadataStream>" + b"<tt:Frame/>" * 20 + b"</tt:MetadataStream>"
    packed = gzip.compress(document, mtime=0)
    return [
        b"\0" + _framed([(document[:100], False), (document[100:], True)]),
        b"\1" + _framed([(packed[:20], False), (packed[20:], True)]),
        b"\1" + _framed([(gzip.compress(bytes(2_000_000), mtime=0), True)]),
    ], run


def rtsp_tunnel() -> tuple[list[bytes], Run]:
    """The head of an HTTP response that begins a tunnel, in one piece and in two."""
    from gateway.rtsp.errors import RtspProtocolError
    from gateway.rtsp.tunnel import ResponseHead

    def parsed(*pieces: bytes) -> object:
        head, rest = ResponseHead(), b""
        try:
            for piece in pieces:
                rest += piece if head.status is not None else head.feed(piece) or b""
        except RtspProtocolError:
            return None
        return head.status, list(head.headers), rest

    def run(data: bytes) -> None:
        if data:
            cut = 1 + data[0] % len(data)
            assert parsed(data[1:]) == parsed(data[1:cut], data[cut:])

    return [
        b"\x20HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\nRTSP/1.0 200 OK\r\n",
        b'\x31HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="a", nonce="b"\r\n\r\n',
    ], run


RTSP_TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        rtsp_messages, rtsp_session, rtsp_tunnel, sdp, rtp, video_payloads, audio_payloads, metadata_payloads,
    )
}  # fmt: skip
