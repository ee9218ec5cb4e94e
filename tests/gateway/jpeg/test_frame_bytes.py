"""A frame as a callback gets it."""

import asyncio
import copy
import io
import pickle
from pathlib import Path

import cv2
import numpy as np

from gateway.jpeg.frame_bytes import FrameBytes
from gateway.jpeg.reader import JpegFrame
from gateway.service import CaptureService
from tests.support.sources.numbered import ClipEngine, size_of


async def test_a_callback_gets_bytes_with_their_facts(tmp_path: Path) -> None:
    frames: list[FrameBytes] = []
    enough = asyncio.Event()

    def on_frame(frame: FrameBytes) -> None:
        frames.append(frame)
        if len(frames) >= 3:
            enough.set()

    async with CaptureService(ClipEngine, "clip://here") as service:
        service.set_frame_callback(on_frame)
        await service.start_capture()
        await enough.wait()
        await service.stop_capture()
    frame = frames[-1]
    (tmp_path / "frame.jpg").write_bytes(frame)
    assert len(frame) == (tmp_path / "frame.jpg").stat().st_size == len(frame.data)
    assert frame[:2] == b"\xff\xd8"
    assert bytes(memoryview(frame)[-2:]) == b"\xff\xd9"
    assert io.BytesIO(frame).read() == frame == frame.data
    assert cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR) is not None
    assert size_of(frame) == (frame.width, frame.height)
    assert frame.metadata["camera_id"] == frame.camera_id == "default"
    assert frame.sequence > frames[0].sequence


def test_the_facts_are_those_of_the_frame() -> None:
    frame = FrameBytes(JpegFrame(b"jpeg", "door", 90_000, 7, 640, 360, skipped=2))
    assert frame == b"jpeg"
    assert frame.metadata == {
        "camera_id": "door",
        "timestamp": "1970-01-01T00:00:01.000Z",
        "width": 640,
        "height": 360,
        "sequence": 7,
        "skipped": 2,
    }
    assert (frame.captured_at_90k, frame.skipped) == (90_000, 2)
    for other in (copy.copy(frame), copy.deepcopy(frame), pickle.loads(pickle.dumps(frame))):
        assert other == frame
        assert other.metadata == frame.metadata
