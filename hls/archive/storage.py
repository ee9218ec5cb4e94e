"""ArchiveStorage: the recordings in the object storage of ``ARCHIVE_URL``, and what keeps them there."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from gateway.clock import Clock
from hls.archive.index import SegmentIndex
from hls.archive.local_copies import LocalCopies
from hls.archive.segment import SegmentWithFragments
from hls.archive.status import StorageStatus
from hls.archive.upload import part_size
from hls.archive.uploader import Uploader
from hls.settings import ArchiveSettings
from hls.storage.block_cache import BlockCache
from hls.storage.client import ObjectStore


class StoredArchive(Protocol):
    """What the storage needs of the archive."""

    data_dir: Path
    index: SegmentIndex

    def growing(self) -> Sequence[SegmentWithFragments]: ...

    def check_data_dir(self) -> None: ...

    def age_now_90k(self) -> int | None: ...


class ArchiveStorage:
    """See the module. Lives on the event loop. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(self, settings: ArchiveSettings, archive: StoredArchive, executor: Executor, clock: Clock) -> None:
        self.store = store = ObjectStore(settings)
        self.blocks = BlockCache(store.read, settings.archive_cache_bytes, clock)
        self.local_copies = LocalCopies(
            archive.data_dir, archive.index, executor, settings.archive_local_keep, archive.age_now_90k
        )
        self.uploader = Uploader(
            store,
            archive.data_dir,
            archive.index,
            archive.growing,
            archive.check_data_dir,
            part_size=part_size(settings.archive_segment_seconds),
            turns_max=settings.archive_uploads,
            rate_bps=settings.archive_upload_rate,
            clock=clock,
            on_deleted=self.blocks.forget,
        )

    def start(self) -> list[asyncio.Task[None]]:
        """Begin to upload, and to remove what is uploaded from the disk. The tasks run until they are cancelled."""
        return [
            asyncio.create_task(self.uploader.run(), name="archive-upload"),
            asyncio.create_task(self.local_copies.run(), name="archive-local-copies"),
        ]

    async def restore(self) -> None:
        """The index was opened again or made anew: tell it what is in the storage, if it does not know."""
        self.uploader.index_is_new()

    def status(self) -> StorageStatus:
        """The state at this moment."""
        return self.uploader.status().model_copy(
            update={
                "local_copies_removed": self.local_copies.removed,
                "cache_bytes": self.blocks.size,
                "cache_hits": self.blocks.hits,
                "cache_misses": self.blocks.misses,
                "bytes_read": self.blocks.bytes_read,
            }
        )
