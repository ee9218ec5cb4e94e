"""Archive: everything that is recorded, of all cameras, and the way to it.

Theory of operation. There is one archive a process. It owns ``DATA_DIR`` (a lock in it keeps a second process out), the
index, and a recorder per camera. What recorders bring to the disk is told to the index by one task, at once for a new
segment and a finished one and every :data:`INDEX_EVERY_S` for growth; until then the recorders are asked as well, so
that answers are never behind the disk.

Rules:

1. The event loop never waits for the disk or the database: worker threads do.
2. What is told recorded is on disk. What is on disk is in the index, or becomes so at the next start.
3. A disk or an index that fails is told in :meth:`Archive.status` and tried again; live goes on.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gateway.camera import Camera
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.errors import BadRequestError, LiveedgeError, NotFoundError, SettingsError, UnavailableError
from gateway.histogram import Histogram
from gateway.jpeg import JpegFrame
from gateway.service import CaptureService
from gateway.session import SessionState
from gateway.settings import RecordMode, Settings
from hls import dvr
from hls.boxes import read_init, shared_init
from hls.clip import CLIP_MAX_S, VirtualFile, make_clip
from hls.index import SegmentIndex
from hls.metadata import Finisher, MetadataExtractor, load_extractor
from hls.playback import make_thumbnail, replay_jpeg
from hls.recorder import CameraRecorder, Numbers, RecorderStatus, Recording, Whole
from hls.recovery import Recovery, recover
from hls.retention import CameraLimits
from hls.segment import Segment, segment_path
from hls.sweeper import Sweeper

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

INDEX_EVERY_S = 2.0
"""How far a growing segment's row may be behind its file."""

BEGIN_S = 1.0
"""How long the end of a recording waits for its beginning."""

WRITER_THREADS = 4
"""Enough that one camera's sync does not wait for another's; few enough that a dying disk hangs few threads."""

PAGE_MAX = 1000
"""Segments in one answer: a week of 10-minute files, half a megabyte of JSON."""


DECODER_THREADS = 2
"""For thumbnails and replays: pictures of the past never take more than these from the live ones."""

DECODES_WAITING_MAX = 64
"""A page of thumbnails."""

DVR_MAX_S = 24 * 3600
"""The longest playlist: 20,000 lines of HLS segments, some 2 MB before gzip."""

DVR_DEFAULT_S = 3600
"""What is played where no start is given."""

SPAN_MAX = 5000
"""Segments that one playlist or clip may be made of: a day of files that were cut every quarter of a minute."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A wall clock found in the archive: ``offset_90k`` into the segment."""

    segment: Segment
    offset_90k: int


