"""Detection: pictures of a camera to events, with the detector of motion and with one that fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.clock import CLOCK_RATE
from gateway.detect.detector import Detection, DetectorOptions
from gateway.event import Event, EventFilter, EventOrder
from gateway.media import Packet
from gateway.service import CaptureService
from hls.archive.database import INDEX_FILE
from hls.archive.service import Archive
from hls.events.detection import CameraDetection, Detections
from hls.events.service import EventService
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.sources.encoded import START_90K
from web.settings import load_settings

WIDTH, HEIGHT = 160, 90


class WrongDetector:
    """Fails, or finds what no event can have."""

    answers: Sequence[object] = ()

    def __init__(self, options: DetectorOptions) -> None:
        assert options.camera_id == "door"

    def detect(self, frame: av.VideoFrame) -> Sequence[object]:
        assert (frame.width, frame.height) == (WIDTH, HEIGHT)
        if not self.answers:
            raise RuntimeError("no model at rtsp://u:s3cret@host/model")
        return self.answers


class Place:
    """A camera with a detector. Packets are published by hand."""

    def __init__(self, folder: Path, **camera: object) -> None:
        self.folder = folder
        self.clock = ManualClock(START_90K)
        self.table = {
            "url": "rtsp://127.0.0.1:9/door",
            "sub_url": "rtsp://127.0.0.1:9/sub",
            "record": "never",
            **camera,
        }
        self.table |= {"start": "on-demand"}

    async def open(self) -> None:
        settings = load_settings(data_dir=self.folder, cameras={"door": self.table}, archive_min_free_bytes=0)
        self.service = CaptureService(settings.camera_settings(), clock=self.clock)
        self.archive = Archive(settings, self.service, self.clock)
        await self.archive.start()
        self.events = EventService(self.archive.index, settings, self.clock, self.archive.age_now_90k)
        await self.events.start()
        self.detections = Detections(self.events, self.service, self.clock)
        await self.detections.start()

    async def close(self) -> None:
        await self.detections.close()
        await self.events.close()
        await self.archive.close()
        await self.service.close()

    @property
    def detection(self) -> CameraDetection:
        return self.detections.cameras["door"]

    def publish(self, *, has_box: bool) -> Packet:
        """A keyframe of the sub stream."""
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        if has_box:
            planes[20:60, 40:90] = 235
        encoder = H264Encoder(WIDTH, HEIGHT, Fraction(10), gop_s=1.0, run=1)
        [packet, *_] = [*encoder.encode(planes, 0, self.clock.wall_90k())]
        camera = self.service.camera("door")
        assert camera.sub is not None
        camera.sub.hub.publish(packet)
        return packet

    async def show(self, *, has_box: bool) -> None:
        """Publish a keyframe, and wait until the detector has seen it. Two seconds pass."""
        before = self.detection.counted["looked_at"]
        self.publish(has_box=has_box)
        await eventually(lambda: self.detection.counted["looked_at"] > before, "the detector looks at the picture")
        self.clock.now += 2

    async def listed(self) -> list[Event]:
        return list((await self.events.page(EventFilter(), EventOrder.OLDEST, 9)).events)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path, detector="motion")
    await made.open()
    yield made
    await made.close()


async def until_listed(place: Place, *, is_open: bool) -> Event:
    async def found() -> Event | None:
        return next((each for each in await place.listed() if each.is_open is is_open), None)

    event = await eventually(found, "the event is there")
    assert event is not None
    return event


async def test_what_moves_becomes_an_event_that_ends(place: Place) -> None:
    for has_box in (False, False, True):
        await place.show(has_box=has_box)
    event = await until_listed(place, is_open=True)
    assert (event.label, event.source, event.start_90k) == ("motion", "detector:motion", START_90K + 4 * CLOCK_RATE)
    assert event.score is not None
    assert event.score >= 0.5
    assert event.data["box"] == pytest.approx([0.25, 0.22, 0.31, 0.45], abs=0.05)
    for _ in range(8):
        await place.show(has_box=False)
    ended = await until_listed(place, is_open=False)
    assert (ended.id, ended.end_90k) == (event.id, START_90K + 4 * CLOCK_RATE)
    assert len(await place.listed()) == 1
    assert place.detection.error is None


async def test_an_event_ends_although_no_picture_comes_any_more(place: Place) -> None:
    for has_box in (False, True):
        await place.show(has_box=has_box)
    await until_listed(place, is_open=True)
    place.clock.now += 60
    assert (await until_listed(place, is_open=False)).end_90k == START_90K + 2 * CLOCK_RATE


async def test_what_begins_and_ends_while_the_index_fails_is_kept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.archive.database.BUSY_TIMEOUT_S", 0.01)
    place = Place(tmp_path, detector="motion")
    await place.open()
    await place.show(has_box=False)
    await place.show(has_box=True)
    first = await until_listed(place, is_open=True)

    async def all_ended(count: int) -> list[Event] | None:
        listed = await place.listed()
        return listed if len(listed) == count and not any(each.is_open for each in listed) else None

    with closing(sqlite3.connect(tmp_path / INDEX_FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for has_box in (*[False] * 8, True, *[False] * 8):  # the first ends, a second begins and ends
            await place.show(has_box=has_box)
        await eventually(lambda: "cannot be kept" in (place.detection.error or ""), "the failure is reported")
        other.execute("ROLLBACK")
    ended, second = await eventually(lambda: all_ended(2), "both events are there")
    assert (ended.id, ended.end_90k) == (first.id, first.start_90k)
    assert (second.start_90k, second.end_90k) == (START_90K + 20 * CLOCK_RATE, START_90K + 20 * CLOCK_RATE)
    await place.close()


async def test_the_stream_is_captured_while_the_camera_has_a_detector(place: Place) -> None:
    camera = place.service.camera("door")
    assert camera.sub is not None
    assert camera.sub.is_wanted
    assert not camera.main.is_wanted
    assert camera.viewers == {}
    place.service.change_camera("door", camera.settings.model_copy(update={"detector": None}))
    await place.detections.set_camera(camera)
    assert place.detections.cameras == {}
    assert not camera.sub.viewers


async def test_events_end_with_the_camera_and_after_a_crash(place: Place) -> None:
    for has_box in (False, True):
        await place.show(has_box=has_box)
    event = await until_listed(place, is_open=True)
    await place.detections.remove_camera("door")
    assert not (await place.events.get(event.id)).is_open  # type: ignore[union-attr]
    await place.events.update(event.id, lambda each: replace(each, end_90k=None))
    # As a process finds it that comes after one that was killed.
    await place.detections.start()
    await until_listed(place, is_open=False)


async def test_keyframes_that_come_meanwhile_are_left_out(place: Place) -> None:
    await place.show(has_box=False)
    # No task runs in between: of four keyframes the newest remains, and one comes too soon.
    for _ in range(4):
        place.publish(has_box=False)
        place.clock.now += 1
    place.clock.now -= 0.8
    place.publish(has_box=False)
    await eventually(lambda: place.detection.counted["looked_at"] == 2, "the newest is seen by the detector")
    await asyncio.sleep(0)
    assert place.detection.counted == {"looked_at": 2, "dropped": 3}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((), "RuntimeError: no model at rtsp://"),
        ((Detection("", 0.5),), "label"),
        ((Detection("a", 2.0),), "score"),
        ((Detection("a", 1.0, {"text": "x" * 9000}),), "8192 bytes"),
        (("person",), "Detection"),
    ],
)
async def test_a_detector_that_fails_is_reported_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: Sequence[object], why: str
) -> None:
    monkeypatch.setattr(WrongDetector, "answers", answers)
    place = Place(tmp_path, detector=f"{__name__}:WrongDetector")
    await place.open()
    await place.show(has_box=False)
    await eventually(lambda: place.detection.error is not None, "the fault is reported")
    assert why in (place.detection.error or "")
    assert "s3cret" not in (place.detection.error or "")
    monkeypatch.setattr(WrongDetector, "answers", (Detection("person", 0.9),))
    await place.show(has_box=False)
    assert (await until_listed(place, is_open=True)).label == "person"
    assert place.detection.error is None
    await place.close()
