"""Gateway: the composition root. It builds all parts of a gateway process from Settings, and starts and stops them.

Rules:

1. Consumers of packets start before the first camera sends one.
2. The shutdown closes what accepts viewers first, then the cameras, then what still writes the cameras' packets.
3. Each step of the shutdown is bounded in time. A step that fails does not stop the following steps.
"""

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib.metadata import version
from typing import Any

from aiohttp import web

from gateway.camera_settings import RecordMode, RenditionName
from gateway.capture import engine_factory
from gateway.capture.engine import CheckAddress
from gateway.clock import SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.config.field import Applies, names_changed, with_values
from gateway.detect import detector_factory
from gateway.errors import UnavailableError, redact
from gateway.forward.service import ForwardService
from gateway.rtsp_server.server import RtspServer
from gateway.service import CaptureService
from gateway.status import LiveEdge
from gateway.talk.service import TalkService
from gateway.webrtc.ice.servers import IceServers
from gateway.webrtc.rendition_switch import KIND as WEBRTC
from gateway.webrtc.server import WebRtcServer
from gateway.whip.server import WhipServer
from hls.archive.service import Archive
from hls.events.detection import Detections
from hls.events.recording import EventRecording
from hls.events.service import EventService
from hls.evidence.exports import Exports
from hls.evidence.service import Evidence
from hls.live.discontinuities import DiscontinuityNumbers
from hls.live.service import LiveService
from hls.playback.activity import ActivityReader
from hls.playback.days import RecordedDays
from hls.playback.reader import ArchiveReader
from signaling.asyncapi import asyncapi_document
from signaling.browser import BrowserSignaling
from signaling.factory import create_messaging
from signaling.messaging import FailedMessaging
from signaling.ptz import Ptz
from signaling.socket_server import PROCESS_END
from web.address_policy import refuse_metadata
from web.camera_changes import CameraChanges, CameraParts
from web.camera_store import CameraStore, read_tables, write_tables
from web.cluster.all_activity import AllActivity
from web.cluster.all_events import AllEvents
from web.cluster.away_recordings import READING
from web.cluster.documents import ClusterDocuments, DocumentKind
from web.cluster.messaging import in_cluster, request_store
from web.cluster.recording_lists import AllRecordings
from web.cluster.relay_sender import HANDED_OVER_S
from web.cluster.service import Cluster
from web.cluster.storage import with_own_storage
from web.cluster_cameras import ClusterCameras
from web.cluster_node import ClusterNode, NodeLinks, OwnParts
from web.descriptors import rtsp_connections_limit
from web.discontinuity_file import DiscontinuityFile
from web.kept_windows import KeptWindowFiles
from web.private_files import write_private
from web.recordings import ArchiveRecordings
from web.request_file import request_file
from web.settings import Settings
from web.wall_store import WallStore
from web.whip_http import whip_request
from web.workers.worker import Worker

log = logging.getLogger(__name__)

CLOSE_STEP_S = 4.0
"""The longest time for a step of the shutdown, so that the whole shutdown takes less than 5 s."""