class Archive:
    """See the module. Lives on the event loop."""

    def __init__(self, settings: Settings, service: CaptureService, clock: Clock = SYSTEM_CLOCK) -> None:
        url = settings.database_url
        self.data_dir: Path = settings.data_dir
        self.index = SegmentIndex(self.data_dir, url.get_secret_value() if url else None)
        self.recovery: Recovery | None = None
        """What the last start found and put right."""
        self.service = service
        self._clock = clock
        self._recorders: dict[str, CameraRecorder] = {}
        self._beginning: dict[str, asyncio.Task[None]] = {}
        self._executor = ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="archive")
        self._decoders = ThreadPoolExecutor(DECODER_THREADS, thread_name_prefix="archive-decode")
        self._decoding = 0
        self._lock: int | None = None
        self._dirty = asyncio.Event()
        self._telling = asyncio.Lock()
        self._told: dict[str, Segment] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.extractors: list[MetadataExtractor] = (
            [load_extractor(settings.archive_metadata)] if settings.archive_metadata else []
        )
        """What adds JSON to each finished segment, see :mod:`hls.metadata`; append before :meth:`start`."""
        self.sweeper = Sweeper(
            self.data_dir,
            self.index,
            self._executor,
            clock,
            self._limits,
            settings.archive_max_bytes,
            settings.archive_min_free_bytes,
        )
        self._finisher = Finisher(self.data_dir, self.index, self.extractors, self.pin)
        self._index_error: str | None = None

    # --- its life

    async def start(self) -> None:
        """Take hold of ``DATA_DIR``, heal what a crash left, begin to record.

        Raises :class:`~gateway.errors.SettingsError` where the directory or the index cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._lock = await loop.run_in_executor(self._executor, take_data_dir, self.data_dir)
        await self.index.open()
        self.recovery = await loop.run_in_executor(self._executor, recover, self.data_dir, self.index.table)
        if not self.recovery.is_nothing:
            log.info("archive: %s", self.recovery)
        self._tasks = [
            asyncio.create_task(self._keep_index(), name="archive-index"),
            asyncio.create_task(self.sweeper.run(), name="archive-retention"),
            asyncio.create_task(self._finisher.run(), name="archive-metadata"),
        ]
        for camera in self.service.cameras.values():
            self.add_camera(camera)

    async def close(self) -> None:
        """Finish the files and tell the index. Twice is fine."""
        await asyncio.gather(*(self.remove_camera(camera_id) for camera_id in tuple(self._recorders)))
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.index.close()
        self._executor.shutdown(wait=False)
        self._decoders.shutdown(wait=False, cancel_futures=True)
        if self._lock is not None:
            release_data_dir(self._lock)
            self._lock = None

    def add_camera(self, camera: Camera) -> None:
        """Record a camera from now on, if its settings want that."""
        settings = camera.settings
        if settings.record is RecordMode.NEVER or camera.id in self._recorders:
            return
        recording = Recording(camera.id, self.data_dir, settings.archive_segment_seconds, settings.archive_fsync)
        recorder = CameraRecorder(
            camera.hub,
            recording,
            self._executor,
            is_live=lambda: camera.session.state is SessionState.LIVE,
            on_progress=self._on_progress,
        )
        self._recorders[camera.id] = recorder
        self._beginning[camera.id] = asyncio.create_task(self._begin(recorder), name=f"record-{camera.id}")

    async def remove_camera(self, camera_id: str) -> None:
        """Finish the camera's segment. What is recorded stays."""
        recorder = self._recorders.get(camera_id)
        beginning = self._beginning.pop(camera_id, None)
        if recorder is None:
            return
        if beginning is not None:
            # It waits for an index that fails: what the recorder holds is lost with it then.
            await asyncio.wait([beginning], timeout=BEGIN_S)
            beginning.cancel()
        await recorder.close()
        try:
            await self._tell(recorder)
        except LiveedgeError as error:
            log.warning("archive: %s; the next start takes the camera's last files into the index", error)
        self._recorders.pop(camera_id, None)
        self._told.pop(camera_id, None)

    async def _begin(self, recorder: CameraRecorder) -> None:
        """Start a recorder, with the numbers that follow upon those of the camera's newest segment."""
        while True:
            try:
                newest = await self.index.newest(recorder.camera_id)
                break
            except LiveedgeError as error:
                self._index_error = str(error)
                await asyncio.sleep(INDEX_EVERY_S)
        recorder.start(Numbers.after(newest))

    # --- what there is

    def recorders(self) -> Mapping[str, RecorderStatus]:
        """Each recorded camera's recording."""
        statuses = {camera_id: recorder.status() for camera_id, recorder in self._recorders.items()}
        for status in statuses.values():
            status.error = status.error or self._index_error
        return statuses

    def syncs(self) -> Mapping[str, Histogram]:
        """How long the disk took to sync, for each recorded camera."""
        return {camera_id: recorder.syncs for camera_id, recorder in self._recorders.items()}

    def status(self) -> dict[str, Any]:
        """The archive for ``/api/status``, as JSON has it."""
        return {
            "cameras": {camera_id: asdict(status) for camera_id, status in self.recorders().items()},
            "index_error": self._index_error,
            "retention_error": self.sweeper.error,
            "free_bytes": self.sweeper.free_bytes,
            "segments_deleted": dict(self.sweeper.deleted),
        }

    def live_position(self, camera_id: str) -> tuple[str, float] | None:
        """The segment that grows and how far it has come, in seconds; ``None`` while nothing is being recorded."""
        recorder = self._recorders.get(camera_id)
        if recorder is None or recorder.growing is None:
            return None
        segment = recorder.growing[0]
        return segment.name, segment.duration_90k / CLOCK_RATE

    async def find(self, camera_id: str, name: str) -> Whole:
        """A segment and its fragments. Raises :class:`~gateway.errors.NotFoundError`."""
        found = await self.index.get(camera_id, name)
        for segment, fragments in self._untold(camera_id):
            if segment.name == name:
                return (_as_told(segment, found[0]) if found else segment), fragments
        if found is None:
            raise NotFoundError(f"camera {camera_id} has no segment {name}")
        return found

    async def page(
        self,
        camera_id: str,
        start_90k: int | None = None,
        end_90k: int | None = None,
        limit: int = 100,
        after: tuple[int, str] | None = None,
    ) -> list[Segment]:
        """Segments that overlap [start, end), oldest first; ``after`` (start, name) goes on behind that one."""
        limit = min(limit, PAGE_MAX)
        segments = {
            segment.name: segment for segment in await self.index.page(camera_id, start_90k, end_90k, limit, after)
        }
        for segment, _ in self._untold(camera_id):
            overlaps = (end_90k is None or segment.start_90k < end_90k) and (
                start_90k is None or segment.end_90k > start_90k
            )
            if overlaps and (after is None or (segment.start_90k, segment.name) > after):
                segments[segment.name] = _as_told(segment, segments.get(segment.name, segment))
        return sorted(segments.values(), key=lambda segment: (segment.start_90k, segment.name))[:limit]

    async def at(self, camera_id: str, time_90k: int) -> Moment:
        """Where a wall clock lies. Raises :class:`~gateway.errors.NotFoundError`, saying what there is around it."""
        before, after = await self._around(camera_id, time_90k)
        if before is not None:
            if time_90k < before.end_90k:
                return Moment(before, time_90k - before.start_90k)
            # Media time and wall clock part by some milliseconds over a segment: no moment is lost between two that
            # follow upon each other, nor between the newest picture on disk and now.
            if (after is not None and after.continues) or (after is None and self._is_growing(before)):
                return Moment(before, before.duration_90k)
        raise NotFoundError(_nothing_at(camera_id, before, after))

    async def playlist(self, camera_id: str, start_90k: int | None, end_90k: int | None, base: str) -> str:
        """The recording in [start, end) as an HLS playlist, without an end one that goes on into live; :mod:`hls.dvr`.

        Raises :class:`~gateway.errors.BadRequestError` for a span that is too long, and
        :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.UnavailableError` where there is nothing
        (yet).
        """
        now_90k = self._clock.wall_90k()
        if start_90k is None:
            start_90k = (now_90k if end_90k is None else end_90k) - DVR_DEFAULT_S * CLOCK_RATE
        until_90k = now_90k if end_90k is None else end_90k
        if until_90k - start_90k > DVR_MAX_S * CLOCK_RATE:
            raise BadRequestError(
                f"a playlist holds {DVR_MAX_S // 3600} hours at most: take a later start, or an end nearer to it"
            )
        is_recorded = camera_id in self._recorders
        is_ended = not is_recorded if end_90k is None else end_90k <= now_90k
        found = await self.index.hls_span(camera_id, start_90k, end_90k, SPAN_MAX)
        parts = {segment.name: (segment, listed) for segment, listed in found}
        for segment, fragments in self._untold(camera_id):
            is_whole = is_ended or segment.end_reason is not None
            parts[segment.name] = segment, dvr.hls_segments(fragments, is_whole=is_whole)
        ordered = sorted(parts.values(), key=lambda part: (part[0].start_90k, part[0].name))
        text = await asyncio.to_thread(dvr.playlist, ordered, start_90k, end_90k, is_ended=is_ended, base=base)
        if text is not None:
            return text
        if end_90k is None and is_recorded:
            raise UnavailableError(f"camera {camera_id} has recorded nothing in that time yet", retry_after_s=2)
        raise NotFoundError(f"camera {camera_id} has no recording in that time")

    async def init_segment(self, camera_id: str, init_id: str) -> bytes:
        """The init segment of all files whose tracks are described alike, named by :attr:`Segment.init_id`.

        Raises :class:`~gateway.errors.NotFoundError`.
        """
        segment = next((whole[0] for whole in self._untold(camera_id) if whole[0].init_id == init_id), None)
        if segment is None:
            segment = await self.index.with_init(camera_id, init_id)
        if segment is None:
            raise NotFoundError(f"camera {camera_id} has no recording with init segment {init_id[:16]!r}")
        return shared_init(await asyncio.to_thread(read_init, self.path(segment), segment))

    def path(self, segment: Segment) -> Path:
        """Where a segment's file lies."""
        return segment_path(self.data_dir, segment.camera_id, segment.name)

    # --- what is done with it

    async def protect(self, camera_id: str, name: str, is_protected: bool) -> Segment:
        """Keep a segment whatever retention says, or no longer. Raises :class:`~gateway.errors.NotFoundError`."""
        segment, _ = await self.find(camera_id, name)
        recorder = self._recorders.get(camera_id)
        if recorder is not None:
            await self._tell(recorder)
        if not await self.index.set_protected(camera_id, name, is_protected):
            raise NotFoundError(f"camera {camera_id} has no segment {name}")
        return replace(segment, is_protected=is_protected)

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        """Keep a segment's file while it is being read."""
        return self.sweeper.pin(segment)

    async def thumbnail(self, camera_id: str, name: str) -> Path:
        """The JPEG of a segment's first picture, made when it is first asked for.

        Raises :class:`~gateway.errors.NotFoundError` or :class:`~gateway.errors.StorageError`.
        """
        segment, fragments = await self.find(camera_id, name)
        with self.pin(segment):
            return await self._decode(make_thumbnail, self.data_dir, segment, fragments)

    @contextlib.asynccontextmanager
    async def clip(self, camera_id: str, start_90k: int, end_90k: int) -> AsyncIterator[VirtualFile]:
        """The recording in [start, end) as one MP4, its files kept meanwhile; see :mod:`hls.clip`.

        Raises :class:`~gateway.errors.BadRequestError` for a span that is too long, and
        :class:`~gateway.errors.NotFoundError` where nothing of it is recorded.
        """
        if end_90k - start_90k > CLIP_MAX_S * CLOCK_RATE:
            raise BadRequestError(f"a clip lasts {CLIP_MAX_S // 60} minutes at most: ask for several")
        wholes = await self._span(camera_id, start_90k, end_90k)
        with contextlib.ExitStack() as pins:
            for segment, _ in wholes:
                pins.enter_context(self.pin(segment))
            yield await self._decode(make_clip, self.data_dir, wholes, start_90k, end_90k)

    async def find_from(self, camera_id: str, time_90k: int) -> Whole | None:
        """The segment that holds a moment, or else the next one after it."""
        before, after = await self._around(camera_id, time_90k)
        segment = before if before is not None and time_90k < before.end_90k else after
        return await self.find(camera_id, segment.name) if segment is not None else None

    async def replay_jpeg(
        self, camera_id: str, at_90k: int, frame_rate: float, width: int | None
    ) -> AsyncGenerator[JpegFrame, None]:
        """The recording as JPEG in real time from a moment on, over segment borders, and on into live.

        ``width`` is in pixels, ``None`` keeps the camera's. The caller holds the camera, so that there is a live edge
        to arrive at; the replay of a camera that is not there any more ends with its recording. Close the generator
        when done. Raises :class:`~gateway.errors.NotFoundError` before the first frame where nothing is recorded from
        there on.
        """
        camera = self.service.cameras.get(camera_id)

        def live_edge_90k() -> int | None:
            return camera.hub.newest.captured_at_90k if camera is not None and camera.hub.newest is not None else None

        replay = replay_jpeg(self, self._decoders, self._clock, camera_id, at_90k, frame_rate, width, live_edge_90k)
        last: JpegFrame | None = None
        async with contextlib.aclosing(replay):
            async for frame in replay:
                yield frame
                last = frame
        if camera is None or last is None:
            return
        reader = camera.jpeg.subscribe(frame_rate, width)
        try:
            sequence = last.sequence
            async for frame in reader:
                if frame.captured_at_90k > last.captured_at_90k:
                    sequence += 1
                    yield replace(frame, sequence=sequence)
        finally:
            reader.close()

    async def _decode(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run what decodes, in one of few threads; who finds too many before him is sent away."""
        if self._decoding >= DECODES_WAITING_MAX:
            raise UnavailableError("too many pictures of the archive are asked for at once", retry_after_s=2)
        self._decoding += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoders, lambda: function(*args, **kwargs))
        finally:
            self._decoding -= 1

    # --- the index

    def _limits(self) -> Mapping[str, CameraLimits]:
        return {
            camera.id: CameraLimits(camera.settings.archive_max_age, camera.settings.archive_max_bytes)
            for camera in self.service.cameras.values()
        }

    async def _span(self, camera_id: str, start_90k: int, end_90k: int | None) -> list[Whole]:
        """All that overlaps a span, oldest first, with fragments."""
        wholes = {whole[0].name: whole for whole in await self.index.span(camera_id, start_90k, end_90k, SPAN_MAX)}
        wholes |= {whole[0].name: whole for whole in self._untold(camera_id)}
        return sorted(wholes.values(), key=lambda whole: (whole[0].start_90k, whole[0].name))

    async def _around(self, camera_id: str, time_90k: int) -> tuple[Segment | None, Segment | None]:
        """The newest segment that begins at or before a moment, and the oldest after it."""
        before, after = await self.index.at(camera_id, time_90k)
        for segment, _ in self._untold(camera_id):
            if segment.start_90k <= time_90k:
                if before is None or segment.start_90k >= before.start_90k:
                    before = segment
            elif after is None or segment.start_90k <= after.start_90k:
                after = segment
        return before, after

    def _untold(self, camera_id: str) -> list[Whole]:
        """What the index does not know yet, oldest first."""
        recorder = self._recorders.get(camera_id)
        if recorder is None:
            return []
        return [*recorder.closed, *([recorder.growing] if recorder.growing else [])]

    def _is_growing(self, segment: Segment) -> bool:
        position = self.live_position(segment.camera_id)
        return position is not None and position[0] == segment.name

    def _on_progress(self, recorder: CameraRecorder) -> None:
        told = self._told.get(recorder.camera_id)
        if recorder.closed or told is None or recorder.growing is None or told.name != recorder.growing[0].name:
            self._dirty.set()
        if recorder.status().error is not None:
            self.sweeper.hurry()

    async def _keep_index(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INDEX_EVERY_S):
                    await self._dirty.wait()
            self._dirty.clear()
            try:
                for recorder in tuple(self._recorders.values()):
                    await self._tell(recorder)
                self._index_error = None
            except LiveedgeError as error:
                if self._index_error is None:
                    log.warning("archive: %s; recording goes on, and the index is tried again", error)
                self._index_error = str(error)
                await asyncio.sleep(INDEX_EVERY_S)

    async def _tell(self, recorder: CameraRecorder) -> None:
        async with self._telling:
            while recorder.closed:
                segment, fragments = recorder.closed[0]
                await self.index.save(segment, fragments)
                self._told[recorder.camera_id] = segment
                recorder.closed.popleft()
                self._finisher.wake()
            growing = recorder.growing
            if growing is not None and self._told.get(recorder.camera_id) != growing[0]:
                await self.index.save(*growing)
                self._told[recorder.camera_id] = growing[0]


def _as_told(segment: Segment, told: Segment) -> Segment:
    """What a recorder knows of a segment, with what only the index knows."""
    return replace(segment, is_protected=told.is_protected, sha256=told.sha256, metadata=told.metadata)


def take_data_dir(data_dir: Path) -> int:
    """Make ``DATA_DIR``, see that it can be written, and lock it; gives the lock's descriptor.

    Raises :class:`~gateway.errors.SettingsError`.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}): give it to the user that runs liveedge, or set"
            " DATA_DIR to a directory that is"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SettingsError(
            f"another liveedge records into DATA_DIR {data_dir}: stop it, or give this one a DATA_DIR of its own"
        ) from None
    return descriptor


def release_data_dir(lock: int) -> None:
    """Give up what :func:`take_data_dir` took."""
    os.close(lock)


def _nothing_at(camera_id: str, before: Segment | None, after: Segment | None) -> str:
    if before is None and after is None:
        return f"nothing of camera {camera_id} is recorded"
    around = []
    if before is not None:
        around.append(f"the recording before ends at {to_rfc3339(before.end_90k)}")
    if after is not None:
        around.append(f"the next begins at {to_rfc3339(after.start_90k)}")
    return f"camera {camera_id} was not recorded then: {' and '.join(around)}"
