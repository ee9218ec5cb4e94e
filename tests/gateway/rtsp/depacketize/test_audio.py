"""Sound whose packets are samples or frames: G.711 and its like, joined and split, on clocks right and wrong."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.audio import PacketDepacketizer, SamplesDepacketizer


def push(depacketizer: Depacketizer, data: bytes, time: int = 0, *, marker: bool = True, lost: int = 0) -> list[Frame]:
    return depacketizer.push(memoryview(data), time, marker=marker, lost=lost)


def g711(channels: int = 1) -> SamplesDepacketizer:
    return SamplesDepacketizer(Fraction(1, channels), 800 * channels, can_join=True)


def test_samples_last_as_long_as_their_bytes_say() -> None:
    (frame,) = push(SamplesDepacketizer(1, 800), b"\xd5" * 160, 7)
    assert (frame.timestamp, frame.duration) == (7, 160)
    assert push(SamplesDepacketizer(1, 800), b"") == []


def test_a_second_at_once_is_split() -> None:
    data = bytes(range(250)) * 32
    frames = push(g711(), data, 5000)
    assert b"".join(frame.data for frame in frames) == data
    assert [(frame.timestamp, frame.duration) for frame in frames] == [(5000 + 800 * n, 800) for n in range(10)]


def test_what_is_left_of_a_split_packet_comes_at_once_unless_it_may_wait() -> None:
    assert [frame.duration for frame in push(g711(), bytes(2048))] == [800, 800, 448]
    waiting = g711()
    waiting.joins = lambda: True
    assert [frame.duration for frame in push(waiting, bytes(2048))] == [800, 800]
    assert [(frame.timestamp, frame.duration) for frame in push(waiting, bytes(2048), 2048)] == [
        (1600, 800),
        (2400, 800),
        (3200, 800),
    ]


def test_a_codec_with_state_is_split_and_not_joined() -> None:
    adpcm = SamplesDepacketizer(2, 400)
    adpcm.joins = lambda: True
    assert [frame.duration for frame in push(adpcm, bytes(80))] == [160]
    assert [frame.duration for frame in push(adpcm, bytes(1000), 160)] == [800, 800, 400]


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(1, 3), Fraction(441, 480), Fraction(90_000, 8000)])
def test_a_clock_of_another_rate_is_scaled(factor: Fraction) -> None:
    depacketizer = g711()
    frames = [push(depacketizer, bytes(480), int(480 * number * factor))[0] for number in range(40)]
    steps = {after.timestamp - before.timestamp for before, after in pairwise(frames[8:])}
    assert all(abs(step - 480) <= 2 for step in steps)


def test_a_gap_and_a_quartz_are_no_other_clock() -> None:
    depacketizer = g711()
    times = [int(160 * number * 1.001) + 4000 * (number > 20) for number in range(60)]
    assert [push(depacketizer, bytes(160), time)[0].timestamp for time in times] == times


@given(st.lists(st.tuples(st.binary(max_size=80), st.booleans(), st.integers(0, 1)), max_size=20))
def test_wild_payloads_raise_nothing(items: list[tuple[bytes, bool, int]]) -> None:
    for depacketizer in (PacketDepacketizer(), SamplesDepacketizer(Fraction(8, 3), 30), g711(2)):
        for data, marker, lost in items:
            push(depacketizer, data, marker=marker, lost=lost)


@pytest.mark.parametrize("channels", [1, 2])
def test_g711_that_may_wait_is_joined_and_no_sample_is_lost(channels: int) -> None:
    depacketizer = g711(channels)
    may_wait = True
    depacketizer.joins = lambda: may_wait
    payloads = [bytes((number,)) * 160 * channels for number in range(13)]
    found = [push(depacketizer, payload, 1000 + 160 * number) for number, payload in enumerate(payloads[:12])]
    assert [len(frames) for frames in found] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    may_wait = False
    found.append(push(depacketizer, payloads[12], 1000 + 160 * 12))
    frames = [frame for each in found for frame in each]
    assert b"".join(frame.data for frame in frames) == b"".join(payloads)
    assert [(frame.timestamp, frame.duration) for frame in frames] == [(1000, 800), (1800, 800), (2600, 480)]
    assert push(depacketizer, payloads[0], 9000) == [Frame(payloads[0], 9000, 160)]


@pytest.mark.parametrize(("at", "lost"), [(1160, 1), (1400, 0), (900, 0)])
def test_g711_is_not_joined_over_a_gap(at: int, lost: int) -> None:
    depacketizer = g711()
    depacketizer.joins = lambda: True
    assert push(depacketizer, b"a" * 160, 1000) == []
    assert push(depacketizer, b"", 1160) == []
    assert push(depacketizer, b"b" * 160, at, lost=lost) == [Frame(b"a" * 160, 1000, 160)]
    assert push(depacketizer, b"c" * 640, at + 160) == [Frame(b"b" * 160 + b"c" * 640, at, 800, follows_loss=lost > 0)]
