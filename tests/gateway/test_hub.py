"""PacketHub: the GOP, new consumers, slow subscribers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hub import PacketHub, SubscriptionClosed
from gateway.media import MediaKind, Packet, StreamInfo, VideoInfo

INFO = StreamInfo(VideoInfo("h264", "avc1.42e01f", 640, 360, b"\0\0\0\1\x67\0\0\0\1\x68"))


def packet(number: int, *, key: bool = False, size: int = 10, kind: MediaKind = MediaKind.VIDEO) -> Packet:
    time_90k = number * 3000
    return Packet(kind, bytes(size), time_90k, time_90k, 3000, key, time_90k, INFO, run=1)


def number(item: Packet) -> int:
    return item.dts_90k // 3000


async def test_a_new_consumer_gets_the_gop_and_then_the_live_packets_without_gap_or_repeat() -> None:
    hub = PacketHub("door")
    for i in range(7):
        hub.publish(packet(i, key=i % 5 == 0))
    subscription = hub.subscribe()
    seen: list[Packet] = []
    hub.attach(seen.append)
    for i in range(7, 10):
        hub.publish(packet(i))
    assert [number(await subscription.get()) for _ in range(5)] == [5, 6, 7, 8, 9]
    assert [number(item) for item in seen] == [5, 6, 7, 8, 9]


def test_sinks_attached_as_first_are_called_first_whenever_they_were_attached() -> None:
    hub = PacketHub("door")
    calls: list[str] = []
    detach = [
        hub.attach(lambda _: calls.append("hls")),
        hub.attach(lambda _: calls.append("webrtc"), first=True),
        hub.attach(lambda _: calls.append("jpeg")),
        hub.attach(lambda _: calls.append("webrtc 2"), first=True),
    ]
    hub.publish(packet(0, key=True))
    assert calls == ["webrtc", "webrtc 2", "hls", "jpeg"]
    detach[1]()
    calls.clear()
    hub.publish(packet(1))
    assert calls == ["webrtc 2", "hls", "jpeg"]


async def test_audio_belongs_to_the_gop_and_does_not_begin_one() -> None:
    hub = PacketHub("door")
    hub.publish(packet(0, key=True, kind=MediaKind.AUDIO))
    assert not hub.gop
    hub.publish(packet(1, key=True))
    hub.publish(packet(2, key=True, kind=MediaKind.AUDIO))
    assert [number(item) for item in hub.gop] == [1, 2]
    assert hub.newest is hub.gop[0]


def test_a_gop_above_its_bound_is_discarded_until_the_next_keyframe() -> None:
    hub = PacketHub("door", gop_max_bytes=100)
    hub.publish(packet(0, key=True, size=60))
    hub.publish(packet(1, size=60))
    assert not hub.gop
    assert hub.gops_oversized == 1
    hub.publish(packet(2, size=10))
    assert not hub.gop
    hub.publish(packet(3, key=True, size=60))
    assert [number(item) for item in hub.gop] == [3]


def test_after_a_run_there_is_no_gop_for_new_consumers() -> None:
    hub = PacketHub("door")
    hub.publish(packet(0, key=True))
    hub.end_run()
    assert not hub.gop
    assert hub.newest is not None


async def test_a_slow_subscriber_loses_packets_up_to_a_keyframe_and_they_are_counted() -> None:
    hub = PacketHub("door")
    subscription = hub.subscribe(max_packets=4)
    for i in range(12):
        hub.publish(packet(i, key=i % 5 == 0))  # keyframes 0, 5, 10
    assert [number(await subscription.get()) for _ in range(4)] == [0, 1, 2, 3]
    for i in range(12, 17):
        hub.publish(packet(i, key=i % 5 == 0))  # keyframe 15
    item = await subscription.get()
    assert number(item) == 15
    assert subscription.lost_before == 11
    assert subscription.dropped == 11
    assert number(await subscription.get()) == 16
    assert subscription.lost_before == 0
    assert hub.packets_dropped == 11
    subscription.close()
    assert hub.packets_dropped == 11


async def test_a_queue_is_bounded_in_bytes_but_takes_one_larger_packet_when_empty() -> None:
    hub = PacketHub("door")
    subscription = hub.subscribe(max_bytes=100)
    hub.publish(packet(0, key=True, size=500))
    hub.publish(packet(1))
    assert number(await subscription.get()) == 0
    assert subscription.dropped == 1


async def test_the_replayed_gop_leaves_room_for_live_packets() -> None:
    hub = PacketHub("door")
    for i in range(50):
        hub.publish(packet(i, key=i == 0))
    subscription = hub.subscribe(max_packets=4)
    for i in range(50, 54):
        hub.publish(packet(i))
    assert subscription.dropped == 0
    assert len(subscription) == 54


async def test_a_closed_subscription_returns_its_packets_and_ends() -> None:
    hub = PacketHub("door")
    subscription = hub.subscribe()
    hub.publish(packet(0, key=True))
    subscription.close()
    hub.publish(packet(1))
    assert [number(item) async for item in subscription] == [0]
    with pytest.raises(SubscriptionClosed):
        await subscription.get()


async def test_a_waiting_reader_is_woken_by_a_packet_and_by_the_end() -> None:
    hub = PacketHub("door")
    subscription = hub.subscribe()
    reader = asyncio.ensure_future(subscription.get())
    await asyncio.sleep(0)
    hub.publish(packet(0, key=True))
    assert number(await reader) == 0
    reader = asyncio.ensure_future(subscription.get())
    await asyncio.sleep(0)
    subscription.close()
    with pytest.raises(SubscriptionClosed):
        await reader


def test_a_sink_that_fails_does_not_affect_the_others(caplog: pytest.LogCaptureFixture) -> None:
    hub = PacketHub("door")
    seen: list[Packet] = []

    def broken(_packet: Packet) -> None:
        raise RuntimeError("out of order")

    hub.attach(broken)
    detach = hub.attach(seen.append)
    for i in range(4):
        hub.publish(packet(i, key=i == 0))
    assert [number(item) for item in seen] == [0, 1, 2, 3]
    assert hub.sink_faults == 4
    assert {record.getMessage() for record in caplog.records} == {"camera door: a consumer failed"}
    detach()
    detach()
    hub.publish(packet(4))
    assert len(seen) == 4


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 3)), max_size=80),
    st.integers(1, 10),
    st.integers(20, 200),
)
def test_no_gop_is_cut_in_the_middle_in_any_order_of_events(
    steps: list[tuple[bool, int, int]], max_packets: int, max_bytes: int
) -> None:
    async def scenario() -> None:
        hub = PacketHub("door")
        subscription = hub.subscribe(max_packets=max_packets, max_bytes=max_bytes)
        expected: int | None = None
        read = 0
        for i, (key, size, reads) in enumerate(steps):
            hub.publish(packet(i, key=key, size=size))
            for _ in range(reads):
                item = subscription.get_nowait()
                if item is None:
                    break
                read += 1
                if subscription.lost_before:
                    assert item.is_keyframe
                elif expected is not None:
                    assert number(item) == expected
                expected = number(item) + 1
            assert len(subscription) <= max_packets
        assert read + len(subscription) + subscription.dropped == len(steps)

    asyncio.run(scenario())
