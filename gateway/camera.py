"""Camera: one configured source, the clients that command its capture, and its streams.

Theory of operation. There are two ways to have a camera captured. A *client* starts it by command
(``capture_start_request``) and stops it by command. A *viewer* holds one of its renditions while it watches
(:class:`~gateway.rendition.Rendition`).

Rules:

1. A command takes effect at once.
2. Commands, the settings ``start`` and ``record``, and metadata concern the main stream. The sub stream is captured
   while a viewer holds it, and where ``record_sub`` says so, all the time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gateway.awaited import Awaited
from gateway.camera_links import CameraLinks
from gateway.camera_settings import CameraSettings, RenditionName
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import CheckAddress, EngineFactory
from gateway.capture_clients import CaptureClients
from gateway.clock import CLOCK_RATE, Clock, to_rfc3339
from gateway.errors import NotFoundError
from gateway.hold import Hold
from gateway.hub import PacketHub
from gateway.jpeg.feed import JpegFeed
from gateway.media import Metadata, Packet
from gateway.relay import RelayOf
from gateway.rendition import Rendition
from gateway.session import CaptureSession
from gateway.status import CaptureStatus, LiveEdge
from gateway.transcode.limit import TranscodeLimit
from gateway.transcode.transcode import Transcode

log = logging.getLogger(__name__)

Observer = Callable[["Camera"], None]

AddressCheck = Callable[[str, RenditionName], CheckAddress | None]
"""Returns, for a camera's id and a rendition, the check of the addresses that its next run connects to; ``None`` for no
check."""

ReferredCheck = Callable[[], CheckAddress | None]
"""Returns the check of the addresses that cameras refer to; see :class:`~gateway.capture.engine.CaptureSource`."""


class Camera:
    """See the module. Lives on the event loop; made and closed by :class:`~gateway.service.CaptureService`."""

    def __init__(
        self,
        camera_id: str,
        settings: CameraSettings,
        engine_factory: EngineFactory,
        clock: Clock,
        on_change: Observer,
        address_check: AddressCheck | None = None,
        referred_check: ReferredCheck | None = None,
        transcode_limit: TranscodeLimit | None = None,
        relay_of: RelayOf | None = None,
    ) -> None:
        self.id = camera_id
        self.settings = settings
        self._clock = clock
        self._on_change = on_change
        self._clients = CaptureClients()
        self._metadata_sinks: list[Callable[[Metadata], None]] = []
        self.keyframe_wanted: Callable[[float | None], None] = lambda waited_s: None
        """Called while the main stream waits for a keyframe; see :class:`~gateway.capture.engine.CaptureSource`."""
        self._address_check = address_check
        self._referred_check = referred_check
        self._relay_of = relay_of
        self._listeners: list[Callable[[], None]] = []
        self.is_closed = False
        self._closing: set[asyncio.Task[None]] = set()
        """Sub streams that were removed."""
        self.main = self._make(RenditionName.MAIN, settings, engine_factory)
        self.transcode = Transcode(self.main, transcode_limit or TranscodeLimit(), clock, self._changed)
        """H.264 of the main stream, for viewers that decode nothing that the camera sends."""
        self.sub: Rendition | None = None
        """``None`` where no sub stream is configured."""
        if settings.sub_url is not None:
            self.sub = self._make(RenditionName.SUB, settings, engine_factory)
        self.awaited = Awaited(self)

    @property
    def renditions(self) -> Mapping[RenditionName, Rendition]:
        """The streams of the camera, the main one first."""
        return {each.name: each for each in (self.main, self.sub) if each is not None}

    def rendition(self, name: RenditionName) -> Rendition:
        """One of the streams. Raises ``NotFoundError`` for a sub stream that is not configured."""
        found = self.main if name is RenditionName.MAIN else self.sub
        if found is None:
            raise NotFoundError(
                f"camera {self.id} has no sub stream; set sub_url in its table, or PATCH it by API"
            ).because("no_sub_stream", camera_id=self.id)
        return found

    # --- the main stream

    @property
    def hub(self) -> PacketHub:
        """Packets of the main stream."""
        return self.main.hub

    @property
    def jpeg(self) -> JpegFeed:
        """Frames of the main stream."""
        return self.main.jpeg

    @property
    def session(self) -> CaptureSession:
        """State of the main stream."""
        return self.main.session

    @property
    def counters(self) -> CaptureCounters:
        """What the engines of all runs of the main stream counted."""
        return self.main.runs.counters

    @property
    def handover_dropped(self) -> int:
        """Packets of the main stream dropped because the event loop was behind, in all runs."""
        return self.main.runs.handover_dropped

    @property
    def is_own(self) -> bool:
        """Whether this process captures it, and not another node of a cluster."""
        return self.main.is_own

    @property
    def is_wanted(self) -> bool:
        """Whether a client, a viewer or a setting wants the main stream captured."""
        return self.main.is_wanted

    def hold(self, kind: str) -> Hold[Rendition]:
        """Keep the main stream captured for a viewer on the transport ``kind``, until the hold is released."""
        return self.main.hold(kind)

    async def wait_for_keyframe(self, timeout_s: float) -> None:
        """As :meth:`Rendition.wait_for_keyframe`, for the main stream."""
        await self.main.wait_for_keyframe(timeout_s)

    @property
    def newest(self) -> Packet | None:
        """The live edge: the newest video packet of any of its streams, also while the camera is away."""
        packets = [each.hub.newest for each in self.renditions.values() if each.hub.newest is not None]
        return max(packets, key=lambda packet: packet.captured_at_90k, default=None)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` on each change of the camera or its streams. Returns a function that ends this.

        It is called in the middle of the change, and must not make another one.
        """
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    # --- clients and viewers

    def clients_since(self) -> dict[str, str]:
        """Since when each client has the capture, RFC 3339 UTC."""
        now_90k, now_s = self._clock.wall_90k(), self._clock.monotonic()
        return {
            client_id: to_rfc3339(now_90k - round((now_s - self._clients.started_s(client_id)) * CLOCK_RATE))
            for client_id in self._clients
        }

    @property
    def clients(self) -> CaptureClients:
        """Clients that started the capture, with the metadata that each of them gave."""
        return self._clients

    @property
    def viewers(self) -> Mapping[str, int]:
        """How many viewers there are, by transport."""
        counts = Counter(dict(self.main.viewers))
        if self.sub is not None:
            counts.update(self.sub.viewers)
        counts.update(self.transcode.viewers)
        return dict(sorted(counts.items()))

    def attach_metadata(self, sink: Callable[[Metadata], None]) -> None:
        """Call ``sink`` with each metadata document, from the next run on.

        It must not block, and bounds what it keeps.
        """
        self._metadata_sinks.append(sink)

    def add_client(
        self,
        client_id: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        owner: str | None = None,
        expires: bool = True,
    ) -> None:
        """A client's command to capture. A second one of the same client replaces the metadata.

        ``owner`` and ``expires`` as in :mod:`gateway.capture_clients`. Raises ``UnavailableError`` at a limit.
        """
        self._clients.add(client_id, metadata or {}, self._clock.monotonic(), owner=owner, expires=expires)
        self.main.try_again()
        self.main.update()
        self._changed()

    async def remove_client(self, client_id: str) -> None:
        """A client's command to stop. Unless something else wants the capture, it has ended on return."""
        if not self._clients.remove(client_id):
            return
        if not self.main.is_wanted:
            await self.main.stop()
        self._changed()

    def lose_client(self, client_id: str) -> None:
        """A client disconnected without a command. The capture goes on for a while, as after a viewer."""
        if self._clients.remove(client_id):
            self.main.update()
            self._changed()

    # --- status

    def status(self) -> CaptureStatus:
        """The camera now."""
        newest = self.newest
        return CaptureStatus(
            **{**dict(self.main.status()), "viewers": dict(self.viewers)},
            camera_id=self.id,
            name=self.settings.name,
            clients=len(self._clients),
            sub=self.sub.status() if self.sub is not None else None,
            transcode=self.transcode.status(),
            live_edge=LiveEdge(time=to_rfc3339(newest.captured_at_90k)) if newest else None,
        )

    # --- life cycle

    def begin(self) -> None:
        """Apply the settings: an always-on camera is captured from now on."""
        for rendition in self.renditions.values():
            rendition.begin()

    async def owner_changed(self) -> None:
        """Go on with packets from where :data:`~gateway.relay.RelayOf` says now. Viewers stay."""
        for rendition in self.renditions.values():
            await rendition.owner_changed()
        self._changed()

    def reconfigure(self, settings: CameraSettings, engine_factory: EngineFactory) -> None:
        """Continue with other settings. Viewers and clients stay. A new run begins only where a setting requires it."""
        self.settings = settings
        main, sub = (settings.rendition(name) for name in RenditionName)
        assert main is not None
        self.main.reconfigure(main, engine_factory)
        if sub is not None and self.sub is not None:
            self.sub.reconfigure(sub, engine_factory)
        elif sub is not None:
            self.sub = self._make(RenditionName.SUB, settings, engine_factory)
            self.sub.begin()
        elif self.sub is not None:
            closing = asyncio.create_task(self.sub.aclose(), name=f"close-sub-{self.id}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self.sub = None
            self._changed()

    async def aclose(self) -> None:
        """Stop and release everything. The camera cannot be started again."""
        self._clients.clear()
        self.is_closed = True
        self.awaited.end()
        self._notify()
        await self.transcode.aclose()
        await asyncio.gather(*(each.aclose() for each in self.renditions.values()), *self._closing)

    def _make(self, name: RenditionName, settings: CameraSettings, engine_factory: EngineFactory) -> Rendition:
        of_stream = settings.rendition(name)
        assert of_stream is not None
        is_main = name is RenditionName.MAIN
        links = CameraLinks(
            is_commanded=lambda: is_main and bool(self._clients),
            relay=lambda: self._relay_of(self.id, name) if self._relay_of is not None else None,
            on_change=self._changed,
            check_address=lambda: self._address_check(self.id, name) if self._address_check is not None else None,
            check_referred=lambda: self._referred_check() if self._referred_check is not None else None,
            on_keyframe_wanted=lambda waited_s: self.keyframe_wanted(waited_s) if is_main else None,
            metadata_sink=lambda: self._on_metadata if is_main and self._metadata_sinks else None,
        )
        return Rendition(self.id, name, of_stream, engine_factory, self._clock, links)

    def _on_metadata(self, metadata: Metadata) -> None:
        for sink in self._metadata_sinks:
            try:
                sink(metadata)
            except Exception:
                log.exception("camera %s: a sink of metadata failed", self.id, extra={"camera": self.id})

    def _changed(self) -> None:
        self._notify()
        self._on_change(self)

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()
