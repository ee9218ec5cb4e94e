"""IssuedLinks: the signed URLs that are valid, so that people can see what is shared, and end it.

Rules:

1. What opens is decided by the signature. The list is not asked, except for links that were revoked.
2. A link that somebody gave a name is in the database before the answer is sent. Others, such as those of the
   page's own downloads, follow within :data:`web.auth.issued.FLUSH_S`.
3. At most :data:`LINKS_MAX` are listed. Beyond it the oldest is forgotten, one without a name first: it stays valid
   until it expires, and ends no earlier than with the token that signed it. One that was revoked is never forgotten
   before it expires. :attr:`IssuedLinks.forgotten` counts.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace

from gateway.clock import Clock
from gateway.errors import ConflictError, NotFoundError
from web.auth import access_table
from web.auth.access_index import AccessIndex
from web.auth.access_table import IssuedLink

LINKS_MAX = 5000

ID_BYTES = 9


def new_link_id() -> str:
    """An id that is in the signature of a link."""
    return secrets.token_urlsafe(ID_BYTES)


class IssuedLinks:
    """See the module. Runs on the event loop."""

    def __init__(self, index: AccessIndex | None, clock: Clock, on_revoked: Callable[[], None]) -> None:
        self._index = index
        self._clock = clock
        self._on_revoked = on_revoked
        self._links: dict[str, IssuedLink] = {}
        self._unwritten: dict[str, None] = {}
        self._unforgotten: dict[str, None] = {}
        """Ids whose rows are to be written, or removed."""
        self._lock = asyncio.Lock()
        self.forgotten = 0
        """Valid links that were forgotten; rule 3."""

    @property
    def links(self) -> list[IssuedLink]:
        """Those that have not expired, the oldest first."""
        now_90k = self._clock.wall_90k()
        return [link for link in self._links.values() if link.expires_90k > now_90k]

    async def load(self) -> None:
        """Read the links; after the index was opened. Raises ``StorageError``."""
        if self._index is not None:
            self._links = {link.id: link for link in await self._index.call(access_table.load_links)}

    async def reload(self) -> None:
        """Take over what others have changed. What is not written yet stays. Raises ``StorageError``."""
        if self._index is None:
            return
        async with self._lock:
            read = {link.id: link for link in await self._index.call(access_table.load_links)}
            ours = {link_id: self._links[link_id] for link_id in self._unwritten}
            revoked = {link.id for link in self._links.values() if link.revoked_90k is not None}
            others = {key: link for key, link in read.items() if key not in self._unforgotten}
            self._links = others | ours
        if any(link.revoked_90k is not None and link.id not in revoked for link in self._links.values()):
            self._on_revoked()

    async def add(self, link: IssuedLink) -> None:
        """List a new link. Raises ``StorageError`` for one with a name that cannot be kept; rule 2."""
        while len(self._links) >= LINKS_MAX and (oldest := self._oldest()) is not None:
            self._forget(oldest)
            self.forgotten += 1
        self._links[link.id] = link
        self._unwritten[link.id] = None
        if link.name is not None:
            try:
                await self.flush()
            except Exception:
                self._forget(link.id)
                raise

    async def revoke(self, link_id: str) -> None:
        """End a link, and what it opened. Raises ``NotFoundError``, ``ConflictError`` and ``StorageError``."""
        link = self._links.get(link_id)
        if link is None or link.expires_90k <= self._clock.wall_90k():
            raise NotFoundError(f"there is no valid link {link_id[:64]!r}; GET /api/links lists all").because(
                "link_gone"
            )
        if link.revoked_90k is not None:
            raise ConflictError("this link is revoked already").because("link_gone")
        self._links[link_id] = replace(link, revoked_90k=self._clock.wall_90k())
        self._unwritten[link_id] = None
        # It ends now, also where the database fails; who revoked it learns that a restart could undo it.
        self._on_revoked()
        await self.flush()

    def is_revoked(self, link_id: object) -> bool:
        """Whether the link with the id of a signature was revoked."""
        link = self._links.get(link_id) if isinstance(link_id, str) else None
        return link is not None and link.revoked_90k is not None

    async def flush(self) -> None:
        """Write what has changed. Raises ``StorageError``; it is tried again then."""
        async with self._lock:
            now_90k = self._clock.wall_90k()
            for link in [link for link in self._links.values() if link.expires_90k <= now_90k]:
                self._forget(link.id)
            written, removed = list(self._unwritten), list(self._unforgotten)
            if self._index is None or not (written or removed):
                return
            links = [self._links[link_id] for link_id in written]
            await self._index.call(access_table.write_links, links, removed)
            for link in links:
                if self._links.get(link.id) is link:
                    self._unwritten.pop(link.id, None)
            for link_id in removed:
                self._unforgotten.pop(link_id, None)

    def _oldest(self) -> str | None:
        """The one to forget; rule 3."""
        valid = [link for link in self._links.values() if link.revoked_90k is None]
        unnamed = next((link.id for link in valid if link.name is None), None)
        return unnamed or next((link.id for link in valid), None)

    def _forget(self, link_id: str) -> None:
        del self._links[link_id]
        self._unwritten.pop(link_id, None)
        self._unforgotten[link_id] = None
