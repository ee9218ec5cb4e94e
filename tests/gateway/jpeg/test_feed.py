"""JpegFeed with coded frames, the real decoder and the real encoder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from gateway.errors import UnavailableError
from gateway.hub import PacketHub, SubscriptionClosed
from gateway.jpeg.codec import FrameDecoder, Picture, scaled_size
from gateway.jpeg.feed import LATE_AFTER_S, JpegFeed
from gateway.jpeg.frame_rate import FrameRateLimiter
from gateway.jpeg.reader import JpegReader
from gateway.media import MediaKind, Packet
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.sources.numbered import (
    COUNT,
    FRAME_90K,
    GOP,
    HEIGHT,
    INFO,
    WIDTH,
    number_of,
    packet,
    size_of,
    stream_info,
)


class Scene:
    def __init__(self) -> None:
        self.hub = PacketHub("door")
        self.feed = JpegFeed(self.hub, "door")

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            self.hub.publish(packet(number))

    async def settled(self, frames: int) -> None:
        """Return when so many frames were decoded in all."""
        await eventually(lambda: self.feed.frames_decoded >= frames, "the frames are decoded")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.feed.aclose()


async def test_the_first_frame_of_a_reader_is_at_the_live_edge(scene: Scene) -> None:
    scene.publish(*range(GOP, GOP + 7))
    frame = await scene.feed.subscribe(10, None).get()
    assert number_of(frame.data) == GOP + 6
    assert frame.captured_at_90k == packet(GOP + 6).captured_at_90k
    assert (frame.width, frame.height) == size_of(frame.data) == (WIDTH, HEIGHT)
    assert (frame.camera_id, frame.sequence, frame.skipped) == ("door", 1, 0)


async def test_nothing_is_decoded_without_a_reader(scene: Scene) -> None:
    scene.publish(*range(5))
    assert not scene.feed.is_decoding
    reader = scene.feed.subscribe(25, None)
    await reader.get()
    reader.close()
    assert not scene.feed.is_decoding
    decoded = scene.feed.frames_decoded
    scene.publish(*range(5, 10))
    await asyncio.sleep(0)
    assert scene.feed.frames_decoded == decoded == 5
    with pytest.raises(SubscriptionClosed):
        await reader.get()


async def test_readers_of_one_size_and_rate_share_the_bytes(scene: Scene) -> None:
    readers = [scene.feed.subscribe(25, 80) for _ in range(20)]
    scene.publish(0)
    frames = [await reader.get() for reader in readers]
    assert all(frame.data is frames[0].data for frame in frames)
    assert scene.feed.frames_encoded == 1
    assert size_of(frames[0].data) == (80, 60)


async def test_a_size_is_encoded_once_for_all_its_rates(scene: Scene) -> None:
    fast, slow, small = scene.feed.subscribe(25, None), scene.feed.subscribe(1, None), scene.feed.subscribe(25, 80)
    scene.publish(0)
    assert (await fast.get()).data is (await slow.get()).data
    assert (await small.get()).width == 80
    assert scene.feed.frames_encoded == 2
    assert scene.feed.frames_decoded == 1


async def test_a_slow_reader_gets_the_newest_frame_and_the_count_of_the_skipped_ones(scene: Scene) -> None:
    reader, witness = scene.feed.subscribe(25, None), scene.feed.subscribe(25, 80)
    for number in range(8):
        scene.publish(number)
        await witness.get()
    frame = await reader.get()
    assert number_of(frame.data) == 7
    assert (frame.sequence, frame.skipped) == (8, 7)
    assert reader.take() is None


async def test_frames_above_the_rate_are_skipped_and_counted(scene: Scene) -> None:
    reader, witness = scene.feed.subscribe(5, None), scene.feed.subscribe(25, 80)
    shown = []
    for number in range(20):
        scene.publish(number)
        await witness.get()
        if (frame := reader.take()) is not None:
            shown.append((number_of(frame.data), frame.sequence, frame.skipped))
    assert shown == [(0, 1, 0), (5, 2, 4), (10, 3, 4), (15, 4, 4)]


async def test_packets_wait_until_a_frame_is_due(scene: Scene) -> None:
    reader = scene.feed.subscribe(5, None)
    scene.publish(0)
    await reader.get()
    for number in range(1, 5):
        scene.publish(number)
        for _ in range(5):
            await asyncio.sleep(0)
    assert scene.feed.frames_decoded == 1
    scene.publish(5)
    frame = await reader.get()
    assert (number_of(frame.data), frame.skipped, scene.feed.frames_decoded) == (5, 4, 6)


async def test_packets_wait_for_a_quarter_of_a_second_at_most(scene: Scene) -> None:
    reader = scene.feed.subscribe(0.5, None)
    scene.publish(0)
    await reader.get()
    scene.publish(*range(1, 9))
    await scene.settled(9)
    assert reader.take() is None


async def test_a_frame_that_waited_is_replaced_by_a_newer_one(scene: Scene) -> None:
    reader, witness = scene.feed.subscribe(25, None), scene.feed.subscribe(25, 80)
    scene.publish(0)
    first = await reader.get()
    await witness.get()
    assert reader.newest(first) is first
    scene.publish(1)
    await witness.get()
    newer = reader.newest(first)
    assert (number_of(newer.data), newer.skipped) == (1, 1)


async def test_a_new_size_and_a_new_run_are_followed(scene: Scene) -> None:
    reader = scene.feed.subscribe(25, None)
    scene.publish(0)
    await reader.get()
    scene.hub.end_run()
    larger = stream_info(320, 240)
    scene.hub.publish(packet(COUNT, run=2, info=larger))
    frame = await reader.get()
    assert size_of(frame.data) == (320, 240)
    scene.hub.publish(packet(COUNT + 1, run=2, info=larger))
    assert number_of((await reader.get()).data) == 1


async def test_packets_that_cannot_be_decoded_are_skipped_and_counted(scene: Scene) -> None:
    reader = scene.feed.subscribe(25, None)
    scene.publish(0)
    await reader.get()
    good = packet(1)
    scene.hub.publish(
        Packet(
            good.kind, b"\0\0\0\1\x41garbage" * 9, good.pts_90k, good.dts_90k, 0, False, good.captured_at_90k, INFO, 1
        )
    )
    await eventually(lambda: scene.feed.decode_errors, "the decoder reports an error")
    scene.publish(*range(GOP, GOP + 3))
    frame = await reader.get()
    while number_of(frame.data) != GOP + 2:
        frame = await reader.get()
    assert scene.feed.decode_errors == 1


async def test_a_stream_that_cannot_be_decoded_any_more_is_a_fault_until_it_can() -> None:
    clock, told = ManualClock(), 0

    def count() -> None:
        nonlocal told
        told += 1

    hub = PacketHub("door")
    feed = JpegFeed(hub, "door", clock, count)
    reader = feed.subscribe(25, None)
    hub.publish(packet(0))
    await reader.get()
    for number in range(1, GOP):
        good = packet(number)
        data = b"\0\0\0\1\x41garbage" * 9
        hub.publish(Packet(good.kind, data, good.pts_90k, good.dts_90k, 0, False, good.captured_at_90k, INFO, 1))
        await eventually(lambda number=number: feed.decode_errors == number, "the packet is tried")  # type: ignore[misc]
        assert feed.has_fault == (number >= 6)
        clock.now += 1.0
    assert told == 1
    hub.publish(packet(GOP))
    await reader.get()
    assert (feed.has_fault, told) == (False, 2)
    await feed.aclose()


def quantizer(jpeg: bytes) -> int:
    """The first number of the quantisation table (ITU-T T.81 B.2.4.1): the larger, the coarser."""
    return jpeg[jpeg.index(b"\xff\xdb") + 5]


async def test_a_quality_is_encoded_for_its_readers_alone(scene: Scene) -> None:
    usual, coarse = scene.feed.subscribe(25, None), scene.feed.subscribe(25, None, quality=20)
    scene.publish(0)
    assert quantizer((await coarse.get()).data) > 2 * quantizer((await usual.get()).data)
    others = [scene.feed.subscribe(25, None, quality=quality) for quality in (30, 40, 50, 60)]
    assert [each.quality for each in others] == [30, 40, 50, None], "their number is limited"
    coarse_one, usual_one = await scene.feed.snapshot(quality=20), await scene.feed.snapshot()
    assert quantizer(coarse_one.data) > 2 * quantizer(usual_one.data)


async def test_audio_is_not_decoded(scene: Scene) -> None:
    reader = scene.feed.subscribe(25, None)
    scene.publish(0)
    await reader.get()
    scene.hub.publish(Packet(MediaKind.AUDIO, b"\xd5" * 160, 0, 0, 1800, True, 0, INFO, 1))
    scene.publish(1)
    assert number_of((await reader.get()).data) == 1
    assert scene.feed.packets_skipped == 0


async def test_the_decoder_skips_to_a_queued_keyframe(scene: Scene) -> None:
    reader = scene.feed.subscribe(25, None)
    scene.publish(0)
    await reader.get()
    scene.publish(*range(1, 2 * GOP + 3))
    frame = await reader.get()
    assert number_of(frame.data) == 2 * GOP + 2
    assert scene.feed.packets_skipped == 2 * GOP - 1
    assert frame.skipped == 2


async def test_a_decoder_that_stays_behind_skips_to_the_next_keyframe(scene: Scene) -> None:
    reader = scene.feed.subscribe(25, None)
    scene.publish(0)
    await reader.get()
    # All at once, as after a long decode: nine pictures of half a second each, and no keyframe among them.
    for number in range(1, GOP):
        late = packet(number)
        scene.hub.publish(replace(late, captured_at_90k=late.captured_at_90k + number * CLOCK_RATE // 2))
    await eventually(lambda: scene.feed.packets_skipped >= GOP - 1, "the rest of the GOP is skipped")
    assert reader.take() is None
    scene.hub.publish(replace(packet(GOP), captured_at_90k=6 * CLOCK_RATE))
    frame = await reader.get()
    assert (number_of(frame.data), frame.captured_at_90k) == (GOP, 6 * CLOCK_RATE)
    assert scene.feed.frames_decoded == 2


async def test_a_decoder_that_is_always_late_sends_a_frame_now_and_then() -> None:
    clock = ManualClock()
    hub = PacketHub("door")
    feed = JpegFeed(hub, "door", clock)
    reader = feed.subscribe(25, None)

    def publish_late(gop: int) -> None:
        """A keyframe, and two seconds of frames that come while it is decoded."""
        for number in (gop * GOP, gop * GOP + 1):
            at_90k = (4 * gop + 2 * (number % GOP)) * CLOCK_RATE
            hub.publish(replace(packet(number), captured_at_90k=at_90k))

    async def decoded(frames: int) -> None:
        await eventually(lambda: feed.frames_decoded == frames, "the keyframe is decoded")

    class SlowDecoder(FrameDecoder):
        def decode(self, packet: Packet) -> Picture | None:
            frame = super().decode(packet)
            return frame if packet.is_keyframe else None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gateway.jpeg.feed.FrameDecoder", SlowDecoder)
        for gop in range(2):
            publish_late(gop)
            await decoded(gop + 1)
            assert reader.take() is None
        clock.now += LATE_AFTER_S
        publish_late(2)
        frame = await reader.get()
        assert frame.captured_at_90k == 8 * CLOCK_RATE
        publish_late(3)
        await decoded(4)
        assert reader.take() is None
    await feed.aclose()


async def test_closing_the_feed_ends_its_readers(scene: Scene) -> None:
    reader = scene.feed.subscribe(25, None)
    scene.publish(0)
    await reader.get()
    await scene.feed.aclose()
    with pytest.raises(SubscriptionClosed):
        await reader.get()
    assert [frame async for frame in scene.feed.subscribe(25, None)] == []


# --- snapshots


async def test_a_snapshot_is_of_the_live_edge_and_leaves_nothing_running(scene: Scene) -> None:
    scene.publish(*range(GOP, GOP + 4))
    frame = await scene.feed.snapshot()
    assert number_of(frame.data) == GOP + 3
    assert frame.captured_at_90k == packet(GOP + 3).captured_at_90k
    assert not scene.feed.is_decoding


async def test_concurrent_snapshots_share_one_decode_and_one_encode_of_each_size(scene: Scene) -> None:
    scene.publish(*range(5))
    frames = await asyncio.gather(*(scene.feed.snapshot(width) for width in (None, 80) * 10))
    assert len({id(frame) for frame in frames}) == 2
    assert {size_of(frame.data) for frame in frames} == {(WIDTH, HEIGHT), (80, 60)}


async def test_a_cancelled_snapshot_does_not_cancel_the_others(scene: Scene) -> None:
    scene.publish(*range(5))
    leaving = asyncio.create_task(scene.feed.snapshot())
    await asyncio.sleep(0)
    staying = asyncio.create_task(scene.feed.snapshot())
    await asyncio.sleep(0)
    leaving.cancel()
    assert number_of((await staying).data) == 4


async def test_a_snapshot_uses_the_frame_of_a_reader(scene: Scene) -> None:
    scene.publish(*range(5))
    reader = scene.feed.subscribe(25, None)
    await reader.get()
    assert number_of((await scene.feed.snapshot(80)).data) == 4
    assert scene.feed.frames_decoded == 5


async def test_no_snapshot_without_a_keyframe(scene: Scene) -> None:
    with pytest.raises(UnavailableError, match="no frame yet"):
        await scene.feed.snapshot()
    scene.publish(0)
    assert (await scene.feed.snapshot()).sequence == 1
    scene.hub.end_run()
    await asyncio.sleep(0.11)  # the snapshot before serves that long
    with pytest.raises(UnavailableError):
        await scene.feed.snapshot()


async def test_ever_new_widths_are_few_encodes_of_a_frame(scene: Scene) -> None:
    scene.publish(*range(GOP))
    above = [scene.feed.subscribe(10, width) for width in range(WIDTH, WIDTH + 60)]
    below = [scene.feed.subscribe(10, width) for width in range(20, 20 + 60)]
    frames = [await reader.get() for reader in above + below]
    assert {frame.width for frame in frames[:60]} == {WIDTH}
    assert scene.feed.frames_encoded <= 8
    assert scene.feed.widths_replaced > 40


async def test_ever_new_widths_of_a_snapshot_are_few_encodes(scene: Scene) -> None:
    scene.publish(*range(GOP))
    frames = await asyncio.gather(*(scene.feed.snapshot(width) for width in range(16, 300)))
    assert len({id(frame.data) for frame in frames}) <= 8
    assert {frame.width for frame in frames[-100:]} == {WIDTH}


# --- sans-IO


@given(st.floats(0.5, 60), st.floats(5, 60))
def test_the_limiter_keeps_the_rate(frame_rate: float, camera_fps: float) -> None:
    limiter = FrameRateLimiter(frame_rate)
    seconds = 20
    taken = [at for n in range(round(camera_fps * seconds)) if limiter.take(at := round(n * CLOCK_RATE / camera_fps))]
    expected = min(frame_rate, camera_fps) * seconds
    assert expected * 0.9 - 2 <= len(taken) <= expected * 1.1 + 2
    if taken:
        assert taken[0] == 0


def test_the_limiter_begins_anew_after_the_clock_was_set_back() -> None:
    limiter = FrameRateLimiter(10)
    assert limiter.take(100 * CLOCK_RATE)
    assert not limiter.take(100 * CLOCK_RATE + FRAME_90K)
    assert limiter.take(50 * CLOCK_RATE)
    assert not limiter.take(50 * CLOCK_RATE + FRAME_90K)


def test_ten_of_thirty_is_every_third() -> None:
    limiter = FrameRateLimiter(10)
    taken = [number for number in range(60) if limiter.take(number * 3000)]
    assert {later - earlier for earlier, later in pairwise(taken)} == {3}


@given(st.integers(2, 8000), st.integers(2, 8000), st.none() | st.integers(16, 7680))
def test_scaling_never_enlarges_and_keeps_the_aspect(width: int, height: int, to_width: int | None) -> None:
    new_width, new_height = scaled_size(width, height, to_width)
    assert new_width <= width
    assert new_height >= 2
    if (new_width, new_height) != (width, height):
        assert new_width % 2 == new_height % 2 == 0
        assert abs(new_height - height * new_width / width) <= 2


async def test_a_cancelled_reader_is_closed_by_its_owner(scene: Scene) -> None:
    async def look(reader: JpegReader) -> None:
        with contextlib.closing(reader):
            await reader.get()

    reader = scene.feed.subscribe(25, None)
    task = asyncio.create_task(look(reader))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert not scene.feed.is_decoding
