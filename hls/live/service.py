"""LiveService: the live streams of all cameras, over restarts of the gateway.

Each rendition of a camera has one :class:`~hls.live.stream.LiveStream`. When the gateway stops, the live windows that
have players are left for its next process, which takes them when it starts.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.service import CaptureService
from hls.live.discontinuities import DiscontinuityNumbers
from hls.live.multivariant import MultivariantPlaylist
from hls.live.playlist import Rendered
from hls.live.stream import RENEW_S, LiveStream
from hls.live.window_state import WindowState, dump, load

log = logging.getLogger(__name__)


class KeptWindows(Protocol):
    """Where live windows are between two processes. Blocking."""

    def leave(self, camera_id: str, name: RenditionName, data: Sequence[bytes | memoryview]) -> None:
        """Keep a window for the next process. Raises ``OSError``."""
        ...

    def take(self) -> Iterable[tuple[tuple[str, RenditionName], bytes]]:
        """What the process before has left, by camera and rendition, on the same boot of the host. Only once."""
        ...


class LiveService:
    """See the module. ``numbers_90k``: a time that never goes back, 0 if unknown. ``epoch_of`` a camera: that of its
    owner, where this node is the owner among several."""

    def __init__(
        self,
        service: CaptureService,
        *,
        clock: Clock = SYSTEM_CLOCK,
        numbers_90k: Callable[[], int] = lambda: 0,
        discontinuities: DiscontinuityNumbers | None = None,
        kept: KeptWindows | None = None,
        epoch_of: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._epoch_of = epoch_of
        self._service = service
        self._clock = clock
        self._numbers_90k = numbers_90k
        self._discontinuities = discontinuities if discontinuities is not None else DiscontinuityNumbers()
        self._kept = kept
        self._states: dict[tuple[str, RenditionName], WindowState] = {}
        """What the process before has left, for the streams that begin."""
        self._streams: dict[str, dict[RenditionName, LiveStream]] = {}
        self._playlists: dict[str, tuple[LiveStream, MultivariantPlaylist]] = {}
        """By camera, each with its main stream."""

    @property
    def streams(self) -> list[LiveStream]:
        """The streams of the cameras that have one."""
        return [stream for streams in self._streams.values() for stream in streams.values()]

    def add_camera(self, camera: Camera) -> LiveStream:
        """Start the live streams of ``camera``, and end that of a rendition that it has no more.

        Returns that of the main stream.
        """
        streams = self._streams.setdefault(camera.id, {})
        for name, stream in tuple(streams.items()):
            if camera.renditions.get(name) is not stream.rendition:
                streams.pop(name).close()
        for name, rendition in camera.renditions.items():
            if name not in streams:
                state = self._states.pop((camera.id, name), None)
                epoch_of = partial(self._epoch_of, camera.id)
                streams[name] = LiveStream(
                    rendition, self._clock, self._numbers_90k, self._discontinuities, state, epoch_of
                )
        main, sub = streams[RenditionName.MAIN], streams.get(RenditionName.SUB)
        main.other = sub
        if sub is not None:
            sub.other = main
        return main

    def stream(self, camera_id: str, name: RenditionName = RenditionName.MAIN) -> LiveStream:
        """A rendition's live stream. Raises :class:`~gateway.errors.NotFoundError`."""
        # These raise the errors for an unknown camera, and for a rendition that it does not have.
        camera = self._service.camera(camera_id)
        rendition = camera.rendition(name)
        stream = self._streams.get(camera_id, {}).get(name)
        if stream is None or stream.rendition is not rendition:
            self.add_camera(camera)
            stream = self._streams[camera_id][name]
        return stream

    async def multivariant_playlist(self, camera_id: str, only: RenditionName | None = None) -> Rendered:
        """A camera's multivariant playlist, of both streams or of one.

        Raises as :class:`~hls.live.multivariant.MultivariantPlaylist`.
        """
        main = self.stream(camera_id)
        found = self._playlists.get(camera_id)
        if found is None or found[0] is not main:
            found = self._playlists[camera_id] = main, MultivariantPlaylist(main, self._clock)
        return await (found[1].get() if only is None else found[1].get_one(self.stream(camera_id, only)))

    def owner_changed(self, camera: Camera) -> None:
        """This node captures a camera now, or another one does."""
        for stream in self._streams.get(camera.id, {}).values():
            stream.owner_changed()

    async def start(self) -> None:
        """Read what earlier processes kept. Before the first camera is added."""
        await self._discontinuities.start(max(self._clock.wall_90k(), self._numbers_90k()))
        if self._kept is not None:
            self._states = await asyncio.to_thread(self._take_states, self._kept)

    async def remove_camera(self, camera_id: str) -> None:
        """Close the streams of a camera that was removed."""
        self._playlists.pop(camera_id, None)
        for stream in self._streams.pop(camera_id, {}).values():
            stream.close()

    async def close(self) -> None:
        """Close all streams. What players need to go on is left for the next process."""
        states = {
            (camera_id, name): state
            for camera_id, streams in self._streams.items()
            for name, stream in streams.items()
            if (state := stream.kept) is not None
        }
        for camera_id in tuple(self._streams):
            await self.remove_camera(camera_id)
        await self._discontinuities.close()
        if self._kept is not None and states:
            await asyncio.to_thread(self._leave_states, self._kept, states)

    def _take_states(self, kept: KeptWindows) -> dict[tuple[str, RenditionName], WindowState]:
        states: dict[tuple[str, RenditionName], WindowState] = {}
        for key, data in kept.take():
            try:
                state = load(data)
            except ValueError:
                log.warning("camera %s: its HLS players cannot go on, because its live window cannot be read", key[0])
                continue
            if 0 <= self._clock.monotonic() - state.left_at_s < RENEW_S:
                states[key] = state
        return states

    def _leave_states(self, kept: KeptWindows, states: Mapping[tuple[str, RenditionName], WindowState]) -> None:
        for key, state in states.items():
            try:
                kept.leave(*key, dump(state))
            except OSError as error:
                log.warning("camera %s: its HLS players cannot go on: %s", key[0], error.strerror or error)
