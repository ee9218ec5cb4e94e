"""Pictures out of RTP: as they were encoded, whatever a camera does with markers, timestamps and parameter sets."""

import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.annexb import nal_units
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.h264 import H264Depacketizer
from gateway.rtsp.depacketize.h265 import H265Depacketizer
from gateway.rtsp.depacketize.pictures import PICTURE_MAX_BYTES, TRIAL
from tests.support.rtp import Payload, aggregate, payloads

TICK = 3600
GOP = 10
SEI = bytes((6, 5, 4)) + b"seis" + b"\x80"


@lru_cache
def pictures(codec: str = "libx264", slices: int = 3, count: int = 25) -> tuple[tuple[bytes, ...], ...]:
    """Encoded pictures, each as its NAL units; large enough that a keyframe needs fragments."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 240, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, 25), Fraction(25), GOP
    if codec == "libx264":
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": f"slices={slices}:scenecut=0"}
    else:
        params = f"log-level=none:pools=1:bframes=0:keyint={GOP}:min-keyint={GOP}:repeat-headers=1:slices={slices}"
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": params}
    random = np.random.default_rng(1)
    found = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(random.integers(0, 255, (360, 320), np.uint8), "yuv420p")
        frame.pts = number
        found += [tuple(nal_units(bytes(packet))) for packet in encoder.encode(frame)]
    return tuple(found)


def send(picture: Sequence[bytes], time: int, *, hevc: bool = False) -> list[Payload]:
    """A picture as a good camera sends it."""
    found = [payload for unit in picture for payload in payloads(unit, time, hevc=hevc)]
    return [*found[:-1], Payload(found[-1].data, time, True)]


def receive(sent: Sequence[Payload], *, hevc: bool = False, lost: Sequence[int] = ()) -> list[Frame]:
    depacketizer = H265Depacketizer() if hevc else H264Depacketizer()
    frames: list[Frame] = []
    missing = 0
    for number, payload in enumerate(sent):
        if number in lost:
            missing += 1
            continue
        frames += depacketizer.push(memoryview(payload.data), payload.timestamp, marker=payload.marker, lost=missing)
        missing = 0
    return frames + depacketizer.pictures.flush()


def content(frames: Sequence[Frame]) -> list[tuple[bytes, ...]]:
    return [tuple(nal_units(frame.data)) for frame in frames]


@pytest.mark.parametrize("hevc", [False, True])
@pytest.mark.parametrize("slices", [1, 3])
def test_a_good_camera(hevc: bool, slices: int) -> None:
    sent = pictures("libx265" if hevc else "libx264", slices)
    frames = receive([p for n, picture in enumerate(sent) for p in send(picture, n * TICK, hevc=hevc)], hevc=hevc)
    assert content(frames) == list(sent)
    assert [frame.timestamp for frame in frames] == [n * TICK for n in range(len(sent))]
    assert [frame.is_keyframe for frame in frames] == [n % GOP == 0 for n in range(len(sent))]
    assert not any(frame.follows_loss for frame in frames)


def test_pictures_are_released_by_their_marker_after_a_trial() -> None:
    depacketizer = H264Depacketizer()
    for number, picture in enumerate(pictures()):
        sent = send(picture, number * TICK)
        frames = [
            frame
            for payload in sent
            for frame in depacketizer.push(memoryview(payload.data), payload.timestamp, marker=payload.marker, lost=0)
        ]
        if number > TRIAL:
            assert content(frames) == [picture]


Change = Callable[[int, list[Payload]], list[Payload]]


def _no_markers(_: int, sent: list[Payload]) -> list[Payload]:
    return [Payload(payload.data, payload.timestamp) for payload in sent]


def _marker_on_every_packet(_: int, sent: list[Payload]) -> list[Payload]:
    return [Payload(payload.data, payload.timestamp, True) for payload in sent]


def _marker_on_every_unit(_: int, sent: list[Payload]) -> list[Payload]:
    def ends_unit(payload: Payload) -> bool:
        return payload.data[0] & 0x1F != 28 or payload.data[1] & 0x40 > 0

    return [Payload(payload.data, payload.timestamp, ends_unit(payload)) for payload in sent]


def _marker_turns_bad(number: int, sent: list[Payload]) -> list[Payload]:
    return sent if number < 12 else _marker_on_every_unit(number, sent)


def _slices_with_times_of_their_own(_: int, sent: list[Payload]) -> list[Payload]:
    return [Payload(payload.data, payload.timestamp + place, payload.marker) for place, payload in enumerate(sent)]


def _slices_back_in_time(_: int, sent: list[Payload]) -> list[Payload]:
    return [Payload(payload.data, payload.timestamp - place, payload.marker) for place, payload in enumerate(sent)]


def _parameter_sets_with_the_time_before(_: int, sent: list[Payload]) -> list[Payload]:
    return [
        Payload(payload.data, payload.timestamp - TICK, payload.marker) if payload.data[0] & 0x1F in (7, 8) else payload
        for payload in sent
    ]


def _marked_parameter_sets(_: int, sent: list[Payload]) -> list[Payload]:
    return [
        Payload(payload.data, payload.timestamp, payload.marker or payload.data[0] & 0x1F in (7, 8)) for payload in sent
    ]


def _empty_packets(_: int, sent: list[Payload]) -> list[Payload]:
    return [item for payload in sent for item in (Payload(b"", payload.timestamp), payload)]


@pytest.mark.parametrize(
    "change",
    [
        _no_markers,
        _marker_on_every_packet,
        _marker_on_every_unit,
        _slices_with_times_of_their_own,
        _slices_back_in_time,
        _parameter_sets_with_the_time_before,
        _marked_parameter_sets,
        _empty_packets,
    ],
)
def test_a_camera_that_does_it_its_own_way(change: Change) -> None:
    sent = [payload for n, picture in enumerate(pictures()) for payload in change(n, send(picture, (n + 1) * TICK))]
    frames = receive(sent)
    assert content(frames) == list(pictures())
    first_slices = {(n + 1) * TICK for n in range(len(frames))}
    assert len({frame.timestamp for frame in frames}) == len(first_slices)
    assert [frame.is_keyframe for frame in frames] == [n % GOP == 0 for n in range(len(frames))]


def test_markers_that_turn_bad_cost_one_picture_and_are_not_trusted_again() -> None:
    sent = [p for n, picture in enumerate(pictures()) for p in _marker_turns_bad(n, send(picture, n * TICK))]
    frames = receive(sent)
    assert content(frames)[:12] == list(pictures())[:12]
    assert content(frames)[-11:] == list(pictures())[-11:]


def test_sei_after_the_slices_stays_with_its_picture_and_before_them_too() -> None:
    first, second, *_ = pictures(slices=1)
    after = [*[p for unit in first for p in payloads(unit, 0)], Payload(SEI, 0, True)]
    assert content(receive([*after, *send(second, TICK)])) == [(*first, SEI), second]
    before = [*send(first, 0), Payload(SEI, TICK), *send(second, TICK)]
    assert content(receive(before)) == [first, (SEI, *second)]


def test_two_pictures_with_one_time_stay_two() -> None:
    sent = [p for picture in pictures(slices=1) for p in send(picture, 0)]
    assert content(receive(sent)) == list(pictures(slices=1))


@pytest.mark.parametrize("hevc", [False, True])
def test_several_units_in_one_packet(hevc: bool) -> None:
    sent = pictures("libx265" if hevc else "libx264", 1)
    found = []
    for number, picture in enumerate(sent):
        *small, last = picture
        if small:
            found.append(aggregate(list(small), number * TICK, hevc=hevc))
        found += payloads(last, number * TICK, marker=True, hevc=hevc)
    assert content(receive(found, hevc=hevc)) == list(sent)


@given(st.sets(st.integers(0, 200), max_size=6))
def test_loss_costs_the_pictures_it_hits_and_never_damages_one(lost: set[int]) -> None:
    sent, owner = [], []
    for number, picture in enumerate(pictures()):
        part = send(picture, number * TICK)
        sent += part
        owner += [number] * len(part)
    frames = receive(sent, lost=sorted(lost))
    hit = {owner[number] for number in lost if number < len(owner)}
    got = {frame.timestamp // TICK: frame for frame in frames}
    for number, picture in enumerate(pictures()):
        if number not in hit and number in got:
            assert content([got[number]]) == [picture] or set(content([got[number]])[0]) <= set(picture)
    # A picture that was hit may only come when nothing but what is not of its slices is missing.
    slices = [[unit for unit in picture if unit[0] & 0x1F in (1, 5)] for picture in pictures()]
    for number, frame in got.items():
        assert [unit for unit in content([frame])[0] if unit[0] & 0x1F in (1, 5)] == slices[number]
    missing = set(range(len(slices))) - got.keys()
    assert missing <= hit
    for number in missing:
        following = min((other for other in got if other > number), default=None)
        if following is not None:
            assert got[following].follows_loss


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 9), st.booleans(), st.integers(0, 2)), max_size=60))
def test_wild_payloads_raise_nothing(items: list[tuple[bytes, int, bool, int]]) -> None:
    for depacketizer in (H264Depacketizer(), H265Depacketizer()):
        for data, time, marker, lost in items:
            depacketizer.push(memoryview(data), time, marker=marker, lost=lost)


class Bits:
    """Writes the few syntax elements that a test needs."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, count: int, value: int) -> "Bits":
        self.text += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> "Bits":
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code
        return self

    def bytes(self) -> bytes:
        text = self.text + "1"
        return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def _interlaced_sps(number: int) -> bytes:
    bits = (
        Bits()
        .u(8, 77)
        .u(8, 0)
        .u(8, 30)
        .ue(number, 0, 0, 0, 1)
        .u(1, 0)
        .ue(19, 6)
        .u(1, 0)
        .u(1, 0)
        .u(1, 0)
        .u(1, 0)
        .u(1, 0)
    )
    return b"\x67" + bits.bytes()


