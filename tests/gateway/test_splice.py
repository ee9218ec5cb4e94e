"""Two runs of one stream are joined: no picture lacks, none comes twice, and times stay in order."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.media import AUDIO, VIDEO, MediaKind, Packet, StreamInfo, VideoInfo
from gateway.splice import Splice

INFO = StreamInfo(VideoInfo("h264", "avc1.42e01f", 640, 360, b"\0\0\0\1\x67\x42\0\0\0\1\x68\xce"))

GOP = 16
FRAME_90K = 3000
WALL_90K = 10**12


def camera(count: int, start_90k: int, run: int, jitter_90k: list[int]) -> list[Packet]:
    """What one capture makes of the first ``count`` pictures of a camera, with a piece of sound after each."""
    made: list[Packet] = []
    for number in range(count):
        for kind, after_90k in ((VIDEO, 0), (AUDIO, 1000)):
            dts_90k = start_90k + number * FRAME_90K + after_90k + jitter_90k[number % len(jitter_90k)]
            captured_90k = WALL_90K + number * FRAME_90K + after_90k
            is_key = kind is MediaKind.VIDEO and number % GOP == 0
            data = b"%s %d" % (kind.value.encode(), number)
            made.append(Packet(kind, data, dts_90k, dts_90k, FRAME_90K, is_key, captured_90k, INFO, run))
    return made


jitters = st.lists(st.integers(0, 20), min_size=1, max_size=7)


@given(
    start=st.integers(0, 3 * GOP),
    next_from=st.integers(0, 3 * GOP),
    next_90k=st.integers(0, 10**9),
    order=st.lists(st.booleans(), max_size=300),
    jitter=st.tuples(jitters, jitters),
)
def test_no_picture_lacks_or_comes_twice(
    start: int, next_from: int, next_90k: int, order: list[bool], jitter: tuple[list[int], list[int]]
) -> None:
    """However the packets of the two come after each other, and wherever the next run begins."""
    count = 5 * GOP
    present, following = camera(count, 500, 1, jitter[0]), camera(count, next_90k, 2, jitter[1])
    first = start // GOP * GOP
    shown = present[2 * first : 2 * start + 2]
    splice = Splice(shown, 1)
    waiting = [present[2 * start + 2 :], following[2 * next_from :]]
    # At last, the present run sends what is left, and then the next one.
    for is_next in [*order, *[False] * len(waiting[0]), *[True] * len(waiting[1])]:
        if not waiting[is_next] or (splice.is_joined and not is_next):
            continue
        packet = waiting[is_next].pop(0)
        if is_next:
            shown += splice.arrived(packet)
        else:
            shown += [packet, *splice.published(packet)]
    assert {packet.run for packet in shown} == {1}
    for kind in MediaKind:
        of_kind = [packet for packet in shown if packet.kind is kind]
        numbers = [int(packet.data.split()[1]) for packet in of_kind]
        assert numbers == list(range(first, count))
        assert all(before.dts_90k < after.dts_90k <= after.pts_90k for before, after in pairwise(of_kind))


def test_alike_pictures_of_another_moment_are_not_the_same() -> None:
    """A scene that stands still: each GOP has the same pictures."""
    packets = camera(5 * GOP, 0, 1, [0])
    still = [replace(packet, data=b"%d" % (number % (2 * GOP))) for number, packet in enumerate(packets)]
    splice = Splice(still[: 6 * GOP], 1)
    shown = [each for packet in still[4 * GOP :] for each in splice.arrived(replace(packet, run=2))]
    assert splice.is_joined
    assert [packet.captured_at_90k for packet in shown] == [packet.captured_at_90k for packet in still[6 * GOP :]]


def test_pictures_that_are_all_alike_go_on() -> None:
    """JPEG of a camera that lost its lens."""
    packets = [packet for packet in camera(40, 0, 1, [0]) if packet.is_video]
    frozen = [replace(packet, data=b"no signal", is_keyframe=True) for packet in packets]
    splice = Splice(frozen[:10], 1)
    shown = [each for packet in frozen[8:] for each in splice.arrived(packet)]
    assert len(shown) > 25
    assert {after.dts_90k - before.dts_90k for before, after in pairwise(shown)} == {FRAME_90K}


def test_another_description_and_another_clock_are_a_run_of_their_own() -> None:
    packets = [packet for packet in camera(GOP, 0, 1, [0]) if packet.is_video]
    for other in (
        [replace(packet, info=StreamInfo(replace(INFO.video, width=1280)), run=2) for packet in packets],
        [replace(packet, captured_at_90k=packet.captured_at_90k + 60 * 90_000, run=2) for packet in packets],
    ):
        splice = Splice(packets, 1)
        assert not [each for packet in other for each in splice.arrived(packet)]
        assert splice.has_keyframe
        assert splice.separate() == other
