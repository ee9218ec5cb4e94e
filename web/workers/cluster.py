"""WorkersCluster: the cluster whose nodes are the workers of this machine. They share a file instead of a database.

Rules:

1. The cameras are those of the settings, which all workers read, and of ``cameras.json`` in ``DATA_DIR``, as with one
   process. A worker that changes that file reads it before, under a lock, and then the others read it.
2. The shared file has the ids of all cameras, for the coordinators.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import StorageError
from hls.cluster.workers_store import WorkersStore
from web.cluster.service import Cluster, Edit
from web.cluster.settings import ClusterSettings
from web.private_files import locked
from web.workers.worker import Worker

ReadTables = Callable[[Path], dict[str, dict[str, Any]]]
WriteTables = Callable[[Path, Mapping[str, Mapping[str, Any]]], None]


class WorkersCluster(Cluster):
    """See the module. ``read`` and ``write`` are for the file of the cameras."""

    def __init__(self, settings: ClusterSettings, worker: Worker, read: ReadTables, write: WriteTables) -> None:
        super().__init__(
            settings, worker.node, lambda: WorkersStore(worker.shared_file, worker.wall_s), workers=worker.count
        )
        self.has_own_cameras = False
        lease_store = self._lease_thread.store
        assert isinstance(lease_store, WorkersStore)
        self.coordination.has_news = lambda: lease_store.has_news
        self._file = worker.cameras_file
        self._read = read
        self._write = write

    def open(self) -> dict[str, dict[str, Any]]:
        super().open()
        return self._read(self._file)

    async def cameras(self) -> dict[str, dict[str, Any]]:
        return await asyncio.to_thread(self._read, self._file)

    async def edit_cameras(self, edit: Edit) -> dict[str, dict[str, Any]]:
        def save() -> dict[str, dict[str, Any]]:
            with locked(self._file):
                edited = edit(self._read(self._file))
                try:
                    self._write(self._file, edited)
                except OSError as error:
                    why = f"DATA_DIR cannot be written ({error.strerror})"
                    raise StorageError(f"the change was not made, because {why}") from None
            return edited

        edited = await asyncio.to_thread(save)
        await self.call(self._sqlite.cameras_changed)
        self.coordination.wake()
        return edited

    async def share_cameras(self, camera_ids: Collection[str]) -> None:
        """Tell the other workers which cameras there are (rule 2)."""
        await self.call(self._sqlite.set_cameras, frozenset(camera_ids))
        self.coordination.wake()

    @property
    def _sqlite(self) -> WorkersStore:
        assert isinstance(self.store, WorkersStore)
        return self.store