def _pps(number: int, sps: int) -> bytes:
    return b"\x68" + Bits().ue(number, sps).u(8, 0).bytes()


def _field(kind: int, frame_num: int, *, bottom: bool, pps: int = 1) -> bytes:
    bits = Bits().ue(0, 7, pps).u(4, frame_num).u(1, 1).u(1, bottom)
    return bytes((0x60 | kind,)) + bits.bytes() + b"\xab" * 8


def test_two_fields_are_one_picture_and_the_sps_is_found_by_slice_and_pps() -> None:
    # The first SPS allows no fields; the slices name the second through their PPS.
    sets = (pictures(slices=1)[0][0], _interlaced_sps(1), _pps(1, 1))
    assert sets[0][0] & 0x1F == 7
    found: list[Payload] = [Payload(unit, 0) for unit in sets]
    expected = []
    for number in range(8):
        kind = 5 if number == 0 else 1
        top, bottom = _field(kind, number, bottom=False), _field(1, number, bottom=True)
        found += [Payload(top, number * TICK, True), Payload(bottom, number * TICK + TICK // 2, True)]
        expected.append((top, bottom))
    frames = receive(found)
    assert content(frames) == [(*sets, *expected[0]), *expected[1:]]
    assert [frame.timestamp for frame in frames] == [number * TICK for number in range(8)]


@pytest.mark.parametrize(
    ("start", "filling"),
    [
        # Slices of one picture, SEI before its slices, SEI after them, and parameter sets.
        (b"\x65\x88", b"\x65\x40"),
        (b"", b"\x06\x05"),
        (b"\x65\x88", b"\x06\x05"),
        (b"", b"\x68\xce"),
    ],
)
def test_a_picture_without_an_end_is_dropped(start: bytes, filling: bytes) -> None:
    depacketizer = H264Depacketizer()
    unit = filling + bytes(range(1, 250)) * 200
    frames: list[Frame] = []
    if start:
        frames += depacketizer.push(memoryview(start + b"\x80"), 0, marker=False, lost=0)
    tracemalloc.start()
    try:
        for _ in range(2 * PICTURE_MAX_BYTES // len(unit)):
            frames += depacketizer.push(memoryview(unit), 0, marker=False, lost=0)
        assert tracemalloc.get_traced_memory()[0] < 1.2 * PICTURE_MAX_BYTES
    finally:
        tracemalloc.stop()
    # The pictures after it are not affected.
    for number, picture in enumerate(pictures()[:4]):
        for payload in send(picture, (number + 1) * TICK):
            frames += depacketizer.push(memoryview(payload.data), payload.timestamp, marker=payload.marker, lost=0)
    frames += depacketizer.pictures.flush()
    assert [frame.timestamp for frame in frames][-3:] == [2 * TICK, 3 * TICK, 4 * TICK]
    assert frames[0].follows_loss
