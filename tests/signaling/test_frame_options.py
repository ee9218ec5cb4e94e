"""What several clients of one EMS get of a camera."""

import pytest

from signaling.frame_options import FrameOptions, combined
from signaling.requests import CaptureRequest, parse, warnings_of


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], (10, 640, 82)),
        ([FrameOptions()], (10, 640, 82)),
        ([FrameOptions(frame_rate=2, width=320, quality=40)], (2, 320, 40)),
        ([FrameOptions(frame_rate=2, width=320, quality=40), FrameOptions(frame_rate=1, width=800)], (2, 800, 82)),
        ([FrameOptions(frame_rate=2, width=320, quality=40), FrameOptions()], (10, 640, 82)),
    ],
)
def test_they_get_the_greatest_of_what_they_want(wanted: list[FrameOptions], expected: tuple[float, int, int]) -> None:
    assert combined(wanted, 10, 640) == expected


def test_the_width_of_the_camera_is_the_greatest() -> None:
    assert combined([FrameOptions(width=320), FrameOptions()], 10, None)[1] is None
    assert combined([FrameOptions(width=320)], 10, None)[1] == 320


def test_a_request_may_say_it_in_either_place() -> None:
    metadata = {"frame_rate": 5, "width": 320, "quality": "high", "reason": "alarm"}
    request = parse("capture_start_request", CaptureRequest, {"client_id": "a", "width": 160, "metadata": metadata})
    assert request.frames == FrameOptions(frame_rate=5, width=160)
    assert request.metadata == metadata
    assert warnings_of(CaptureRequest, {"client_id": "a", "metadata": metadata}) == [
        "metadata.quality must be a whole number; it is ignored"
    ]
