"""EventRecording: events of the API to files on the disk, of cameras with ``record = "events"``."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.clock import CLOCK_RATE
from gateway.event import Event
from gateway.service import CaptureService
from hls.archive.segment import EndReason, Segment
from hls.archive.service import Archive
from hls.events.recording import EventRecording
from hls.events.service import EventService
from hls.playback.reader import ArchiveReader
from tests.hls.events.test_table import make
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.settings import load_settings


class Place:
    """A camera that is recorded on events, in a folder. :meth:`open` again is a restart."""

    def __init__(self, folder: Path, **camera: object) -> None:
        self.folder = folder
        self.clock = ManualClock(START_90K)
        self.table = {"url": "rtsp://127.0.0.1:9/door", "record": "events", "start": "always", **camera}

    async def open(self) -> None:
        settings = load_settings(data_dir=self.folder, cameras={"door": self.table}, archive_min_free_bytes=0)
        self.service = CaptureService(settings.camera_settings(), clock=self.clock)
        self.archive = Archive(settings, self.service, self.clock)
        await self.archive.start()
        self.events = EventService(self.archive.index, settings, self.clock, self.archive.age_now_90k)
        await self.events.start()
        self.recording = EventRecording(self.events, self.archive, self.service, self.clock)
        await self.recording.start()
        # Nothing is pulled: the packets are published by hand.
        for recorder in self.archive._recorders.by_stream.values():
            recorder._is_live = lambda: True

    async def close(self) -> None:
        self.recording.close()
        await self.events.close()
        await self.archive.close()
        await self.service.close()

    def play(self, seconds: float, run: int = 1) -> None:
        """Video with a keyframe each second, from the present moment on, which moves on."""
        packets = encode(EncoderSettings(seconds=seconds), self.clock.wall_90k(), run)
        # Media time goes on within a run.
        offset_90k = self.clock.wall_90k() - START_90K
        for packet in packets:
            pts_90k, dts_90k = packet.pts_90k + offset_90k, packet.dts_90k + offset_90k
            self.service.camera("door").hub.publish(replace(packet, pts_90k=pts_90k, dts_90k=dts_90k))
        self.clock.now += seconds

    async def event(self, start_s: float, end_s: float | None) -> Event:
        event = replace(
            make(0),
            id=str(uuid4()),
            start_90k=at(start_s),
            end_90k=None if end_s is None else at(end_s),
            created_90k=self.clock.wall_90k(),
        )
        return (await self.events.create(event))[0]

    async def end(self, event: Event, end_s: float) -> None:
        await self.events.update(event.id, lambda found: replace(found, end_90k=at(end_s)))

    async def segments(self, count: int) -> list[tuple[float, float]]:
        """Start and end of the finished segments, when there are so many."""

        async def closed() -> list[Segment]:
            found = await ArchiveReader(self.archive, self.service, self.clock).segments.page("door")
            return found if len(found) == count and all(each.end_reason for each in found) else []

        found = await eventually(closed, f"there are {count} finished segments")
        return [((each.start_90k - START_90K) / CLOCK_RATE, (each.end_90k - START_90K) / CLOCK_RATE) for each in found]

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "door").rglob("*.mp4")) if (self.folder / "door").exists() else []


def at(seconds: float) -> int:
    return START_90K + round(seconds * CLOCK_RATE)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path, pre_roll=3, post_roll=2)
    await made.open()
    yield made
    await made.close()


async def test_an_event_is_recorded_with_its_pre_roll_and_post_roll_and_nothing_else_is(place: Place) -> None:
    place.play(20)
    await asyncio.sleep(0.1)
    assert place.files == []
    status = place.archive.recorders()["door"]
    assert not status.is_recording
    assert status.pre_roll is not None
    assert 3 <= status.pre_roll.seconds <= 10
    assert status.pre_roll.bytes > 0
    event = await place.event(19.5, None)
    await eventually(lambda: place.archive.recorders()["door"].is_recording, "the event is recorded")
    place.play(10)
    await place.end(event, 29.3)
    place.play(10)
    assert await place.segments(1) == [(16.0, 32.0)]
    assert len(place.files) == 1
    assert place.archive.settled_90k("door") == pytest.approx(START_90K + 40 * CLOCK_RATE, abs=CLOCK_RATE)


async def test_an_event_that_is_over_is_recorded_from_memory_and_its_file_is_finished_at_once(place: Place) -> None:
    place.play(20)
    await place.event(15.5, 15.5)
    assert await place.segments(1) == [(12.0, 18.0)]
    found = await ArchiveReader(place.archive, place.service, place.clock).segments.page("door")
    assert found[0].end_reason is EndReason.EVENT_ENDED
    status = place.archive.recorders()["door"]
    assert not status.is_recording
    assert status.packets_dropped == 0


async def test_many_overlapping_events_at_once_are_one_recording_without_a_frame_twice(place: Place) -> None:
    place.play(20)
    await asyncio.gather(*(place.event(16 + number / 25, 18.4 + number / 50) for number in range(50)))
    place.play(5)
    assert await place.segments(1) == [(13.0, 22.0)]
    (segment,) = await ArchiveReader(place.archive, place.service, place.clock).segments.page("door")
    assert segment.frames == 90


async def test_an_open_event_goes_on_after_a_restart(place: Place) -> None:
    place.play(10)
    event = await place.event(9, None)
    place.play(5)
    await place.close()
    await place.open()
    place.play(5, run=2)
    await place.end(event, 18)
    place.play(5, run=2)
    spans = await place.segments(2)
    assert spans[0] == (6.0, 15.0)
    assert spans[1] == (15.0, 20.0)


async def test_events_that_could_not_be_read_are_read_again(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.events.recording.RETRY_S", 0.05)
    place.play(10)
    camera = place.service.camera("door")
    place.recording.remove_camera("door")
    await place.event(9, None)
    await place.archive.index.call(lambda table: table.close())  # the archive opens it again
    await place.recording.set_camera(camera)
    assert "not recorded yet" in caplog.text
    await eventually(lambda: place.archive._recorders._event_spans.get("door"), "the open event is known")
    assert caplog.text.count("not recorded yet") == 1


async def test_an_event_that_nobody_ends_is_recorded_up_to_the_limit(tmp_path: Path) -> None:
    place = Place(tmp_path, pre_roll=3, post_roll=2, record_event_max=6)
    await place.open()
    place.play(10)
    await place.event(9, None)
    await eventually(lambda: place.archive.recorders()["door"].is_recording, "the event is recorded")
    place.play(20)
    assert await place.segments(1) == [(6.0, 18.0)]
    await place.close()


async def test_a_camera_on_demand_is_captured_for_an_event_and_let_go_after(tmp_path: Path) -> None:
    place = Place(tmp_path, pre_roll=3, post_roll=2, start="on-demand")
    await place.open()
    camera = place.service.camera("door")
    assert not camera.is_wanted
    event = await place.event(0, None)
    assert camera.is_wanted
    assert camera.status().viewers == {}
    place.clock.now = 5
    await place.end(event, 5)
    assert camera.is_wanted  # for the time after the event
    place.clock.now = 8
    await place.event(0, 1)  # a change looks at the clock, as a timer does
    assert not camera.is_wanted
    await place.close()


async def test_an_event_of_a_time_that_is_not_in_memory_any_more_records_nothing(place: Place) -> None:
    place.play(30)
    await place.event(2, 4)
    await asyncio.sleep(0.2)
    assert place.files == []


async def test_a_change_to_events_and_back_keeps_what_was_recorded(place: Place) -> None:
    camera = place.service.camera("door")
    before = camera.settings
    changed = before.model_copy(update={"pre_roll": 5.0})
    place.service.change_camera("door", changed)
    await place.archive.change_camera(before, camera)
    await place.recording.set_camera(camera)
    place.play(20)
    await place.event(19, 19)
    place.play(5)
    assert await place.segments(1) == [(14.0, 21.0)]


async def test_the_sub_stream_alone_is_recorded_on_events(tmp_path: Path) -> None:
    urls = {"record": "never", "record_sub": "events", "sub_url": "rtsp://127.0.0.1:9/sub", "start": "on-demand"}
    place = Place(tmp_path, pre_roll=3, post_roll=2, **urls)
    await place.open()
    camera = place.service.camera("door")
    assert camera.sub is not None
    for packet in encode(EncoderSettings(seconds=20)):
        camera.sub.hub.publish(packet)
    place.clock.now += 20
    assert place.files == []
    await place.event(15.5, 15.5)
    assert await place.segments(1) == [(12.0, 18.0)]
    [path] = place.files
    assert path.stem.endswith("_sub")
    # The main stream is not captured for it; the sub stream always is.
    assert not camera.main.is_wanted
    camera.sub.begin()
    assert camera.sub.is_wanted
    await place.close()
