"""SubscriptionsFile: the subscriptions of one machine, in ``DATA_DIR/push.json``.

Rules:

1. The file is replaced atomically, with mode 0600, and is on the disk before a change is confirmed: who knows the
   endpoint and the keys of a subscription could send messages to the browser.
2. A file that cannot be read is reported, and left as it is. Until it is repaired or moved away nobody can subscribe.
3. The workers of a machine share it. A change reads it before, under a lock, and is told to the other workers.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from gateway.errors import UnavailableError
from hls.cluster.shared import Check
from web.private_files import locked, write_private

log = logging.getLogger(__name__)

FILE_NAME = "push.json"
VERSION = 1

Edit = Callable[[dict[str, str]], None]


class SubscriptionsFile:
    """As :class:`~web.cluster.documents.ClusterDocuments`. ``announce`` tells the other workers of a change."""

    def __init__(
        self, data_dir: Path, id_of: Callable[[str], str], announce: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.path = data_dir / FILE_NAME
        self.error: str | None = None
        """Why the file cannot be used; rule 2."""
        self._id_of = id_of
        self._announce = announce

    def now(self) -> dict[str, str]:
        """As :meth:`read`; nothing of a file that cannot be read. Blocking."""
        try:
            kept = json.loads(self.path.read_bytes())
            if kept["version"] != VERSION:
                raise ValueError("unknown version")
            bodies = [json.dumps(table, ensure_ascii=False) for table in kept["subscriptions"]]
            found = {self._id_of(body): body for body in bodies}
        except (FileNotFoundError, NotADirectoryError):
            found = {}
        except OSError as error:
            self._refuse(f"cannot be read ({error.strerror}): give it to the user that runs liveedge")
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._refuse("is damaged or was not written by liveedge: restore a copy, or move it away")
            return {}
        self.error = None
        return found

    async def read(self) -> dict[str, str]:
        """All subscriptions as JSON by their ids, in the order in which they were made."""
        return await asyncio.to_thread(self.now)

    async def put(self, document_id: str, body: str, check: Check) -> bool:
        """Keep a subscription; whether it is new. ``check`` raises what refuses a new one; in another thread."""
        is_new = False

        def edit(bodies: dict[str, str]) -> None:
            nonlocal is_new
            is_new = document_id not in bodies
            if is_new:
                check(bodies)
            bodies[document_id] = body

        await self._change(edit)
        return is_new

    async def remove(self, ids: Collection[str]) -> bool:
        """Remove subscriptions; whether any was there."""
        count = 0

        def edit(bodies: dict[str, str]) -> None:
            nonlocal count
            count = sum(bodies.pop(each, None) is not None for each in ids)

        await self._change(edit)
        return count > 0

    async def _change(self, edit: Edit) -> None:
        await asyncio.to_thread(self._edit, edit)
        if self._announce is not None:
            try:
                await self._announce()
            except UnavailableError as error:
                log.warning("notifications: other workers learn late of a change: %s", error)

    def _edit(self, edit: Edit) -> None:
        try:
            with locked(self.path):
                bodies = self.now()
                if self.error is not None:
                    raise UnavailableError(f"subscriptions cannot be saved: {self.error}", retry_after_s=60)
                edit(bodies)
                tables = [json.loads(body) for body in bodies.values()]
                data = json.dumps({"version": VERSION, "subscriptions": tables}, indent=1, ensure_ascii=False)
                write_private(self.path, data.encode())
        except OSError as error:
            raise UnavailableError(
                f"the subscription was not saved, because DATA_DIR cannot be written ({error.strerror})",
                retry_after_s=30,
            ).because("data_dir_unwritable") from None

    def _refuse(self, why: str) -> None:
        if self.error is None:
            self.error = f"{self.path} {why}, and restart the gateway"
            log.error("notifications: %s", self.error)
