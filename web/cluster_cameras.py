"""ClusterCameras: what a gateway does with its cameras as its cluster changes.

Rules:

1. A camera that another node captures from now on, or this one, keeps its viewers.
2. A change of the cameras by one node is a change of the cameras of all.
"""

from gateway.service import CaptureService
from web.camera_changes import CameraChanges, CameraParts
from web.camera_store import CameraStore
from web.cluster.service import Cluster


class ClusterCameras:
    """See the module. Lives on the event loop."""

    def __init__(
        self, cluster: Cluster, service: CaptureService, store: CameraStore, changes: CameraChanges, parts: CameraParts
    ) -> None:
        self._cluster = cluster
        self._service = service
        self._store = store
        self._changes = changes
        self._parts = parts

    async def start(self) -> None:
        """Follow the cluster from now on."""
        self._cluster.coordination.has_pictures = self._has_pictures
        self._cluster.owner_changed = self._follow_owner
        self._cluster.cameras_changed = self._follow_cameras
        await self._share_cameras()
        self._changes.on_changed.append(self._share_cameras)

    def _has_pictures(self, camera_id: str) -> bool:
        camera = self._service.cameras.get(camera_id)
        return camera is None or not camera.is_wanted or camera.main.has_own_pictures

    async def _follow_owner(self, camera_id: str) -> None:
        """Rule 1."""
        camera = self._service.cameras.get(camera_id)
        if camera is not None:
            await self._parts.owner_changed(camera)

    async def _follow_cameras(self) -> None:
        """Rule 2: some node changed the cameras."""
        async with self._changes.alone():
            await self._store.read_again()
            await self._changes.apply(self._store.cameras())

    async def _share_cameras(self) -> None:
        """Tell the other workers which cameras there are. In a cluster of machines, its database has them."""
        if not self._cluster.has_own_cameras:
            await self._cluster.share_cameras(self._service.cameras.keys())
