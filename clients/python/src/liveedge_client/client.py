"""The client: one object for one gateway.

async with Liveedge("http://gateway.example:8000", token) as gateway:
    for camera in await gateway.cameras():
        print(camera.camera_id, camera.state)
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

import aiohttp
from pydantic import ValidationError
from yarl import URL

from liveedge_client.address import path_segment
from liveedge_client.changes import EventChange, changes
from liveedge_client.downloads import chunks, save
from liveedge_client.errors import ServerError
from liveedge_client.http import Query, Requests
from liveedge_client.model import Model
from liveedge_client.models import (
    Access,
    ArchivePosition,
    Camera,
    CameraList,
    CameraPatch,
    Event,
    EventList,
    EventPatch,
    Export,
    ExportList,
    NewCamera,
    NewEvent,
    PtzCommand,
    PtzState,
    Segment,
    SegmentPage,
    SignedUrl,
    Status,
)
from liveedge_client.times import Time, time_text
from liveedge_client.whep import WhepViewer

TIMEOUT_S = 30.0
"""A picture of a camera that is starting can take ten seconds."""

Answer = TypeVar("Answer", bound=Model)

Rendition = Literal["auto", "main", "sub"]


class Liveedge:
    """A gateway.

    ``url`` is its address, with the path that a proxy puts it below, if there is one. ``token`` is one of its bearer
    tokens, if it requires one. A ``session`` of aiohttp that is passed in is used, and not closed. ``timeout_s``
    limits each request, but no download and no stream.

    All methods raise a :class:`LiveedgeError`; those that write a file also the ``OSError`` of the disk. Times are
    ``datetime`` objects with a zone, Unix seconds, or ``"now"``.
    """

    def __init__(
        self,
        url: str | URL,
        token: str | None = None,
        *,
        session: aiohttp.ClientSession | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._requests = Requests(url, token, session, timeout_s)

    async def close(self) -> None:
        """Close the connections, unless they are of a session that was passed in."""
        await self._requests.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    # --- the gateway

    async def status(self) -> Status:
        """State of the gateway and of its parts."""
        return await self._read(Status, "GET", "/api/status")

    async def access(self) -> Access:
        """What the token allows."""
        return await self._read(Access, "GET", "/api/access")

    async def sign(self, path: str, *, expires_s: int | None = None) -> str:
        """A URL for a program that cannot send the token, such as a media player.

        ``path`` is one of the gateway, as ``hls_path`` and others return it.
        """
        signed = await self._read(SignedUrl, "POST", "/api/sign", body={"path": path, "expires_s": expires_s})
        return str(self._requests.resolve_answered(signed.url))

    # --- cameras

    async def cameras(self) -> list[Camera]:
        """All cameras that the token allows to view."""
        return (await self._read(CameraList, "GET", "/api/cameras")).cameras

    async def camera(self, camera_id: str) -> Camera:
        """One camera."""
        return await self._read(Camera, "GET", _camera(camera_id))

    async def add_camera(self, **settings: Unpack[NewCamera]) -> Camera:
        """Add a camera: ``camera_id``, ``url``, and any other setting of one."""
        return await self._read(Camera, "POST", "/api/cameras", body=settings)

    async def change_camera(self, camera_id: str, **settings: Unpack[CameraPatch]) -> Camera:
        """Change settings. ``None`` resets one to its default."""
        return await self._read(Camera, "PATCH", _camera(camera_id), body=settings)

    async def remove_camera(self, camera_id: str) -> None:
        """Remove a camera. Its recordings and events stay."""
        await self._requests.read("DELETE", _camera(camera_id))

    async def start_capture(self, camera_id: str, *, client_id: str = "python") -> Camera:
        """Keep a camera captured, until the same ``client_id`` stops it."""
        return await self._read(Camera, "POST", f"{_camera(camera_id)}/capture/start", body={"client_id": client_id})

    async def stop_capture(self, camera_id: str, *, client_id: str = "python") -> Camera:
        """No longer keep a camera captured for ``client_id``."""
        return await self._read(Camera, "POST", f"{_camera(camera_id)}/capture/stop", body={"client_id": client_id})

    async def ptz(self, camera_id: str) -> PtzState:
        """How a camera can move, and its presets."""
        return await self._read(PtzState, "GET", f"{_camera(camera_id)}/ptz")

    async def move(self, camera_id: str, **command: Unpack[PtzCommand]) -> None:
        """Move a camera."""
        await self._requests.read("POST", f"{_camera(camera_id)}/ptz", body=command)

    # --- live

    async def snapshot(
        self,
        camera_id: str,
        *,
        at: Time | None = None,
        width: int | None = None,
        rendition: Rendition | None = None,
        wait_s: int | None = None,
    ) -> bytes:
        """A picture as JPEG: the newest, or the recorded one of a time.

        ``wait_s`` is how long to wait for a camera that starts. Raises :class:`UnavailableError` without a picture.
        """
        query = {"at": _time(at), "width": width, "rendition": rendition, "wait": wait_s}
        return await self._requests.read("GET", f"/snapshot/{_quoted(camera_id)}.jpg", query)

    async def whep(
        self, camera_id: str, offer: str, *, rendition: Rendition | None = None, wait_s: int | None = None
    ) -> WhepViewer:
        """Watch a camera over WebRTC: send the SDP offer of your peer connection, with all its candidates.

        The result has the ``answer`` for the peer connection. ``async with await gateway.whep(…) as viewer`` ends it.
        Raises :class:`ConflictError` with ``retry_after_s`` while the camera is not live, as WHEP says.
        """
        query = {"rendition": rendition, "wait": wait_s}
        return await WhepViewer.join(
            self._requests, self._requests.resolve(f"/whep/{_quoted(camera_id)}", query), offer
        )

    def hls_path(self, camera_id: str) -> str:
        """The path of the live playlist, for ``sign``."""
        return f"/hls/{_quoted(camera_id)}/index.m3u8"

    # --- recordings

    async def segments(
        self,
        camera_id: str,
        start: Time | None = None,
        end: Time | None = None,
        *,
        rendition: Rendition | None = None,
    ) -> AsyncIterator[Segment]:
        """The recorded files of a time range, oldest first."""
        query: dict[str, Any] = {"start": _time(start), "end": _time(end), "rendition": rendition}
        while True:
            page = await self._read(SegmentPage, "GET", f"{_camera(camera_id)}/segments", query)
            for segment in page.segments:
                yield segment
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def segment_at(self, camera_id: str, time: Time, *, rendition: Rendition | None = None) -> ArchivePosition:
        """The recorded file of a moment, and where it is in it."""
        query = {"time": time_text(time), "rendition": rendition}
        return await self._read(ArchivePosition, "GET", f"{_camera(camera_id)}/segments/at", query)

    async def save_clip(
        self, camera_id: str, start: Time, end: Time, file: str | Path, *, rendition: Rendition | None = None
    ) -> int:
        """Write the recording of a time range as MP4. Returns the size in bytes. The file is complete, or not there."""
        return await save(self._requests, self._clip(camera_id, start, end, rendition), Path(file))

    def clip(
        self, camera_id: str, start: Time, end: Time, *, rendition: Rendition | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The same, as bytes that arrive."""
        return chunks(self._requests, self._clip(camera_id, start, end, rendition))

    async def save_segment(self, segment: Segment, file: str | Path) -> int:
        """Write a recorded file. Returns the size in bytes."""
        return await save(self._requests, self._requests.resolve_answered(segment.url), Path(file))

    async def create_export(
        self,
        cameras: Sequence[str],
        start: Time,
        end: Time,
        *,
        rendition: Rendition = "auto",
        burn_in_time: bool = False,
    ) -> Export:
        """Export a time range of cameras as one ZIP, with a signed manifest. ``export`` has its progress."""
        names = [cameras] if isinstance(cameras, str) else list(cameras)
        body = {"cameras": names, "start": time_text(start), "end": time_text(end)}
        options = {"rendition": rendition, "burn_in_time": burn_in_time}
        return await self._read(Export, "POST", "/api/exports", body=body | options)

    async def exports(self) -> list[Export]:
        """The exports that the token allows to see, the newest first."""
        return (await self._read(ExportList, "GET", "/api/exports")).exports

    async def export(self, export_id: str) -> Export:
        """One export, with its progress."""
        return await self._read(Export, "GET", _export(export_id))

    async def save_export(self, export_id: str, file: str | Path) -> int:
        """Write the ZIP of an export. Returns the size in bytes. Raises :class:`ConflictError` until it is done."""
        return await save(self._requests, self._requests.resolve(f"{_export(export_id)}/export.zip"), Path(file))

    async def delete_export(self, export_id: str) -> None:
        """Delete an export, or cancel it. The recordings stay."""
        await self._requests.read("DELETE", _export(export_id))

    # --- events

    async def events(
        self,
        *,
        cameras: Sequence[str] = (),
        start: Time | None = None,
        end: Time | None = None,
        labels: Sequence[str] = (),
        sources: Sequence[str] = (),
        text: str | None = None,
        reviewed: bool | None = None,
        order: Literal["newest", "oldest"] = "newest",
    ) -> AsyncIterator[Event]:
        """Events that match all that is given."""
        query: dict[str, Any] = {"camera": cameras, "start": _time(start), "end": _time(end), "label": labels}
        query |= {"source": sources, "text": text, "reviewed": reviewed, "order": order}
        while True:
            page = await self._read(EventList, "GET", "/api/events", query)
            for event in page.events:
                yield event
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def event(self, event_id: str) -> Event:
        """One event."""
        return await self._read(Event, "GET", _event(event_id))

    async def create_event(self, **event: Unpack[NewEvent]) -> Event:
        """Create an event: ``camera_id``, ``label``, and what else is known of it."""
        return await self._read(Event, "POST", "/api/events", body=event)

    async def change_event(self, event_id: str, **fields: Unpack[EventPatch]) -> Event:
        """Change an event; ``end="now"`` ends it."""
        return await self._read(Event, "PATCH", _event(event_id), body=fields)

    async def delete_event(self, event_id: str) -> None:
        """Delete an event. The recording stays."""
        await self._requests.read("DELETE", _event(event_id))

    async def save_event_clip(self, event_id: str, file: str | Path) -> int:
        """Write the recording of an event as MP4. Raises :class:`UnavailableError` until it is on the disk."""
        return await save(self._requests, self._requests.resolve(f"{_event(event_id)}/clip.mp4"), Path(file))

    def event_changes(
        self, *, cameras: Sequence[str] = (), labels: Sequence[str] = (), last_id: str | None = None
    ) -> AsyncGenerator[EventChange, None]:
        """Every change of an event from now on, or after ``last_id``.

        The iterator does not end. It connects again by itself when the connection or the gateway was away, and misses
        no change: where the gateway no longer has them all, there is one of the kind ``reset``.
        """
        return changes(self._requests, {"camera": cameras, "label": labels}, last_id)

    # --- internals

    def _clip(self, camera_id: str, start: Time, end: Time, rendition: Rendition | None) -> URL:
        query = {"start": time_text(start), "end": time_text(end), "rendition": rendition}
        return self._requests.resolve(f"{_camera(camera_id)}/clip.mp4", query)

    async def _read(
        self, model: type[Answer], method: str, path: str, query: Query | None = None, body: object = None
    ) -> Answer:
        text = await self._requests.read(method, path, query, body)
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            message = f"the answer to {method} {path} is no {model.__name__}: is this client older or newer? ({error})"
            raise ServerError(200, "other_version", message) from error


def _quoted(camera_id: str) -> str:
    return path_segment(camera_id, "a camera")


def _camera(camera_id: str) -> str:
    return f"/api/cameras/{_quoted(camera_id)}"


def _event(event_id: str) -> str:
    return f"/api/events/{path_segment(event_id, 'an event')}"


def _export(export_id: str) -> str:
    return f"/api/exports/{path_segment(export_id, 'an export')}"


def _time(time: Time | None) -> str | None:
    return None if time is None else time_text(time)
