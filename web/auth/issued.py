"""IssuedAccess: the tokens and signed links that were given while the gateway runs, kept in the database of the index.

The two lists are in memory, and every change is written. When the index had to be replaced by another file, all of it
is written again.

Workers share one database (:mod:`web.auth.access_index`), and so do the nodes of a cluster (:mod:`web.cluster.shared`).
Each has all of both lists in memory, and reads them again when another one has changed them. Where it cannot read them
at its start, it knows none until it can. What it knows goes on working while the database is away.
"""

import asyncio
import contextlib
from collections.abc import Callable

from gateway.clock import Clock
from gateway.errors import LiveedgeError
from web.auth import access_table
from web.auth.access_index import AccessIndex
from web.auth.issued_links import IssuedLinks
from web.auth.issued_tokens import IssuedTokens
from web.auth.shared_access import SharedAccess

FLUSH_S = 10.0
"""How long what may be lost with a crash waits: when tokens were used, and links without a name."""


class IssuedAccess:
    """See the module. Without an index, nothing can be issued."""

    def __init__(self, index: AccessIndex | None, clock: Clock, shared: SharedAccess | None = None) -> None:
        self._index = index
        self._shared = shared
        self.tokens = IssuedTokens(index, clock, self._revoked)
        self.links = IssuedLinks(index, clock, self._revoked)
        self.on_revoked: Callable[[], None] = lambda: None
        """Called when something was revoked. Set by the authenticator."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what was issued. Raises ``StorageError``."""
        if self._shared is None:
            await self.tokens.load()
            await self.links.load()
        else:
            self._shared.on_changed.append(self.reload)
            with contextlib.suppress(LiveedgeError):  # the first worker may be making it; this is tried again
                await self._shared.refresh()
            self._shared.start()
        self._task = asyncio.create_task(self._run(), name="issued-access")

    async def close(self) -> None:
        """Write the rest, while the index is open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            await self._flush()
        if self._shared is not None:
            await self._shared.close()

    @property
    def version(self) -> int:
        """Rises when what another process has changed was taken over."""
        return 0 if self._shared is None else self._shared.version

    async def refresh(self) -> None:
        """Take over what another process has just changed, if that can be read."""
        if self._shared is not None:
            with contextlib.suppress(LiveedgeError):
                await self._shared.refresh()

    async def reload(self) -> None:
        """Take over what others have changed. Raises ``StorageError``."""
        await self.tokens.reload()
        await self.links.reload()

    async def index_repaired(self) -> None:
        """The index may be another file than before."""
        if self._index is not None:
            await self._index.call(access_table.replace_all, self.tokens.tokens, self.links.links)

    def _revoked(self) -> None:
        self.on_revoked()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        for each in (self.tokens, self.links):
            with contextlib.suppress(LiveedgeError):  # the index reports its own failure, and this is tried again
                await each.flush()
