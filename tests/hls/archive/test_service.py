"""The archive from a camera's hub to files and answers."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError, SettingsError
from gateway.media import Packet
from gateway.service import CaptureService
from hls.archive.check import check_archive
from hls.archive.database import INDEX_FILE
from hls.archive.disk_error import DiskFault
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import DISK_RETRY_S, Recording
from hls.archive.recovery import recover
from hls.archive.segment import EndReason, SegmentState
from hls.archive.service import Archive
from hls.playback.reader import ArchiveReader
from hls.settings import FsyncMode
from tests.support.eventually import eventually
from tests.support.ffprobe import decode, ffprobe
from tests.support.manual_clock import ManualClock
from tests.support.recording import index_of, parts_of
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.settings import Settings, load_settings


def settings_for(data_dir: Path, **more: object) -> Settings:
    return load_settings(
        **{
            "data_dir": data_dir,
            "cameras": {"door": {"url": "rtsp://127.0.0.1:9/door"}},
            "archive_segment_seconds": 2,
            "archive_min_free_bytes": 0,
            "start": "on-demand",
            **more,
        }
    )


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    settings = settings_for(tmp_path)
    made = Archive(settings, CaptureService(settings.camera_settings()))
    await made.start()
    yield made
    await made.close()


def reader_of(archive: Archive) -> ArchiveReader:
    return ArchiveReader(archive, archive.service)


def publish(archive: Archive, packets: Sequence[Packet]) -> None:
    hub = archive.service.camera("door").hub
    for packet in packets:
        hub.publish(packet)


def recording_after_new_run(archive: Archive) -> Callable[[], bool]:
    """A condition: the camera is recorded. While it is not, each call publishes a second of a new run."""
    runs = count(1)

    def is_recording() -> bool:
        if archive.recorders()["door"].is_recording:
            return True
        run = next(runs)
        publish(archive, encode(EncoderSettings(seconds=1), START_90K + run * 100 * CLOCK_RATE, run=1 + run))
        return False

    return is_recording


@pytest.mark.integration
async def test_segments_are_listed_found_and_finished(archive: Archive, tmp_path: Path) -> None:
    publish(archive, encode(EncoderSettings(seconds=5)))
    await eventually(
        lambda: archive.recorders()["door"].segments_closed == 2 and archive.live_position("door") is not None,
        "two segments are closed and a third has a live position",
    )
    first, second, growing = await reader_of(archive).segments.page("door")
    assert [segment.name for segment in (first, second, growing)] == [
        "segment_20261122T185000Z",
        "segment_20261122T185002Z",
        "segment_20261122T185004Z",
    ]
    assert (first.state, first.end_reason, first.continues) == (SegmentState.CLOSED, EndReason.BOUNDARY, False)
    assert (growing.state, growing.end_reason, growing.continues) == (SegmentState.GROWING, None, True)
    moment = await reader_of(archive).segments.at("door", START_90K + 3 * CLOCK_RATE)
    assert (moment.segment.name, moment.offset_90k) == (second.name, CLOCK_RATE)
    position = archive.live_position("door")
    assert position is not None
    assert position[0] == growing.name
    assert decode(reader_of(archive).path(growing)) == ""
    await archive.close()
    assert float(ffprobe(reader_of(archive).path(growing))["format"]["duration"]) == pytest.approx(1.0, abs=0.02)
    assert decode(reader_of(archive).path(growing)) == ""


async def test_video_that_mp4_is_not_used_for_is_not_recorded_and_the_status_says_why(archive: Archive) -> None:
    packets = encode(EncoderSettings(seconds=1))
    info = replace(packets[0].info, video=replace(packets[0].info.video, codec="mjpeg"))
    publish(archive, [replace(packet, info=info) for packet in packets])
    (recorder,) = archive._recorders.by_stream.values()
    recorder._is_live = lambda: True
    status = archive.recorders()["door"]
    assert not status.is_recording
    assert status.error is not None
    assert "mjpeg" in status.error
    assert "CAPTURE_ENGINE=opencv" in status.error
    publish(archive, encode(EncoderSettings(seconds=1), START_90K + 3 * CLOCK_RATE, run=2))
    await eventually(lambda: archive.recorders()["door"].is_recording, "H.264 is recorded")
    assert archive.recorders()["door"].error is None


async def test_a_new_run_and_a_new_stream_begin_new_segments_without_loss(archive: Archive) -> None:
    publish(archive, encode(EncoderSettings(seconds=1.5)))
    publish(archive, encode(EncoderSettings(seconds=1), START_90K + 3 * CLOCK_RATE, run=2))
    publish(archive, encode(EncoderSettings(seconds=1, width=320, height=240), START_90K + 4 * CLOCK_RATE, run=2))
    await archive.remove_camera("door")
    segments = await reader_of(archive).segments.page("door")
    assert [(s.frames, s.width, s.end_reason) for s in segments] == [
        (15, 160, EndReason.CAMERA_RESTARTED),
        (10, 160, EndReason.STREAM_CHANGED),
        (10, 320, EndReason.STOPPED),
    ]
    with pytest.raises(NotFoundError, match="was not recorded then"):
        await reader_of(archive).segments.at("door", START_90K + 2 * CLOCK_RATE)


async def test_segments_that_the_index_takes_too_late_are_counted(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.archive.recorder.UNINDEXED_MAX", 1)
    async with archive.index_sync._updating:  # the index takes nothing
        publish(archive, encode(EncoderSettings(seconds=9)))
        await eventually(lambda: archive.recorders()["door"].segments_closed >= 3, "segments are closed")
        status = archive.recorders()["door"]
        assert status.unindexed_dropped == status.segments_closed - 1
    await eventually(lambda: len(archive.unindexed("door")) <= 1, "the index has the rest")


async def test_two_segments_of_one_second_have_names_that_sort(archive: Archive) -> None:
    publish(archive, encode(EncoderSettings(seconds=0.3)))
    for run in (2, 3):
        publish(archive, encode(EncoderSettings(seconds=0.3), START_90K + run * CLOCK_RATE // 10, run=run))
    await archive.remove_camera("door")
    names = [segment.name for segment in await reader_of(archive).segments.page("door")]
    assert names == sorted(names) == ["segment_20261122T185000Z" + suffix for suffix in ("", "_001", "_002")]


@pytest.mark.integration
async def test_audio_that_mp4_does_not_support_becomes_aac(archive: Archive) -> None:
    publish(archive, encode(EncoderSettings(seconds=1.8, g711=True)))
    await archive.remove_camera("door")
    [segment] = await reader_of(archive).segments.page("door")
    assert segment.audio_codec == "aac"
    probed = ffprobe(reader_of(archive).path(segment))
    audio = next(stream for stream in probed["streams"] if stream["codec_type"] == "audio")
    assert (audio["codec_name"], audio["sample_rate"]) == ("aac", "16000")
    assert float(audio["duration"]) == pytest.approx(1.8, abs=0.3)
    assert decode(reader_of(archive).path(segment)) == ""


@pytest.mark.integration
async def test_h265_is_recorded_and_recovered_with_its_codec_string(archive: Archive, tmp_path: Path) -> None:
    packets = encode(EncoderSettings(seconds=3, hevc=True))
    publish(archive, packets)
    await archive.remove_camera("door")
    segments = await reader_of(archive).segments.page("door")
    assert [(s.codec, s.frames, s.state) for s in segments] == [
        ("hevc", 20, SegmentState.CLOSED),
        ("hevc", 10, SegmentState.CLOSED),
    ]
    assert packets[0].info.video.codec_string.startswith("hvc1.1.6.L")
    assert {segment.codec_string for segment in segments} == {packets[0].info.video.codec_string}
    for segment in segments:
        [video] = ffprobe(reader_of(archive).path(segment))["streams"]
        assert (video["codec_name"], video["codec_tag_string"], video["width"]) == ("hevc", "hvc1", 160)
        assert decode(reader_of(archive).path(segment)) == ""
    await archive.close()
    (tmp_path / INDEX_FILE).unlink()
    index = index_of(tmp_path)
    assert recover(tmp_path, index).added == 2
    assert {segment.codec_string for segment in index.page("door", None, None, 9)} == {segments[0].codec_string}
    index.close()


@pytest.mark.integration
async def test_a_slow_disk_drops_to_the_next_keyframe_and_recovers(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread is held in a sync while more comes than its queue holds; the hub's other readers go on."""
    packets = encode(EncoderSettings(seconds=150))
    is_well = threading.Event()
    fdatasync = os.fdatasync

    def slow(descriptor: int) -> None:
        is_well.wait()
        fdatasync(descriptor)

    monkeypatch.setattr("hls.archive.writer.os.fdatasync", slow)
    hub = archive.service.camera("door").hub
    live = hub.subscribe()
    try:
        publish(archive, packets[:20])
        await asyncio.sleep(0.2)  # until the thread has what there is
        taken = 0
        for packet in packets[20:1400]:
            hub.publish(packet)
            while live.get_nowait() is not None:
                taken += 1
        assert (taken, live.dropped) == (1400, 0)
        status = archive.recorders()["door"]
        assert status.packets_dropped > 300
    finally:
        is_well.set()
        live.close()
    await eventually(lambda: archive.recorders()["door"].segments_closed > 10, "ten segments are closed")
    publish(archive, packets[1400:])
    await eventually(lambda: archive.recorders()["door"].lag_s < 1, "the recorder has caught up")
    dropped = archive.recorders()["door"].packets_dropped
    await archive.remove_camera("door")
    segments = await reader_of(archive).segments.page("door")
    assert sum(segment.frames for segment in segments) + dropped == len(packets)
    [lost] = [segment for segment in segments if segment.end_reason is EndReason.PACKETS_LOST]
    after = segments[segments.index(lost) + 1]
    assert after.start_90k - lost.end_90k == dropped * CLOCK_RATE // 10
    assert (after.start_90k - START_90K) % CLOCK_RATE == 0, "it goes on with a keyframe"
    assert not after.continues
    assert all(decode(reader_of(archive).path(segment)) == "" for segment in (lost, after))


