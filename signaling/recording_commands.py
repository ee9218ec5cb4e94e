"""RecordingCommands: pictures and recordings on request, for the EMS and for browsers.

``snapshot_request`` is one picture, of now or of a recorded moment. ``segments_list_request`` and
``segment_at_request`` are ``/api/cameras/{camera}/segments`` and ``…/segments/at``. A camera that was removed still has
its recordings, so an id that is not configured is not an error by itself.
"""

from gateway.camera_settings import CAMERA_ID, RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from gateway.event_models import moment_90k
from gateway.live_picture import PICTURE_WAIT_S, live_picture
from signaling.answers import PictureMetadata, SegmentAtResponse, SegmentsResponse, SnapshotResponse
from signaling.control import Caller, Control, Reply
from signaling.recordings import Recordings
from signaling.requests import CameraRequest, SegmentAtRequest, SegmentsListRequest, SnapshotRequest

NOW = "now"


class RecordingCommands:
    """Adds the commands to a :class:`Control`. ``recordings`` is ``None`` in a program that keeps none."""

    def __init__(self, control: Control, recordings: Recordings | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._service = control.service
        self._recordings = recordings
        self._clock = clock
        control.add_handler("snapshot_request", self._snapshot)
        control.add_handler("segments_list_request", self._list)
        control.add_handler("segment_at_request", self._at)

    async def _snapshot(self, caller: Caller, request: SnapshotRequest) -> Reply:
        if request.at is None or request.at == NOW:
            camera = self._service.camera(request.camera_id)
            wait_s = PICTURE_WAIT_S if request.wait is None else request.wait
            frame = await live_picture(camera, request.width, wait_s, request.quality)
        else:
            caller.access.authorize("segment_at_request", self._camera_id(request))
            time_90k = self._moment(request.at, "at")
            frame = await self._archive.picture(self._camera_id(request), time_90k, request.width, request.quality)
        metadata = PictureMetadata(
            camera_id=frame.camera_id,
            timestamp=to_rfc3339(frame.captured_at_90k),
            width=frame.width,
            height=frame.height,
        )
        answer = SnapshotResponse(
            client_id=request.client_id, camera_id=frame.camera_id, frame_data=frame.data, metadata=metadata
        )
        return Reply("snapshot_response", answer.wire())

    async def _list(self, caller: Caller, request: SegmentsListRequest) -> Reply:
        start_90k = None if request.start is None else self._moment(request.start, "start")
        end_90k = None if request.end is None else self._moment(request.end, "end")
        if start_90k is not None and end_90k is not None and end_90k <= start_90k:
            raise BadRequestError("end is not after start")
        camera_id = self._camera_id(request)
        page = await self._archive.page(
            camera_id,
            start_90k,
            end_90k,
            limit=request.limit,
            cursor=request.cursor,
            rendition=_rendition(request.rendition),
        )
        answer = SegmentsResponse(
            client_id=request.client_id, camera_id=camera_id, segments=page.segments, next_cursor=page.next_cursor
        )
        return Reply("segments_response", answer.wire())

    async def _at(self, caller: Caller, request: SegmentAtRequest) -> Reply:
        camera_id = self._camera_id(request)
        time_90k = self._moment(request.time, "time")
        found = await self._archive.at(camera_id, time_90k, _rendition(request.rendition))
        answer = SegmentAtResponse(
            client_id=request.client_id,
            camera_id=camera_id,
            segment=found.segment,
            offset_s=found.offset_s,
            time=found.time,
        )
        return Reply("segment_at_response", answer.wire())

    @property
    def _archive(self) -> Recordings:
        if self._recordings is None:
            raise NotFoundError("this program keeps no recordings")
        return self._recordings

    def _camera_id(self, request: CameraRequest) -> str:
        camera_id = request.camera_id or self._service.camera().id
        if not CAMERA_ID.fullmatch(camera_id):  # also one that was removed has recordings
            raise NotFoundError(f"there is no camera {camera_id[:64]!r}")
        return camera_id

    def _moment(self, value: str | int | float, name: str) -> int:
        return moment_90k(value, name, self._clock.wall_90k())


def _rendition(name: str | None) -> RenditionName | None:
    return None if name in (None, "auto") else RenditionName(name)
