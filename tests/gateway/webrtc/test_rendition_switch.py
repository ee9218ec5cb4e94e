"""A viewer that is changed from one rendition to the other: what it is sent, and which one it gets when."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiortc.rtp import RtcpRtpfbPacket, RtpPacket

from gateway.camera_settings import RenditionName
from gateway.errors import BadRequestError, NegotiationError, NotFoundError
from gateway.hub import PacketHub
from gateway.media import StreamInfo, VideoInfo
from gateway.session import SessionState
from gateway.settings import load_settings
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.media_transport import SrtpConnection
from gateway.webrtc.rendition_request import RenditionRequest, preferred
from gateway.webrtc.sdp.negotiation import negotiate
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.session import LocalSsrcs, MediaSession
from gateway.webrtc.viewer import Viewer
from tests.gateway.webrtc.sdp.test_answer import HEAD, VIDEO
from tests.gateway.webrtc.test_session import PlainSession
from tests.gateway.webrtc.wire import FRAME_90K, INFO, CapturingTransport, packet, srtp
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.rtsp import RtspServer
from tests.support.two_streams import QUICK, Open, ask, gets
from tests.support.webrtc import Join

PINNED = {name: RenditionRequest(name) for name in RenditionName}


class Scene:
    """One session, two hubs whose clocks have begun at different times, and what the viewer was sent."""

    def __init__(self, formats: str = VIDEO.replace("apt=102", "apt=106"), others: Sequence[VideoInfo] = ()) -> None:
        self.clock, self.wire = ManualClock(), CapturingTransport()
        self.hubs = {name: PacketHub("door") for name in RenditionName}
        self.fanouts = {name: CameraFanout(hub, self.clock, lambda why: None) for name, hub in self.hubs.items()}
        self.frames = dict.fromkeys(RenditionName, 0)
        self.session = MediaSession(
            negotiate(parse_offer(HEAD + formats), INFO, "door", others),
            LocalSsrcs(1, 2, 3),
            "door",
            SrtpConnection(srtp(), PlainSession(), 16, self.wire),
            fanout=self.fanouts[RenditionName.MAIN],
            clock=self.clock,
        )
        self.seen: list[RtpPacket] = []

    def play(self, name: RenditionName, frames: int, *, key: bool = False, info: StreamInfo = INFO) -> None:
        """Frames of one rendition at the rate of the clock. The sub stream's timestamps are 1000 s ahead."""
        for number in range(frames):
            shift = 90_000_000 if name is RenditionName.SUB else 0
            plain = packet(self.frames[name], key=key and number == 0, info=info)
            if info.video.codec == "hevc":
                # An IDR or a trailing picture (H.265 §7.4.2.2).
                plain = replace(
                    plain, data=plain.data[:4] + bytes((0x26 if plain.is_keyframe else 0x02, 1)) + plain.data[6:]
                )
            self.frames[name] += 1
            self.clock.now += FRAME_90K / 90_000
            pts = plain.pts_90k + shift
            captured = self.clock.wall_90k()
            self.hubs[name].publish(replace(plain, pts_90k=pts, dts_90k=pts, captured_at_90k=captured))
        self.seen += [each for each in self.wire.take() if each.ssrc == 1]


def assert_continuous(seen: list[RtpPacket]) -> None:
    """No gap in the sequence numbers, one SSRC, and timestamps that rise."""
    numbers = [each.sequence_number for each in seen]
    assert all((after - before) & 0xFFFF == 1 for before, after in itertools.pairwise(numbers)), numbers
    steps = [(after.timestamp - before.timestamp) & 0xFFFFFFFF for before, after in itertools.pairwise(seen)]
    assert all(step < 1 << 31 for step in steps), steps
    assert len({each.ssrc for each in seen}) == 1


async def test_sequence_numbers_and_timestamps_continue_through_a_switch() -> None:
    scene = Scene()
    main, sub = RenditionName.MAIN, RenditionName.SUB
    scene.play(main, 3, key=True)
    scene.session.begin(lambda error: pytest.fail(str(error)))
    scene.play(main, 2)
    at = scene.session.rtp_timestamp(scene.clock.wall_90k())
    old = scene.seen[-1]
    scene.fanouts[sub].at_next_keyframe(lambda: scene.session.switch(scene.fanouts[sub]))
    scene.play(sub, 3)
    assert scene.seen[-1] is old, "nothing of the other one before its keyframe"
    scene.play(sub, 3, key=True)
    scene.play(main, 2)
    assert_continuous(scene.seen)
    assert len({each.timestamp for each in scene.seen}) == 5 + 3
    now = scene.session.rtp_timestamp(scene.clock.wall_90k())
    assert at is not None
    assert now is not None
    # Of one clock: the RTP time of a moment is the same, whichever rendition is sent.
    passed = (2 + 3 + 3 + 2 - 2) * FRAME_90K
    assert abs(((now - at) & 0xFFFFFFFF) - passed) < 90
    # What was sent of the first one can be sent again.
    scene.session.receive(bytes(RtcpRtpfbPacket(fmt=1, ssrc=9, media_ssrc=1, lost=[old.sequence_number])))
    (again,) = scene.wire.take()
    assert again.payload[2:] == old.payload
    assert again.timestamp == old.timestamp
    # And back, at once, from the GOP in memory.
    scene.play(main, 3, key=True)
    scene.session.switch(scene.fanouts[main])
    scene.play(main, 2)
    assert_continuous(scene.seen)


