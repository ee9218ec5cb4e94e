"""ClusterArchive: what a node tells the others of its recordings, and does with those of nodes that are away."""

from hls.archive.service import Archive
from web.cluster.absent_nodes import AbsentNodes, Storage
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster
from web.cluster.uploads import SharedUploads


class ClusterArchive:
    """See the module. Lives on the event loop."""

    def __init__(self, cluster: Cluster, archive: Archive) -> None:
        self.index = SharedIndex(cluster, archive.index)
        self.uploads: SharedUploads | None = None
        """``None`` without ``ARCHIVE_URL``."""
        storage = None
        if archive.storage is not None:
            self.uploads = SharedUploads(cluster, archive.index, archive.storage)
            storage = Storage(archive.data_dir, archive.storage, self.uploads)
        self.absent = AbsentNodes(cluster, archive.index, storage)

    def start(self) -> None:
        """Begin, when the archive has started."""
        self.index.start()
        if self.uploads is not None:
            self.uploads.start()
        self.absent.start()

    async def close(self) -> None:
        """Stop, after the archive has stopped: the shared index gets what was recorded last."""
        await self.absent.close()
        if self.uploads is not None:
            await self.uploads.close()
        await self.index.close()