class Gateway:
    """See the module. Raises :class:`~gateway.errors.SettingsError` if a camera's settings cannot be used."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK, worker: Worker | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.worker = worker
        """``None``: this process is no worker."""
        self.cluster = _cluster(settings, worker)
        """``None`` where this gateway is alone."""
        self.camera_store = CameraStore(settings, self.cluster)
        links = (
            NodeLinks(self.cluster, settings, clock, are_workers=worker is not None)
            if self.cluster is not None
            else None
        )
        self.service = CaptureService(
            self.camera_store.cameras(),
            clock=clock,
            address_check=self._address_check,
            referred_check=self._referred_check,
            transcode_max=settings.transcode_max,
            relay_of=links.relays.of if links is not None else None,
        )
        numbers = DiscontinuityFile(settings.data_dir)
        self.live = LiveService(
            self.service,
            clock=clock,
            numbers_90k=lambda: self.archive.numbers_90k,
            discontinuities=DiscontinuityNumbers(numbers.load, numbers.save),
            kept=KeptWindowFiles(settings.data_dir, self._is_never_recorded),
            epoch_of=self.cluster.window_epoch if self.cluster is not None else lambda _: 0,
        )
        self.archive = Archive(
            with_own_storage(settings),
            self.service,
            clock,
            lambda rendition: self.live.stream(rendition.camera_id, rendition.name),
        )
        self.evidence = Evidence(self.archive, write_private, clock)
        self.events = EventService(self.archive.index, settings, clock, self.archive.age_now_90k)
        self.exports = Exports(settings, self.archive, self.events, self.evidence, clock)
        self.archive.index_sync.on_repaired.append(self.events.index_repaired)
        self.event_recording = EventRecording(self.events, self.archive, self.service, clock)
        self.detections = Detections(self.events, self.service, clock)
        self.own_archive_reader = ArchiveReader(self.archive, self.service, clock)
        self.own_activity = ActivityReader(self.archive)
        self.recorded_days = RecordedDays(self.archive)
        own_name = self.cluster.coordinator.node.name if self.cluster is not None else None
        self.own_recordings = ArchiveRecordings(self.own_archive_reader, self.service, own_name)
        self.node: ClusterNode | None = None
        """``None`` where this gateway is alone."""
        if links is not None:
            own = OwnParts(
                archive=self.archive,
                evidence=self.evidence,
                live=self.live,
                events=self.events,
                exports=self.exports,
                reader=self.own_archive_reader,
                activity=self.own_activity,
                recordings=self.own_recordings,
            )
            self.node = ClusterNode(links, own, settings, clock, worker, self._viewers_elsewhere)
        self.activity: ActivityReader | AllActivity = self.node.activity if self.node else self.own_activity
        """Of all nodes, in a cluster."""
        self.recordings: ArchiveRecordings | AllRecordings = self.node.recordings if self.node else self.own_recordings
        """The same."""
        self.all_events: EventService | AllEvents = self.node.events if self.node else self.events
        """The same."""
        self.webrtc = WebRtcServer(
            udp_port=settings.webrtc_udp_port,
            hosts=settings.webrtc_hosts,
            ice_servers=settings.ice_servers,
            listen=_media_addresses(settings),
            clock=clock,
        )
        self.whip = WhipServer(self.webrtc, clock)
        self.talk = TalkService(self.webrtc, clock)
        self.forward = ForwardService(clock, self._referred_check, whip_request)
        self.rtsp = RtspServer(self.service, clock, lambda: rtsp_connections_limit(len(self.service.cameras)))
        if links is not None:
            self.rtsp.elsewhere = links.relays.elsewhere
        self.ptz = Ptz()
        """Has its control as soon as :mod:`web.onvif` is set up."""
        messaging = create_messaging(
            settings,
            self.service,
            self.webrtc,
            live_edge=self.live_edge,
            clock=clock,
            requests=request_file(settings.data_dir) if self.cluster is None else request_store(self.cluster),
            events=self.all_events,
            recordings=self.recordings,
            ptz=self.ptz,
        )
        self.messaging, self.other_nodes = in_cluster(messaging, self.cluster, self.service)
        self.browser = BrowserSignaling(
            settings,
            self.service,
            self.webrtc,
            live_edge=self.live_edge,
            events=self.all_events,
            recordings=self.recordings,
            ptz=self.ptz,
        )
        if own_name is not None:
            name = str(worker.number) if worker is not None else own_name
            self.webrtc.id_prefix = f"{name}{PROCESS_END}"
            self.browser.name_process(name)
        if worker is not None and self.other_nodes is not None:
            self.browser.control.other_nodes = self.other_nodes
            self.other_nodes.is_speaker = True
        self.mjpeg_frames_skipped: Counter[str] = Counter()
        """Frames that MJPEG clients did not get because they were slower, by camera."""
        self.reload_error: str | None = None
        """Why the newest settings are not applied."""
        self.restart_needed: list[str] = []
        """Changed settings that apply after a restart."""
        self.on_reload: list[Callable[[Settings], None]] = []
        """Called with the settings that apply now, after each reload. One that needs a restart has its old value. A
        ``SettingsError`` from the first prevents the reload."""
        self.problem_sources: list[Callable[[], Iterable[Any]]] = []
        """Findings for :mod:`web.observability.health` of parts that the gateway does not own."""
        self._parts = CameraParts(
            service=self.service,
            live=self.live,
            archive=self.archive,
            events=self.events,
            event_recording=self.event_recording,
            detections=self.detections,
            webrtc=self.webrtc,
            whip=self.whip,
            talk=self.talk,
            rtsp=self.rtsp,
            forward=self.forward,
        )
        self.changes = CameraChanges(self.camera_store, self._parts)
        shared = self.cluster.shared if self.cluster is not None else None
        walls = ClusterDocuments(shared, DocumentKind.WALL) if shared is not None else None
        self.walls = WallStore(settings.data_dir, walls)
        self.problem_sources.append(self.walls.problems)

    @property
    def archive_reader(self) -> ArchiveReader:
        """What answers requests for recordings: of this node, or of one that is away (:func:`~.reading`)."""
        node = READING.get()
        return self.own_archive_reader if node is None else node.reader

    async def start(self) -> None:
        """Recover the archive, open the ports, start the capture. Raises a ``LiveedgeError`` with the reason."""
        await self.live.start()
        await self.archive.start()
        await self.evidence.start()
        await self.events.start()
        await self.exports.start()
        await self.webrtc.start()
        for camera in self.service.cameras.values():
            self.live.add_camera(camera)
        await self.event_recording.start()
        await self.detections.start()
        self.service.start()
        for camera in self.service.cameras.values():
            await self.forward.set_camera(camera)
        if self.cluster is not None:
            parts = self._parts
            await ClusterCameras(self.cluster, self.service, self.camera_store, self.changes, parts).start()
            self.cluster.start()
        if self.node is not None:
            self.node.start()
        if self.other_nodes is not None:
            self.other_nodes.start()
        try:
            await self.messaging.start()
        except Exception as error:
            # The adapter may be the user's own. Cameras and viewers do not depend on it.
            log.exception(
                "MESSAGING: the adapter %s could not start; the gateway continues without", self.settings.messaging
            )
            self.messaging = FailedMessaging(self.settings, self.messaging.control, redact(error))

    async def close(self) -> None:
        """Close connections, stop cameras, finish files."""
        await self.changes.finish(CLOSE_STEP_S)
        await self._close_all(
            *(self.browser.close(), self.messaging.close(), self.whip.close(), self.talk.close(), self.rtsp.close())
        )
        if self.other_nodes is not None:
            await self._close_all(self.other_nodes.close())
        if self.node is not None:
            await self._close_all(self.node.events.close())
        if self.cluster is not None:
            # The others take what this node captures, whose last seconds are written meanwhile.
            await self._close_all(self.cluster.leave())
        await self._close_all(self.forward.close())
        await self._close_all(self.webrtc.close())
        await self._close_all(self.detections.close())
        self.event_recording.close()
        await self._close_all(self.service.close(), self.events.close())
        await self._close_all(self.exports.close())
        await self._close_all(self.evidence.close())
        # The recordings get the last parts from the live streams.
        await self._close_all(self.archive.close(), self.live.close())
        if self.node is not None and self.cluster is not None:
            await self._close_all(self.node.close())
            self.cluster.close()
        self.own_archive_reader.close()

    def _is_never_recorded(self, camera_id: str) -> bool:
        camera = self.service.cameras.get(camera_id)
        return camera is None or camera.settings.record is RecordMode.NEVER

    def live_edge(self, camera_id: str) -> LiveEdge | None:
        """Current live position, for every protocol that a client can resume on; ``None`` before the first frame."""
        newest = self.service.camera(camera_id).hub.newest
        if newest is None:
            return None
        media_sequence, part, _ = self.live.stream(camera_id).live_edge or (None, None, None)
        segment, offset_s = self.archive.live_position(camera_id) or (None, None)
        return LiveEdge(
            time=to_rfc3339(newest.captured_at_90k),
            media_sequence=media_sequence,
            part=part,
            segment=segment,
            offset_s=None if offset_s is None else round(offset_s, 3),
        )

    @cached_property
    def asyncapi(self) -> Mapping[str, Any]:
        """The AsyncAPI document of the Socket.IO events."""
        return asyncapi_document(version("liveedge"))

    async def reload(self, settings: Settings) -> str:
        """Apply other settings. A camera that is the same in both is not interrupted.

        Settings that apply after a restart keep the values that the process started with, for every part of it.
        Returns a summary for the log. Raises ``SettingsError``; nothing is changed then.
        """
        async with self.changes.alone():
            restart_needed = names_changed(self.settings, settings, Applies.RESTART)
            settings = with_values(self.settings, settings, Applies.RESTART)
            wanted = self.camera_store.cameras(settings)
            for camera in wanted.values():  # raises before anything has changed
                engine_factory(camera.capture_engine)
                if camera.detector is not None:
                    detector_factory(camera.detector)
            applied = names_changed(self.camera_store.settings, settings, Applies.LIVE, Applies.RUN)
            ice_servers = IceServers(settings.ice_servers)  # may raise, too
            for listener in self.on_reload:
                listener(settings)  # the first may raise
            self.webrtc.ice_servers = ice_servers
            self.messaging.reload(settings)
            self.events.reload(settings)
            self.restart_needed = restart_needed
            self.camera_store.reconfigure(settings)
            parts = await self.changes.apply(wanted) | {"applied": applied}
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names) or "nothing changed"

    # --- cluster

    async def drain(self) -> None:
        """Hand all cameras over to other nodes of the cluster, where there is one."""
        if self.cluster is not None:
            await self.cluster.drain()
        if self.node is not None:
            await self.node.links.relays_sent.all_left(HANDED_OVER_S)

    def require_owned(self, camera_id: str) -> None:
        """Raise ``UnavailableError`` for a camera that another node captures: who publishes it or talks goes there."""
        if self.cluster is not None and (why := self.cluster.elsewhere(camera_id)) is not None:
            raise UnavailableError(why, retry_after_s=2)

    def _viewers_elsewhere(self, camera_id: str) -> int:
        """How many viewers a camera has by WebRTC where another process captures it."""
        status = self.other_nodes.status(camera_id) if self.other_nodes is not None else None
        return status.viewers.get(WEBRTC, 0) if status is not None else 0

    def _address_check(self, camera_id: str, rendition: RenditionName = RenditionName.MAIN) -> CheckAddress | None:
        allows_all = self.camera_store.settings.allow_metadata_addresses or not self.camera_store.is_url_by_api(
            camera_id, rendition
        )
        return None if allows_all else refuse_metadata

    def _referred_check(self) -> CheckAddress | None:
        return None if self.camera_store.settings.allow_metadata_addresses else refuse_metadata

    async def _close_all(self, *steps: Any) -> None:
        done = await asyncio.gather(*(asyncio.wait_for(step, CLOSE_STEP_S) for step in steps), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                log.error("shutdown: %s: %s", type(result).__name__, result)


def _cluster(settings: Settings, worker: Worker | None) -> Cluster | None:
    if worker is not None:
        # Here, because a gateway of one process needs no dialect of SQLite.
        from web.workers.cluster import WorkersCluster

        return WorkersCluster(settings, worker, read_tables, write_tables)
    return Cluster(settings) if settings.cluster_url is not None else None


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
"""The application key by which request handlers reach the gateway."""


def _media_addresses(settings: Settings) -> tuple[str, ...]:
    """Addresses to send media from: loopback if the gateway serves this machine only, else every address."""
    try:
        local = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    return ("127.0.0.1", "::1") if local and not settings.webrtc_hosts else ("0.0.0.0", "::")  # noqa: S104