async def test_a_rendition_of_another_codec_goes_on_with_its_payload_type() -> None:
    hevc = replace(INFO, video=replace(INFO.video, codec="hevc", parameter_sets=b""))
    formats = VIDEO.replace("apt=102", "apt=106").replace("a=rtpmap:96 VP8/90000", "a=rtpmap:96 H265/90000")
    formats = formats.replace("a=rtpmap:102", "a=rtcp-fb:96 nack\na=rtpmap:102", 1)
    main, sub = RenditionName.MAIN, RenditionName.SUB
    scene = Scene(formats, [hevc.video])
    scene.play(main, 2, key=True)
    scene.session.begin(lambda error: pytest.fail(str(error)))
    scene.play(main, 1)
    old = scene.seen[-1]
    scene.fanouts[sub].at_next_keyframe(lambda: scene.session.switch(scene.fanouts[sub]))
    scene.play(sub, 2, key=True, info=hevc)
    new = scene.seen[-1]
    assert [each.payload_type for each in (scene.seen[0], old, new)] == [106, 106, 96]
    assert_continuous(scene.seen)
    for lost, rtx_type in ((old, 103), (new, 97)):
        scene.session.receive(bytes(RtcpRtpfbPacket(fmt=1, ssrc=9, media_ssrc=1, lost=[lost.sequence_number])))
        (again,) = scene.wire.take()
        assert (again.payload_type, again.ssrc, again.payload[2:]) == (rtx_type, 2, lost.payload)
    scene.play(main, 1, key=True)
    scene.session.switch(scene.fanouts[main])
    scene.play(main, 1)
    assert scene.seen[-1].payload_type == 106
    assert_continuous(scene.seen)


async def test_a_switch_back_and_forth_leaves_no_sender_behind() -> None:
    scene = Scene()
    main, sub = RenditionName.MAIN, RenditionName.SUB
    scene.play(main, 2, key=True)
    scene.play(sub, 2, key=True)
    scene.session.begin(lambda error: pytest.fail(str(error)))
    for _ in range(5):
        for name in (sub, main):
            scene.session.switch(scene.fanouts[name])
            scene.play(name, 2)
    assert (len(scene.fanouts[main]), len(scene.fanouts[sub])) == (1, 0)
    assert_continuous(scene.seen)


