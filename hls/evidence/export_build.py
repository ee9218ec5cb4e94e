"""Build the ZIP of an export: for each camera its clips, and what the gateway knows of the files they are cut from.

Rules:

1. The recordings are pinned from the beginning to the end, so that retention deletes none of them meanwhile.
2. A clip has at most :data:`CLIP_90K`, so that its index stays small. A gap within it is left out; the manifest says
   what wall clock each part shows. Each clip has one codec and one size (:mod:`hls.evidence.clip_spans`).
3. Each recording is compared with its signed hash. A difference does not end the export: the manifest says so, signed.
4. In a cluster, other nodes export what they have recorded (:mod:`hls.evidence.export_parts`).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import LiveedgeError, NodeAwayError, NotFoundError
from gateway.event import Event, EventFilter, EventOrder
from hls.archive.segment import RecordedStream, Segment, SegmentState, SegmentWithFragments
from hls.archive.segment_files import SegmentFiles
from hls.events.service import EventService
from hls.evidence import manifest as files
from hls.evidence.burn_process import burn
from hls.evidence.clip_spans import clip_spans, file_time
from hls.evidence.export_job import ExportJob
from hls.evidence.export_parts import ExportParts, Holders, add_part, incomplete
from hls.evidence.export_zip import READ_BYTES, CancelledExportError, ExportZip, Written, pieces_of
from hls.evidence.reader import EvidenceReader
from hls.playback.clip import ClipSpan, make_clip_with_spans
from hls.playback.segment_finder import SegmentFinder

CLIP_90K = 3600 * CLOCK_RATE

SEGMENTS_MAX = 20_000
"""Of one camera: a day of files of 5 s."""

PAGE = 1000

EVENTS_MAX = 1000
"""Chapters of one camera."""

BURN_IN_WORK = 8
"""How much more work it is to burn in a second than to copy it, for the progress."""


@dataclass(slots=True)
class CameraPlan:
    """What is exported of a camera: ``segments`` without fragments, ``events`` that its chapters are made of."""

    stream: RecordedStream
    segments: list[Segment]
    events: list[Event]
    records: list[dict[str, Any]] = field(default_factory=list)
    hashes: dict[str, str | None] = field(default_factory=dict)
    """The signed SHA-256 of each segment that is signed."""


class ExportBuild:
    """Builds one export. Lives on the event loop; the work is done in ``executor``. ``parts``: see rule 4."""

    def __init__(
        self,
        job: ExportJob,
        segments: SegmentFinder,
        events: EventService,
        evidence: EvidenceReader,
        executor: Executor,
        parts: ExportParts | None = None,
    ) -> None:
        self.job = job
        self.is_cancelled = False
        self._segments = segments
        self._files: SegmentFiles = segments.files
        self._events = events
        self._evidence = evidence
        self._executor = executor
        self._pins = contextlib.ExitStack()
        self._plans: list[CameraPlan] = []
        self._parts = parts
        self._holders = Holders()
        self._work = 1
        self._done = 0

    async def plan(self) -> int:
        """Find what is recorded, and keep it. Returns how many bytes the ZIP will have, about.

        Raises :class:`~gateway.errors.NotFoundError` if nothing is recorded of any camera.
        """
        request = self.job.request
        if self._parts is not None and not request.is_part:
            self._holders = await self._parts.holders(request)
        for camera_id in request.cameras:
            names = list(RenditionName) if request.rendition is None else [request.rendition]
            for name in names:
                found = await self._find(RecordedStream(camera_id, name))
                if found:
                    self._plans.append(await self._plan_of(RecordedStream(camera_id, name), found))
                    break
        if not self._plans and not self._holders.present:
            raise self._nothing()
        media = sum(self._bytes_of(segment) for plan in self._plans for segment in plan.segments)
        checked = sum(segment.size for plan in self._plans for segment in plan.segments)
        self._work = max(1, checked + media * (1 + (BURN_IN_WORK if request.burn_in_time else 0)))
        return media * (3 if request.burn_in_time else 1) + (1 << 20)

    async def build(self, path: Path) -> dict[str, Any]:
        """Write the ZIP to ``path``. Returns its size, and what the message of the job says.

        Raises ``OSError``, a ``LiveedgeError``, and :class:`~hls.evidence.export_zip.CancelledExportError`.
        """
        loop = asyncio.get_running_loop()
        archive = await loop.run_in_executor(self._executor, lambda: ExportZip(path, lambda: self.is_cancelled))
        try:
            cameras = [await self._camera(archive, plan, path) for plan in self._plans]
            keys: list[dict[str, str]] = []
            for node in self._holders.present:
                await self._take(archive, node, path.with_suffix(".of-node"), cameras, keys)
            if not cameras:
                raise self._nothing()
            for camera in cameras:
                camera["name"] = self.job.request.names.get(camera["camera"]) or camera.get("name")
            manifest = await self._manifest(cameras, keys)
            await loop.run_in_executor(self._executor, self._add_manifest, archive, manifest)
        finally:
            await loop.run_in_executor(self._executor, archive.close)
        result: dict[str, Any] = {"size": await loop.run_in_executor(self._executor, lambda: path.stat().st_size)}
        if away := self._holders.away:
            result |= incomplete(away)
        return result

    def close(self) -> None:
        """Let retention have the recordings again."""
        self._pins.close()

    def _nothing(self) -> LiveedgeError:
        request, away = self.job.request, self._holders.away
        if away:
            return NodeAwayError(
                away[0], f"{', '.join(away)} may have recorded it, and is away: no other node has any of it"
            )
        return NotFoundError(
            f"nothing is recorded of {', '.join(request.cameras)} from {to_rfc3339(request.start_90k)} to"
            f" {to_rfc3339(request.end_90k)}"
        ).because("nothing_recorded", cameras=", ".join(request.cameras))

    async def _take(
        self, archive: ExportZip, node: str, path: Path, cameras: list[dict[str, Any]], keys: list[dict[str, str]]
    ) -> None:
        """Rule 4: add what another node has recorded. One that is lost is away as one that was before."""
        assert self._parts is not None
        loop = asyncio.get_running_loop()
        try:
            if await self._parts.fetch(node, self.job.request, path, lambda: self.is_cancelled):
                taken = {clip["file"] for camera in cameras for clip in camera["clips"]}
                found = await loop.run_in_executor(self._executor, add_part, archive, path, node, taken)
                cameras += found[0]
                keys += found[1]
        except NodeAwayError:
            self._holders.away = sorted({*self._holders.away, node})
        finally:
            await loop.run_in_executor(self._executor, lambda: path.unlink(missing_ok=True))

    async def _find(self, stream: RecordedStream) -> list[Segment]:
        request, found = self.job.request, list[Segment]()
        after: tuple[int, str] | None = None
        while page := await self._segments.page(
            stream.camera_id, request.start_90k, request.end_90k, PAGE, after, stream.rendition
        ):
            for segment in page:
                self._pins.enter_context(self._segments.pin(segment))
            found += page
            after = page[-1].start_90k, page[-1].name
            if len(found) > SEGMENTS_MAX:
                raise NotFoundError("there are too many files in this time: make several exports").because(
                    "export_too_many_files"
                )
        return found

    async def _plan_of(self, stream: RecordedStream, segments: list[Segment]) -> CameraPlan:
        request = self.job.request
        wanted = EventFilter(frozenset({stream.camera_id}), request.start_90k, request.end_90k)
        page = await self._events.page(wanted, EventOrder.OLDEST, EVENTS_MAX)
        plan = CameraPlan(stream, segments, page.events)
        for record in await self._evidence.records(stream, request.start_90k, request.end_90k):
            plan.records.append(record.as_json())
            if record.deletion is None:
                plan.hashes[record.segment] = record.sha256
        return plan

    def _bytes_of(self, segment: Segment) -> int:
        request = self.job.request
        shown = min(segment.end_90k, request.end_90k) - max(segment.start_90k, request.start_90k)
        return segment.size * max(0, shown) // max(1, segment.duration_90k)

    async def _camera(self, archive: ExportZip, plan: CameraPlan, path: Path) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        request, camera_id = self.job.request, plan.stream.camera_id
        clips = []
        start_90k = max(request.start_90k, plan.segments[0].start_90k)
        end_90k = min(request.end_90k, max(segment.end_90k for segment in plan.segments))
        while start_90k < end_90k:
            to_90k = min(end_90k, start_90k + CLIP_90K)
            whole = await self._segments.best_span(camera_id, start_90k, to_90k, plan.stream.rendition)
            for alike, span in clip_spans(whole, start_90k, to_90k):
                with contextlib.suppress(NotFoundError):
                    clips.append(
                        await loop.run_in_executor(self._executor, self._add_clip, archive, plan, alike, span, path)
                    )
            start_90k = to_90k
        sources = await loop.run_in_executor(self._executor, self._check_sources, plan)
        return {
            "camera": camera_id,
            "name": None,
            "rendition": plan.stream.rendition.value,
            "clips": clips,
            "sources": sources,
            "records": plan.records,
        }

    def _add_clip(
        self,
        archive: ExportZip,
        plan: CameraPlan,
        whole: Sequence[SegmentWithFragments],
        span: tuple[int, int],
        path: Path,
    ) -> dict[str, Any]:
        start_90k, end_90k = span
        marks = [(each.start_90k, each.label) for each in plan.events if start_90k <= each.start_90k < end_90k]
        clip, spans = make_clip_with_spans(self._files, whole, start_90k, end_90k, marks)
        shown_90k = spans[0].start_90k
        stream = "_sub" if plan.stream.rendition is RenditionName.SUB else ""
        name = f"{plan.stream.camera_id}/{plan.stream.camera_id}_{file_time(shown_90k)}{stream}.mp4"
        pieces = clip.read(0, clip.length)
        left_out = 0
        if self.job.request.burn_in_time:
            written, left_out = self._add_burnt(archive, name, pieces, spans, path, clip.duration_90k, clip.length)
        else:
            written = archive.add(name, pieces, shown_90k, self._progress)
        return {
            "file": name,
            "size": written.size,
            "sha256": written.sha256,
            "start": to_rfc3339(shown_90k),
            "end": to_rfc3339(spans[-1].start_90k + clip.duration_90k - spans[-1].offset_90k),
            "duration_s": round(clip.duration_90k / CLOCK_RATE, 3),
            "burnt_in_time": self.job.request.burn_in_time,
            "pictures_left_out": left_out,
            "spans": [
                {"offset_s": round(each.offset_90k / CLOCK_RATE, 3), "start": to_rfc3339(each.start_90k)}
                for each in spans
            ],
            "chapters": [{"time": to_rfc3339(at_90k), "title": title} for at_90k, title in marks],
        }

    def _add_burnt(
        self,
        archive: ExportZip,
        name: str,
        pieces: Iterator[bytes],
        spans: Sequence[ClipSpan],
        path: Path,
        duration_90k: int,
        size: int,
    ) -> tuple[Written, int]:
        source, result = path.with_suffix(".source.mp4"), path.with_suffix(".burnt.mp4")
        try:
            with source.open("wb") as file:
                for piece in pieces:
                    if self.is_cancelled:
                        raise CancelledExportError
                    file.write(piece)
            before = self._done

            def report(at_90k: int) -> None:
                self._done = before
                self._progress(int(size * BURN_IN_WORK * min(1.0, at_90k / max(1, duration_90k))))

            label = name.partition("/")[0]
            left_out = burn(source, result, spans, label, report, lambda: self.is_cancelled)
            if left_out is None:
                raise CancelledExportError
            report(duration_90k)
            self._progress(size)
            with result.open("rb") as burnt:
                return archive.add(name, pieces_of(burnt), spans[0].start_90k, lambda _: None), left_out
        finally:
            source.unlink(missing_ok=True)
            result.unlink(missing_ok=True)

    def _check_sources(self, plan: CameraPlan) -> list[dict[str, str]]:
        """Rule 3."""
        sources = []
        for segment in plan.segments:
            signed = plan.hashes.get(segment.name)
            state = "unsigned"
            if signed is not None and segment.state is not SegmentState.GROWING:
                try:
                    state = "intact" if self._hash(segment) == signed else "changed"
                except (OSError, LiveedgeError):
                    state = "missing"
            sources.append({"segment": segment.name, "state": state})
        return sources

    def _hash(self, segment: Segment) -> str:
        digest, offset = hashlib.sha256(), 0
        with contextlib.closing(self._files.open(segment.path(self._files.data_dir))) as file:
            while data := file.read_at(READ_BYTES, offset):
                if self.is_cancelled:
                    raise CancelledExportError
                digest.update(data)
                offset += len(data)
                self._progress(len(data))
        return digest.hexdigest()

    async def _manifest(self, cameras: list[dict[str, Any]], others: list[dict[str, str]]) -> dict[str, Any]:
        request, keys = self.job.request, await self._evidence.keys()
        public = {each["id"]: each["public_key"] for each in others}
        public |= {each.key_id: each.pem for each in keys.values()}
        return {
            "type": files.TYPE,
            "version": files.VERSION,
            "id": self.job.id,
            "created": to_rfc3339(self.job.created_90k),
            "by": self.job.owner,
            "start": to_rfc3339(request.start_90k),
            "end": to_rfc3339(request.end_90k),
            "not_recorded": sorted({*request.cameras} - {each["camera"] for each in cameras}),
            "away": self._holders.away,
            "public_keys": [{"id": key_id, "public_key": pem} for key_id, pem in public.items()],
            "cameras": cameras,
        }

    def _add_manifest(self, archive: ExportZip, manifest: dict[str, Any]) -> None:
        for name, data in files.sealed(manifest, self._evidence.key):
            archive.add(name, [data], self.job.created_90k, lambda _: None)

    def _progress(self, size: int) -> None:
        self._done += size
        self.job.progress = min(0.99, self._done / self._work)
