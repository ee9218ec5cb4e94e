"""WebRTC in a real Chromium: codecs, sound, TCP, loss, restarts of the camera."""

import time
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from playwright.async_api import Page

from gateway.media import AudioInfo
from gateway.webrtc.ice.udp import UdpTransport
from gateway.webrtc.rtp.rtcp import NTP_EPOCH_S
from gateway.webrtc.server import WebRtcServer
from tests.support.browser import assert_moving_picture, look
from tests.support.eventually import eventually
from tests.support.sources.encoded_loop import AudioLoop, EncodedLoopEngine, av1_loop, encode_loop
from tests.support.webrtc import Cameras, stat, stats_of, watch

TCP_ONLY = "return sdp.split('\\r\\n').filter((line) => !/^a=candidate.* udp /.test(line)).join('\\r\\n')"


@cache
def tone(codec: str, rate_hz: int, samples: int) -> AudioLoop:
    """A second of 440 Hz, encoded as a camera would send it."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout = rate_hz, "mono"
    encoder.format = "fltp" if codec == "aac" else "s16"
    encoder.time_base = Fraction(1, rate_hz)
    encoder.open()
    frames = []
    for number in range(rate_hz // samples):
        wave = 0.5 * np.sin(2 * np.pi * 440 / rate_hz * np.arange(number * samples, (number + 1) * samples))
        block = wave.astype("f4") if codec == "aac" else (wave * 32_767).astype("i2")
        frame = av.AudioFrame.from_ndarray(block[None, :], format=encoder.format.name, layout="mono")
        frame.sample_rate, frame.pts = rate_hz, number * samples
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    info = AudioInfo(codec, codec, rate_hz, 1, bytes(encoder.extradata or b""))
    return AudioLoop(info, samples * 90_000 // rate_hz, tuple(frames))


async def test_h264_is_forwarded_and_plays(server: WebRtcServer, camera_with: Cameras, page: Page) -> None:
    await watch(page, server, camera_with(encode_loop()))
    assert_moving_picture(await look(page))
    stats = await stats_of(page)
    assert stats["inbound-rtp"]["packetsLost"] == 0
    assert stats["inbound-rtp"]["frameWidth"] == 320


async def test_high_profile_and_large_keyframes_play(server: WebRtcServer, camera_with: Cameras, page: Page) -> None:
    await watch(page, server, camera_with(encode_loop(1280, 720, fps=15, gop=15, bit_rate=6_000_000, profile="high")))
    seen = await look(page)
    assert_moving_picture(seen)
    assert (seen[-1]["width"], seen[-1]["height"]) == (1280, 720)


async def test_av1_is_forwarded_and_plays(server: WebRtcServer, camera_with: Cameras, page: Page) -> None:
    await watch(page, server, camera_with(av1_loop(), transcode="never"))
    assert_moving_picture(await look(page))
    stats = await stats_of(page)
    assert (stats["inbound-rtp"]["frameWidth"], stats["inbound-rtp"]["packetsLost"]) == (640, 0)
    (viewer,) = server.viewers.values()
    assert (viewer.stats().codec, viewer.stats().transcoded) == ("av1", False)


async def test_video_plays_over_tcp_alone(server: WebRtcServer, camera_with: Cameras, page: Page) -> None:
    await watch(page, server, camera_with(encode_loop(bit_rate=2_000_000)), TCP_ONLY)
    assert_moving_picture(await look(page))
    (viewer,) = server.viewers.values()
    assert viewer.stats().transport == "tcp"


async def test_camera_that_restarts_with_another_size_keeps_the_connection(
    server: WebRtcServer, camera_with: Cameras, page: Page
) -> None:
    camera = camera_with(encode_loop())
    await watch(page, server, camera)
    before = (await stats_of(page))["inbound-rtp"]["ssrc"]
    EncodedLoopEngine.showing["loop"] = (encode_loop(480, 270), None)
    await page.wait_for_function("() => document.querySelector('video').videoWidth === 480")
    assert_moving_picture(await look(page))
    assert (await stats_of(page))["inbound-rtp"]["ssrc"] == before
    assert await page.evaluate("() => peer.connectionState") == "connected"
    assert len(server.viewers) == 1


@pytest.mark.parametrize(
    ("sound", "mime_type"),
    [
        (("pcm_alaw", 8000, 160), "audio/PCMA"),
        (("pcm_mulaw", 8000, 160), "audio/PCMU"),
        (("libopus", 48_000, 960), "audio/opus"),
        (("aac", 16_000, 1024), "audio/opus"),
    ],
)
async def test_audio_plays(
    server: WebRtcServer, camera_with: Cameras, page: Page, sound: tuple[str, int, int], mime_type: str
) -> None:
    codec, rate_hz, samples = sound
    sound_track = tone(codec, rate_hz, samples)
    if codec == "libopus":
        sound_track = AudioLoop(AudioInfo("opus", "opus", rate_hz, 1), sound_track.frame_90k, sound_track.frames)
    await watch(page, server, camera_with(encode_loop(), sound_track))
    assert await stat(page, "audio", "totalAudioEnergy") > 0
    stats = await stats_of(page)
    codecs = await page.evaluate("async () => [...(await peer.getStats()).values()].filter((i) => i.type === 'codec')")
    assert {item["mimeType"] for item in codecs if item["id"] == stats["audio"]["codecId"]} == {mime_type}
    assert_moving_picture(await look(page))


async def test_sender_reports_map_audio_and_video_to_the_wall_clock(
    server: WebRtcServer, camera_with: Cameras, page: Page
) -> None:
    await watch(page, server, camera_with(encode_loop(), tone("pcm_alaw", 8000, 160)))
    for kind in ("inbound-rtp", "audio"):
        shown_ms = await stat(page, kind, "estimatedPlayoutTimestamp")
        assert abs(shown_ms - (time.time() + NTP_EPOCH_S) * 1000) < 2000


async def test_lost_packets_are_retransmitted_on_nack(
    server: WebRtcServer, camera_with: Cameras, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, count = UdpTransport.send, 0

    def lossy(path: UdpTransport, data: memoryview | bytes, segment_bytes: int) -> bool:
        nonlocal count
        count += 1
        # Drop one batch of media in eleven. RTCP, DTLS and STUN packets are shorter.
        if len(data) > 300 and count % 11 == 0:
            return True
        return send(path, data, segment_bytes)

    monkeypatch.setattr(UdpTransport, "send", lossy)
    await watch(page, server, camera_with(encode_loop(bit_rate=2_000_000)))
    (viewer,) = server.viewers.values()
    await eventually(lambda: viewer.stats().retransmitted >= 20, "20 packets are retransmitted")
    assert_moving_picture(await look(page))
    inbound = (await stats_of(page))["inbound-rtp"]
    assert inbound["nackCount"] > 0
    assert inbound["retransmittedPacketsReceived"] > 0


async def test_pli_after_a_lost_keyframe_is_answered_from_the_gop(
    server: WebRtcServer, camera_with: Cameras, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a GOP of 20 s and without retransmission, only the answer to a PLI restores the video."""
    send, lost = UdpTransport.send, 0

    def lossy(path: UdpTransport, data: memoryview | bytes, segment_bytes: int) -> bool:
        nonlocal lost
        if len(data) > 300 and 0 < lost <= 40:
            lost += 1
            return True
        return send(path, data, segment_bytes)

    # Before the viewer joins: its sender takes the size when it is created.
    monkeypatch.setattr("gateway.webrtc.rtp.retransmitter.RETRANSMIT_BUCKET_BYTES", 0)
    await watch(page, server, camera_with(encode_loop(gop=600)))
    (viewer,) = server.viewers.values()
    monkeypatch.setattr(UdpTransport, "send", lossy)
    # Such a loss can set a bandwidth limit, which replays the GOP for another reason: switch that off.
    monkeypatch.setattr("gateway.webrtc.session.MediaSession._adapt", lambda *_: None)
    assert viewer.stats().replays == 1
    lost = 1
    await eventually(lambda: viewer.stats().replays >= 2, "the GOP is replayed after the PLI")
    assert_moving_picture(await look(page))
    assert (await stats_of(page))["inbound-rtp"]["pliCount"] > 0


async def test_closed_connection_is_noticed_at_once(server: WebRtcServer, camera_with: Cameras, page: Page) -> None:
    camera = camera_with(encode_loop())
    await watch(page, server, camera)
    (viewer,) = server.viewers.values()
    await page.evaluate("() => peer.close()")
    await eventually(viewer.closed.is_set, "the viewer's session is closed")
    assert viewer.reason == "it closed the connection"
    assert not camera.viewers
    assert not server.viewers