async def test_a_lost_camera_ends_its_segment(archive: Archive) -> None:
    publish(archive, encode(EncoderSettings(seconds=1)))
    await eventually(lambda: archive.recorders()["door"].segments_closed == 1, "a segment is closed")
    [segment] = await reader_of(archive).segments.page("door")
    assert (segment.end_reason, segment.frames) == (EndReason.CAMERA_LOST, 10)


async def test_a_stepped_clock_begins_a_new_segment(archive: Archive) -> None:
    packets = encode(EncoderSettings(seconds=2))
    stepped = [replace(packet, captured_at_90k=packet.captured_at_90k - 3600 * CLOCK_RATE) for packet in packets[10:]]
    publish(archive, [*packets[:10], *stepped])
    await archive.remove_camera("door")
    assert [(s.start_90k, s.end_reason) for s in await reader_of(archive).segments.page("door")] == [
        (START_90K - 3599 * CLOCK_RATE, EndReason.STOPPED),
        (START_90K, EndReason.CLOCK_STEPPED),
    ]


async def test_recordings_and_numbers_continue_after_a_restart(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for life in range(2):
        archive = Archive(settings, CaptureService(settings.camera_settings()))
        await archive.start()
        publish(archive, encode(EncoderSettings(seconds=3), START_90K + life * 10 * CLOCK_RATE))
        await archive.close()
        assert archive.recovery is not None
        assert archive.recovery.is_nothing
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    await archive.start()
    segments = await reader_of(archive).segments.page("door")
    assert [segment.sequence for segment in segments] == [0, 1, 2, 3]
    assert [segment.discontinuities for segment in segments] == [0, 1, 2, 3]
    await archive.close()


async def test_a_failing_disk_is_reported_and_recording_resumes(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "door"
    folder.write_text("in the way")
    publish(archive, encode(EncoderSettings(seconds=1)))
    await eventually(lambda: archive.recorders()["door"].error is not None, "the recorder reports its error")
    assert "recording has stopped" in (archive.recorders()["door"].error or "")
    folder.unlink()
    await eventually(recording_after_new_run(archive), "the recorder records again")
    assert archive.recorders()["door"].error is None
    assert archive.recorders()["door"].packets_dropped >= 10


async def test_a_camera_that_is_never_recorded_has_no_recorder(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, record="never")
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    await archive.start()
    assert not archive.recorders()
    await archive.close()


def with_sub(data_dir: Path, **more: object) -> Settings:
    door = {"url": "rtsp://127.0.0.1:9/door", "sub_url": "rtsp://127.0.0.1:9/small", **more}
    return load_settings(
        data_dir=data_dir,
        cameras={"door": door},
        archive_segment_seconds=2,
        archive_min_free_bytes=0,
        start="on-demand",
    )


async def opened(settings: Settings) -> Archive:
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    await archive.start()
    return archive


def publish_both(archive: Archive, seconds: float = 3) -> None:
    publish(archive, encode(EncoderSettings(seconds=seconds, width=320, height=240)))
    sub = archive.service.camera("door").rendition(RenditionName.SUB)
    for packet in encode(EncoderSettings(seconds=seconds)):
        sub.hub.publish(packet)


@pytest.mark.integration
async def test_both_streams_are_recorded_with_names_numbers_and_a_status_of_their_own(tmp_path: Path) -> None:
    archive = await opened(with_sub(tmp_path, record_sub="always"))
    publish_both(archive)
    await eventually(
        lambda: all(status.segments_closed for _, status in archive.streams()), "each stream has a finished segment"
    )
    door = archive.recorders()["door"]
    assert door.sub is not None
    assert (door.segment, door.sub.segment) == ("segment_20261122T185002Z", "segment_20261122T185002Z_sub")
    assert door.sub.bytes_written < door.bytes_written
    assert (archive.live_position("door") or ("",))[0] == door.segment
    await archive.close()
    archive = await opened(with_sub(tmp_path))
    main, sub = [await reader_of(archive).segments.page("door", rendition=name) for name in RenditionName]
    assert [(s.name, s.width, s.sequence) for s in main] == [
        ("segment_20261122T185000Z", 320, 0),
        ("segment_20261122T185002Z", 320, 1),
    ]
    assert [(s.name, s.width, s.sequence) for s in sub] == [
        ("segment_20261122T185000Z_sub", 160, 0),
        ("segment_20261122T185002Z_sub", 160, 1),
    ]
    for segment in [*main, *sub]:
        assert decode(reader_of(archive).path(segment)) == ""
    await archive.close()
    assert check_archive(with_sub(tmp_path)) == []


async def test_a_sub_stream_alone_is_recorded_and_its_recordings_stay_without_it(tmp_path: Path) -> None:
    archive = await opened(with_sub(tmp_path, record="never", record_sub="always"))
    publish_both(archive, 1)
    await eventually(lambda: archive.live_position("door"), "the sub stream is recorded")
    door = archive.recorders()["door"]
    assert door.sub is not None
    assert (door.is_recording, door.sub.is_recording) == (False, True)
    before = archive.service.camera("door").settings
    for changed in (with_sub(tmp_path, record="never"), settings_for(tmp_path, record="never")):
        camera = archive.service.change_camera("door", changed.camera_settings()["door"])
        await archive.change_camera(before, camera)
        before = camera.settings
        assert not archive.recorders()
        assert [s.name for s in await reader_of(archive).segments.page("door")] == ["segment_20261122T185000Z_sub"]
    await archive.close()
    await archive.service.close()


async def test_the_sub_stream_has_the_age_limit_of_the_main_stream_unless_it_has_its_own(tmp_path: Path) -> None:
    for given, sub_max_age_s in (({}, None), ({"archive_max_age": 60}, 60), ({"archive_sub_max_age": 90}, 90)):
        settings = with_sub(tmp_path, **given)
        limits = Archive(settings, CaptureService(settings.camera_settings()))._limits()["door"]
        assert (limits.age_s(RenditionName.MAIN), limits.age_s(RenditionName.SUB)) == (
            given.get("archive_max_age"),
            sub_max_age_s,
        )


async def test_a_second_gateway_cannot_use_the_directory(archive: Archive, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    second = Archive(settings, CaptureService(settings.camera_settings()))
    with pytest.raises(SettingsError, match="another liveedge"):
        await second.start()
    await second.close()


async def test_an_unusable_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = settings_for(tmp_path / "file" / "data")
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    with pytest.raises(SettingsError, match=r"DATA_DIR .* cannot be written"):
        await archive.start()
    await archive.close()


async def test_every_thread_ends_with_the_archive(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    await archive.start()
    publish(archive, encode())
    await archive.close()
    await eventually(
        lambda: not any(name.startswith(("archive", "index")) for name in thread_names()),
        "the archive's threads have ended",
    )
    assert not [link for link in os.listdir("/proc/self/fd") if str(tmp_path) in _target(link)]


def thread_names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def _target(link: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{link}")
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("code", "fault", "advice"),
    [
        (errno.ENOSPC, DiskFault.FULL, "ARCHIVE_MIN_FREE_BYTES"),
        (errno.EDQUOT, DiskFault.QUOTA, "raise the quota"),
        (errno.EROFS, DiskFault.READ_ONLY, "mount it writable"),
        (errno.EIO, DiskFault.IO_ERROR, "SMART"),
        (errno.ESTALE, DiskFault.GONE, "mount it again"),
        (errno.EFBIG, DiskFault.OTHER, "DATA_DIR"),
    ],
)
def test_errors_of_the_disk_are_told_apart_until_it_writes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fault: DiskFault, advice: str
) -> None:
    clock = ManualClock()
    recording = Recording("door", tmp_path, 600, FsyncMode.NEVER, clock=clock)
    parts = parts_of(encode(EncoderSettings(seconds=4)))
    half = next(number for number, part in enumerate(parts) if part.is_keyframe and part.dts_90k >= 2 * CLOCK_RATE)

    def fails(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr("hls.archive.writer.os.pwritev", fails)
        result = recording.write([QueuedPart(part) for part in parts[:half]])
    assert result.fault is fault
    assert os.strerror(code) in (result.error or "")
    assert advice in (result.error or "")
    clock.now += DISK_RETRY_S
    # The file has been made; only its first fragment shows that the disk works.
    assert recording.write([QueuedPart(parts[half])]).fault is fault
    result = recording.write([QueuedPart(part) for part in parts[half + 1 :]])
    assert (result.error, result.fault) == (None, None)
    ((segment, _),) = recording.finish(EndReason.STOPPED).closed
    assert segment.frames == 20


@pytest.mark.integration
async def test_a_disk_that_fails_within_a_segment_leaves_its_complete_fragments(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = encode(EncoderSettings(seconds=6))
    publish(archive, packets[:12])
    await eventually(lambda: archive.recorders()["door"].is_recording, "the camera is recorded")
    whole = archive.recorders()["door"].bytes_written

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("hls.archive.writer.os.pwritev", full)
    publish(archive, packets[12:20])
    await eventually(lambda: archive.recorders()["door"].error is not None, "the recorder reports its error")
    assert "No space left on device" in (archive.recorders()["door"].error or "")
    monkeypatch.undo()
    [segment] = await reader_of(archive).segments.page("door")
    assert (segment.state, segment.end_reason) == (SegmentState.TRUNCATED, EndReason.DISK_FAILED)
    assert segment.size == whole == reader_of(archive).path(segment).stat().st_size
    assert decode(reader_of(archive).path(segment)) == ""
    await eventually(recording_after_new_run(archive), "the recorder records again")
    assert archive.recorders()["door"].error is None
