"""ClusterArchive: what a node tells the others of its recordings, and does with those of nodes that are away."""

from collections.abc import Callable

from hls.archive.service import Archive
from hls.playback.reader import ArchiveReader
from hls.settings import ArchiveSettings
from signaling.recordings import Recordings
from web.cluster.absent_nodes import AbsentNodes, Storage
from web.cluster.away_recordings import AwayRecordings
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster
from web.cluster.stored_recordings import StoredRecordings
from web.cluster.uploads import SharedUploads


class ClusterArchive:
    """See the module. Lives on the event loop. ``stored``: the recordings of nodes that are away, where they can be
    read otherwise than in the object storage."""

    def __init__(
        self,
        cluster: Cluster,
        archive: Archive,
        settings: ArchiveSettings,
        make_recordings: Callable[[ArchiveReader, str], Recordings],
        stored: AwayRecordings | None = None,
    ) -> None:
        self.index = SharedIndex(cluster, archive.index)
        self.uploads: SharedUploads | None = None
        """``None`` without ``ARCHIVE_URL``."""
        self.stored = stored
        """``None`` where nothing can be read of nodes that are away."""
        storage = None
        if archive.storage is not None:
            self.uploads = SharedUploads(cluster, archive.index, archive.storage)
            if stored is None:
                self.stored = StoredRecordings(cluster, self.index, archive, archive.storage, settings, make_recordings)
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
        if self.stored is not None:
            await self.stored.close()
        if self.uploads is not None:
            await self.uploads.close()
        await self.index.close()
