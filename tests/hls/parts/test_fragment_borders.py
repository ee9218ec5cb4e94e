from gateway.clock import CLOCK_RATE
from hls.parts.fragment_borders import FragmentBorders


def test_borders_depend_on_the_parts_alone() -> None:
    borders = FragmentBorders()

    def is_complete(seconds: float, *, is_keyframe: bool = False) -> bool:
        return borders.is_complete(round(seconds * CLOCK_RATE), is_keyframe=is_keyframe)

    assert [is_complete(0.2) for _ in range(4)] == [False, True, False, True]
    assert [is_complete(0.15) for _ in range(6)] == [False, False, True] * 2
    assert is_complete(0.25), "two would be too long"
    assert not is_complete(0.2)
    assert not is_complete(0.2, is_keyframe=True), "a keyframe begins another"
    assert is_complete(1, is_keyframe=True)
