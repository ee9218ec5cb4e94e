"""FolderArchive: the archive in the folder of another process on this machine that does not run. It is read alone.

Theory of operation. The index there is opened read-only (:mod:`hls.archive.read_only_table`), so what it says is never
late. What that process had on the disk and not in its index when it ended is read from the files
(:mod:`hls.archive.unfinished`), and is part of every answer as what this process has not written into its index yet.

Rules:

1. Nothing is written into that folder: retention, uploads, recovery and signatures are of the process that owns it.
   Pictures that are made of its recordings are kept elsewhere.
2. It is never started, and has no recorders.
"""

from pathlib import Path

from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.service import CaptureService
from hls.archive.read_only_table import ReadOnlyTable
from hls.archive.segment import SegmentWithFragments
from hls.archive.service import Archive
from hls.archive.table import SegmentTable
from hls.archive.unfinished import UnfinishedFiles
from hls.settings import ArchiveSettings


class FolderArchive(Archive):
    """See the module. Lives on the event loop. ``settings`` are those of the other process, ``pictures`` a folder."""

    def __init__(
        self, settings: ArchiveSettings, service: CaptureService, pictures: Path, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        own = {"database_url": None, "archive_metadata": None}
        super().__init__(settings.model_copy(update=own), service, clock)
        self.index.table = table = ReadOnlyTable(settings.data_dir)
        self.files.pictures = pictures
        self._unfinished = UnfinishedFiles(settings.data_dir, table)
        self._left: dict[str, list[SegmentWithFragments]] = {}

    async def refresh(self, camera_id: str) -> None:
        """Look at what is not in the index, before an answer about a camera. Raises ``StorageError``."""

        def look(_: SegmentTable) -> list[SegmentWithFragments]:
            return self._unfinished.of_camera(camera_id)

        self._left[camera_id] = await self.index.call(look)

    def unindexed(self, camera_id: str, rendition: RenditionName | None = None) -> list[SegmentWithFragments]:
        """As of the last :meth:`refresh`."""
        left = self._left.get(camera_id, [])
        return [whole for whole in left if rendition in (None, whole.segment.rendition)]