@pytest.mark.parametrize(
    ("rendition", "width", "height", "message"),
    [
        ("both", None, None, "auto, main or sub"),
        (None, 10, None, "both"),
        (None, 0, 5, "from 1"),
        (None, 99999, 5, "16384"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    rendition: str | None, width: int | None, height: int | None, message: str
) -> None:
    with pytest.raises(BadRequestError, match=message):
        RenditionRequest.parse(rendition, width, height)


# --- with a real RTSP server

real = pytest.mark.integration


def is_after_a_while(viewer: Viewer, rendition: object) -> bool:
    """Whether the viewer gets this, as AVOID_S later."""
    assert viewer.rendition is not None
    for seen in viewer.rendition.sendable._seen.values():
        seen.avoid_until_s = float("-inf")
    return viewer.rendition.current is rendition


@real
async def test_a_viewer_is_switched_by_the_size_of_its_tile_and_by_a_pin(
    opened: Open, join: Join, server: WebRtcServer
) -> None:
    camera = opened()
    peer, viewer = await join(camera)
    received: list[RtpPacket] = []
    receiver = peer.getReceivers()[0]
    handle = receiver._handle_rtp_packet

    async def note(packet: RtpPacket, arrival_time_ms: int) -> None:
        received.append(packet)
        await handle(packet, arrival_time_ms)

    receiver._handle_rtp_packet = note  # type: ignore[method-assign]
    assert gets(viewer) == "main"
    assert camera.sub is not None
    assert camera.sub.session.state is SessionState.STOPPED
    ssrcs = viewer.ssrcs
    ask(viewer, RenditionRequest(tile=(320, 180)))
    await eventually(lambda: gets(viewer) == "sub", "the viewer gets the sub stream")
    assert camera.viewers == {"webrtc": 1}
    await eventually(lambda: camera.session.state is SessionState.STOPPED, "the main stream is not captured any more")
    ask(viewer, RenditionRequest(tile=(1280, 720)))
    await eventually(lambda: gets(viewer) == "main", "the viewer gets the main stream")
    ask(viewer, PINNED[RenditionName.SUB])
    await eventually(lambda: gets(viewer) == "sub", "the viewer gets the pinned stream")
    stats = viewer.stats()
    assert (stats.rendition, stats.pinned, stats.rendition_reason) == ("sub", True, "it was asked for")
    assert server.totals("door").rendition_switches == 3
    count = len(received)
    await eventually(lambda: len(received) > count + 10, "packets go on")
    video = [each for each in received if each.ssrc == ssrcs.video]
    first = video[0].sequence_number
    video.sort(key=lambda each: (each.sequence_number - first) & 0xFFFF)
    assert_continuous(video)
    await viewer.close()
    assert camera.viewers == {}
    assert len(server._fanouts) == 0


@real
async def test_a_viewer_begins_with_what_is_there_and_is_then_switched(opened: Open, server: WebRtcServer) -> None:
    camera = opened()
    small = RenditionRequest(tile=(160, 90))
    assert [each.name.value for each in preferred(camera, small)] == ["sub", "main"]
    assert [each.name.value for each in preferred(camera, RenditionRequest())] == ["main", "sub"]
    hold = camera.main.hold("test")
    await camera.main.wait_for_keyframe(10)
    assert [each.name.value for each in preferred(camera, small)] == ["main", "sub"]
    hold.release()


@real
async def test_a_viewer_that_cannot_decode_the_main_stream_gets_the_sub_stream(
    opened: Open, join: Join, rtsp_server: RtspServer
) -> None:
    for mount in ("/hevc", "/bframes"):
        camera = opened(url=rtsp_server.url(mount))
        _, viewer = await join(camera)
        assert gets(viewer) == "sub", mount
        ask(viewer, RenditionRequest(tile=(3840, 2160)))
        assert gets(viewer) == "sub"
        await viewer.close()
    camera = opened(url=rtsp_server.url("/hevc"), sub_url=None, transcode="never")
    with pytest.raises(NegotiationError):
        await join(camera)


@real
async def test_a_viewer_goes_on_with_the_other_stream_when_its_own_is_lost(
    opened: Open, join: Join, own_rtsp_server: RtspServer, rtsp_server: RtspServer
) -> None:
    camera = opened(url=own_rtsp_server.url("/large"), **QUICK)
    _, viewer = await join(camera)
    assert gets(viewer) == "main"
    await asyncio.to_thread(own_rtsp_server.kill)
    await eventually(lambda: gets(viewer) == "sub", "the viewer gets the sub stream")
    sent = viewer.stats().packets_sent
    await eventually(lambda: viewer.stats().packets_sent > sent + 20, "it is sent video")
    assert viewer.reason is None
    await asyncio.to_thread(own_rtsp_server.restart)
    await eventually(lambda: gets(viewer) == "main", "the viewer gets the main stream again")


@real
async def test_a_transcode_takes_the_place_of_a_lost_stream_and_is_left_when_it_comes_back(
    opened: Open, join: Join, own_rtsp_server: RtspServer, rtsp_server: RtspServer
) -> None:
    camera = opened(url=rtsp_server.url("/bframes"), sub_url=own_rtsp_server.url("/gop1"), **QUICK)
    _, viewer = await join(camera)
    switch = viewer.rendition
    assert switch is not None
    assert switch.current is camera.sub
    await asyncio.to_thread(own_rtsp_server.kill)
    await eventually(lambda: switch.current is camera.transcode, "the viewer gets the transcode")
    sent = viewer.stats().packets_sent
    await eventually(lambda: viewer.stats().packets_sent > sent + 20, "it is sent video")
    assert camera.viewers == {"webrtc": 1}
    assert "transcoded" in switch.reason
    await asyncio.to_thread(own_rtsp_server.restart)
    await eventually(lambda: is_after_a_while(viewer, camera.sub), "the viewer gets the sub stream again")
    await eventually(lambda: camera.transcode.pid is None, "nothing is transcoded any more")
    # The main stream is made one that can be sent: that is left for it as well.
    await asyncio.to_thread(own_rtsp_server.kill)
    await eventually(lambda: switch.current is camera.transcode, "the viewer gets the transcode")
    table = {"url": rtsp_server.url("/large"), "start": "on-demand", "record": "never", "capture_linger": 0}
    camera.reconfigure(load_settings().camera("door", table), camera.main._engine_factory)
    await eventually(lambda: is_after_a_while(viewer, camera.main), "the viewer gets the main stream")
    assert viewer.reason is None


@real
async def test_a_viewer_stays_where_its_camera_changes_to_b_frames(
    opened: Open, join: Join, rtsp_server: RtspServer
) -> None:
    camera = opened(sub_url=None)
    _, viewer = await join(camera)
    switch = viewer.rendition
    assert switch is not None
    table = {"url": rtsp_server.url("/bframes"), "start": "on-demand", "record": "never", "capture_linger": 0}
    camera.reconfigure(load_settings().camera("door", table), camera.main._engine_factory)
    await eventually(lambda: switch.current is camera.transcode, "the viewer gets the transcode")
    sent = viewer.stats().packets_sent
    await eventually(lambda: viewer.stats().packets_sent > sent + 20, "it is sent video")
    assert viewer.reason is None


@real
async def test_a_viewer_stays_where_its_stream_changes_to_another_codec_that_was_negotiated(
    opened: Open, join: Join, rtsp_server: RtspServer, server: WebRtcServer
) -> None:
    camera = opened(sub_url=None)
    viewers = [(await join(camera))[1] for _ in range(2)]
    for viewer in viewers:
        assert viewer.rendition is not None
        viewer.rendition.sendable.can_decode = lambda video: True
    table = {"url": rtsp_server.url("/hevc"), "start": "on-demand", "record": "never", "capture_linger": 0}
    camera.reconfigure(load_settings().camera("door", table), camera.main._engine_factory)
    await eventually(lambda: {viewer.stats().codec for viewer in viewers} == {"hevc"}, "they get the other codec")
    sent = viewers[0].stats().packets_sent
    await eventually(lambda: viewers[0].stats().packets_sent > sent + 5, "they are sent video")
    assert len(server._fanouts) == 1
    assert camera.viewers == {"webrtc": 2}
    for viewer in viewers:
        assert viewer.reason is None
        await viewer.close()
    assert len(server._fanouts) == 0


@real
async def test_a_sub_stream_that_does_not_start_leaves_the_viewer_with_the_main_stream(
    opened: Open, join: Join, rtsp_server: RtspServer
) -> None:
    camera = opened(sub_url=rtsp_server.url("/none"), connection_retry_attempts=0)
    _, viewer = await join(camera)
    ask(viewer, RenditionRequest(tile=(160, 90)))
    switch = viewer.rendition
    assert switch is not None
    await eventually(lambda: camera.sub in switch.awaited, "it is captured")
    await eventually(lambda: camera.sub and camera.sub.session.state is SessionState.FAILED, "it has failed")
    viewer.update_rendition()
    assert gets(viewer) == "main"
    assert switch.reason == "the sub stream is lost"
    assert camera.sub is not None
    runs = camera.sub.runs._run
    for _ in range(5):
        viewer.update_rendition()
    await asyncio.sleep(0.1)
    assert camera.sub.runs._run == runs, "it is not tried again at once"
    assert camera.viewers == {"webrtc": 1}


@real
async def test_a_sub_stream_that_is_removed_leaves_its_viewers_with_the_main_stream(
    opened: Open, join: Join, rtsp_server: RtspServer, server: WebRtcServer
) -> None:
    camera = opened(start="always")
    _, viewer = await join(camera)
    ask(viewer, PINNED[RenditionName.SUB])
    await eventually(lambda: gets(viewer) == "sub", "the viewer gets the sub stream")
    table = {"url": rtsp_server.url("/large"), "start": "always", "record": "never"}
    camera.reconfigure(load_settings().camera("door", table), camera.main._engine_factory)
    await eventually(lambda: gets(viewer) == "main", "the viewer gets the main stream")
    with pytest.raises(NotFoundError):
        ask(viewer, PINNED[RenditionName.SUB])
    assert viewer.reason is None
    assert len(server._fanouts) == 1


@real
async def test_the_network_decides_before_the_tile(opened: Open, join: Join) -> None:
    camera = opened(start="always")
    _, viewer = await join(camera)
    switch = viewer.rendition
    assert switch is not None
    await eventually(lambda: camera.main.bitrate_bps, "its bitrate is known")

    def is_switched() -> bool:
        switch.update(1.0)
        return gets(viewer) == "sub"

    await eventually(is_switched, "the viewer gets the sub stream")
    assert "kbit/s" in switch.reason
    assert switch.wanted_bps is not None
