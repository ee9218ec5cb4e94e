"""Which track an interleaved frame belongs to."""

import pytest

from gateway.capture.rtsp_channels import FrameRoutes, InterleavedChannels, Receiver

VIDEO, AUDIO, REPORT = b"\x80\x60", b"\x80\x88", b"\x80\xc8"
"""The first bytes of RTP with payload types 96 and 8 (marked), and of a sender report."""


def channels(video: tuple[int, int], audio: tuple[int, int], audio_type: int = 8) -> InterleavedChannels:
    found = InterleavedChannels()
    found.add(0, video, 96)
    found.add(1, audio, audio_type)
    return found


@pytest.mark.parametrize(
    ("agreed", "used"),
    [
        (((0, 1), (2, 3)), (0, 2)),
        (((0, 1), (2, 3)), (2, 0)),
        (((0, 1), (2, 3)), (1, 3)),
        (((0, 1), (2, 3)), (8, 10)),
        (((0, 1), (0, 1)), (0, 0)),
        (((0, 1), (1, 2)), (0, 1)),
        (((0, 0), (1, 1)), (0, 1)),
        (((255, 255), (254, 255)), (255, 254)),
    ],
)
def test_packets_find_their_track_whatever_channel_the_server_uses(
    agreed: tuple[tuple[int, int], tuple[int, int]], used: tuple[int, int]
) -> None:
    found = channels(*agreed)
    assert found.find(used[0], memoryview(VIDEO)) == (0, False)
    assert found.find(used[1], memoryview(AUDIO)) == (1, False)


def test_reports_are_known_also_on_the_channel_of_rtp() -> None:
    found = channels((0, 1), (2, 3))
    assert [found.find(number, memoryview(REPORT)) for number in range(5)] == [
        (0, True),
        (0, True),
        (1, True),
        (1, True),
        None,
    ]


def test_one_payload_type_for_both_tracks_leaves_the_channels() -> None:
    found = channels((0, 1), (2, 3), 96)
    assert [found.find(number, memoryview(VIDEO)) for number in range(4)] == [(0, False), None, (1, False), None]


@pytest.mark.parametrize("frame", [b"", b"\x80"])
def test_a_frame_without_a_header_is_of_no_track(frame: bytes) -> None:
    assert channels((0, 1), (2, 3)).find(0, memoryview(frame)) is None


def test_a_receiver_is_looked_up_once_it_is_there_and_gets_all_frames_with_their_time() -> None:
    got: list[tuple[str, bytes, float]] = []
    looked_up: list[int] = []
    is_set_up = False

    def find(channel: int, frame: memoryview) -> Receiver | None:
        looked_up.append(channel)
        if not is_set_up:
            return None
        kind = "report" if frame[1] == REPORT[1] else "packet"
        return lambda frame, now: got.append((kind, bytes(frame), now))

    routes = FrameRoutes(find, iter([1.0, 2.0, 3.0]).__next__)
    routes.receive(0, memoryview(VIDEO))
    is_set_up = True
    for frame in (VIDEO, VIDEO, REPORT):
        routes.receive(0, memoryview(frame))
    routes.receive(0, memoryview(b"\x80"))
    assert got == [("packet", VIDEO, 1.0), ("packet", VIDEO, 2.0), ("report", REPORT, 3.0)]
    assert looked_up == [0, 0, 0]
