"""ClusterMarks: the marks of cameras (:mod:`web.auth.camera_marks`) in a cluster.

The transaction that removes a camera gives its id another mark. So all nodes have the same ones, and a live URL opens
the same camera at each of them, or none.
"""

import logging

from sqlalchemy import Connection

from gateway.errors import LiveedgeError
from hls.cluster import shared
from web.auth.sign_in_table import Moment
from web.cluster.shared import ClusterShared

log = logging.getLogger(__name__)


class ClusterMarks:
    """See the module, and :class:`~web.auth.camera_marks.Marks`. Reads the marks when it is made: blocking."""

    def __init__(self, shared_: ClusterShared) -> None:
        self._shared = shared_
        self._marks = shared_.now(_read)

    def of(self, camera_id: str) -> str:
        return self._marks.get(camera_id, "")

    async def update(self, *, is_kept: bool) -> None:
        del is_kept
        try:
            await self.reload()
        except LiveedgeError as error:
            log.warning("the marks of removed cameras are read later: %s", error)

    async def reload(self) -> None:
        self._marks = await self._shared.call(_read)


def _read(connection: Connection, _: Moment) -> dict[str, str]:
    return shared.marks(connection)
