"""Evidence: signs each finished segment, and chains it to the one of its stream before.

Theory of operation. The hash of a finished file is made by :class:`~hls.archive.metadata.PostProcessor`, in its thread.
When it is in the index, a statement with it is signed (:mod:`hls.evidence.statement`) and kept in a table of its own,
which outlives the segment. Before retention deletes a segment, its deletion is signed. So a file that is missing
without that was removed by hand.

Rules:

1. Signing takes 1 ms of CPU and runs in the thread of the index, never on the event loop.
2. What was recorded before the key was made is signed too, in its order. ``signed`` says when.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import LiveedgeError
from hls.archive.segment import Segment
from hls.archive.service import Archive
from hls.evidence import chain_table
from hls.evidence.reader import EvidenceReader
from hls.evidence.signing import load_key

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""After an error of the index."""

UNEXPECTED_S = 60.0
"""After an error that nobody expected, which is logged each time."""


class Evidence(EvidenceReader):
    """See the module. Lives on the event loop. ``write`` replaces a file by bytes, with mode 0600."""

    def __init__(self, archive: Archive, write: Callable[[Path, bytes], None], clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(archive.index)
        self._data_dir = archive.data_dir
        self._write = write
        self._clock = clock
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.signed = 0
        """Segments signed since the start."""
        self.error: str | None = None
        """Why recordings are not signed at present."""
        self.fault: str | None = None
        """The same, where it is no error of the index, which tells its errors itself."""
        archive.post_processor.on_hashed.append(self.wake)
        archive.retention_job.on_deleting.append(self._sign_deletions)
        archive.index_sync.on_repaired.append(self._index_repaired)

    async def start(self) -> None:
        """Load or make the key, and begin to sign. Raises :class:`~gateway.errors.LiveedgeError`."""
        loop = asyncio.get_running_loop()
        self._key = await loop.run_in_executor(None, load_key, self._data_dir, self._write)
        self._wanted.set()
        self._task = asyncio.create_task(self._run(), name="evidence")

    async def close(self) -> None:
        """Stop. What is not signed is signed after the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def wake(self) -> None:
        """A hash is in the index."""
        self._wanted.set()

    async def _run(self) -> None:
        is_key_kept = False
        while True:
            self._wanted.clear()
            try:
                if not is_key_kept:
                    await self._index.call(chain_table.add_key, self.key.public, self._clock.wall_90k())
                    is_key_kept = True
                while done := await self._index.call(chain_table.sign_batch, self.key, self._clock.wall_90k()):
                    self.signed += done
                self.error = self.fault = None
            except LiveedgeError as error:
                if self.error is None:
                    log.warning("evidence: %s; recordings are signed later", error)
                self.error = str(error)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception as error:
                # The exception itself is for the log alone: it may have secrets.
                self.error = self.fault = f"an internal error, {type(error).__name__}; the log says more"
                log.exception("evidence: recordings are not signed, and are tried again")
                await asyncio.sleep(UNEXPECTED_S)
                continue
            await self._wanted.wait()

    async def _sign_deletions(self, deleted: Sequence[tuple[Segment, str]]) -> None:
        if self._key is not None:
            await self._index.call(chain_table.sign_deletions, deleted, self.key, self._clock.wall_90k())

    async def _index_repaired(self) -> None:
        if self._key is not None:
            await self._index.call(chain_table.add_key, self.key.public, self._clock.wall_90k())
            self.wake()
