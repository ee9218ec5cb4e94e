"""ClusterNode: what a gateway has beside its own parts where it is a node of a cluster, or one of several workers.

:class:`NodeLinks` is made before the cameras, which may come from another node (:mod:`web.cluster.relays`). The rest is
made after the gateway's own parts: it answers for all nodes what they answer for this one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.cluster.model import KeyName
from hls.archive.service import Archive
from hls.events.service import EventService
from hls.evidence.exports import Exports
from hls.evidence.service import Evidence
from hls.live.service import LiveService
from hls.playback.activity import ActivityReader
from hls.playback.reader import ArchiveReader
from web.cluster.all_activity import AllActivity
from web.cluster.all_events import AllEvents
from web.cluster.archive import ClusterArchive
from web.cluster.archive_routing import ArchiveRouting
from web.cluster.export_parts import NodeExports
from web.cluster.export_routing import ExportRouting
from web.cluster.forwarding import Forwarding
from web.cluster.joined_clips import JoinedClips
from web.cluster.node_answers import NodeAnswers
from web.cluster.node_events import NodeEvents
from web.cluster.node_files import NodeFiles
from web.cluster.nodes import ClusterNodes
from web.cluster.peers import Peers
from web.cluster.recording_lists import AllRecordings
from web.cluster.redirects import Redirects
from web.cluster.relay_sender import RelayCounters
from web.cluster.relays import Relays
from web.cluster.remote_live import RemoteLive
from web.cluster.routing import Routing
from web.cluster.service import Cluster
from web.cluster.settings import ViewersAt
from web.cluster.tokens import NodeTokens
from web.recordings import ArchiveRecordings
from web.settings import Settings
from web.workers.folder_exports import FolderExports
from web.workers.folder_recordings import FolderRecordings
from web.workers.routing import WorkersRouting
from web.workers.worker import Worker


class NodeLinks:
    """How this node and the others reach each other, and the cameras that it gets from them."""

    def __init__(self, cluster: Cluster, settings: Settings, clock: Clock, *, are_workers: bool) -> None:
        self.cluster = cluster
        self.tokens = NodeTokens(cluster.keys[KeyName.NODES], cluster.coordinator.node.name, clock)
        self.peers = Peers(self.tokens, settings.node_tls_ca_file, are_workers=are_workers)
        self.relays = Relays(cluster, self.peers)
        self.relays_sent = RelayCounters()
        cluster.on_view = self.peers.seen


@dataclass(frozen=True, slots=True)
class OwnParts:
    """What the gateway has recorded and keeps itself."""

    archive: Archive
    evidence: Evidence
    live: LiveService
    events: EventService
    exports: Exports
    reader: ArchiveReader
    activity: ActivityReader
    recordings: ArchiveRecordings


class ClusterNode:
    """See the module. Lives on the event loop.

    ``viewers`` tells how many a camera has where another worker captures it.
    """

    def __init__(
        self,
        links: NodeLinks,
        own: OwnParts,
        settings: Settings,
        clock: Clock,
        worker: Worker | None,
        viewers: Callable[[str], int],
    ) -> None:
        cluster = links.cluster
        forwarding = Forwarding(links.peers, cluster.coordinator.node.id, links.tokens.verify)
        self.links = links
        self.others = ClusterNodes(cluster, links.peers, forwarding)
        folders = None
        if worker is not None:
            service = own.archive.service
            folders = FolderRecordings(cluster, worker, settings, service, own.recordings.of_reader, clock)
        self.archive = ClusterArchive(cluster, own.archive, settings, own.recordings.of_reader, folders)
        index, stored = self.archive.index, self.archive.stored
        answers = NodeAnswers(self.others, forwarding, stored)
        self.activity = AllActivity(own.activity, answers)
        self.events = AllEvents(own.events, cluster, self.others, NodeEvents(forwarding))
        self.recordings = AllRecordings(own.recordings, answers, forwarding)
        self._files = NodeFiles(forwarding, clock)
        self.clips = JoinedClips(cluster, self.others, index, own.reader, self._files, stored)
        self.remote_live = RemoteLive(cluster, forwarding, own.live)
        parts = NodeExports(cluster, self.others, forwarding, index)
        own.exports.parts = parts if folders is None else FolderExports(parts, folders, settings, own.evidence, clock)
        exports = ExportRouting(self.others, forwarding, lambda export_id: export_id in own.exports.jobs_by_id)
        archive_routing = ArchiveRouting(cluster, forwarding, index, own.reader.segments, clock, stored)
        self.redirects = Redirects(cluster, forwarding, is_enabled=settings.cluster_viewers is ViewersAt.REDIRECT)
        if worker is None:
            self.routing = Routing(cluster, forwarding, archive_routing, self.events, self.redirects)
            self.routing.exports = exports
        else:
            self.routing = WorkersRouting(cluster, forwarding, archive_routing, self.events, worker, viewers)

    def start(self) -> None:
        """Tell the others what is recorded here, and follow their events, once cameras are captured."""
        self.archive.start()
        self.events.start()

    async def close(self) -> None:
        """Stop, after the archive has stopped: the shared index gets what was recorded last."""
        await self.archive.close()
        self._files.close()
        await self.links.peers.close()
