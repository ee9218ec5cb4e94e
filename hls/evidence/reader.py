"""EvidenceReader: what is signed of the recordings of an index (:mod:`hls.evidence.service` signs them)."""

import asyncio
from collections.abc import Sequence

from gateway.errors import NotFoundError
from hls.archive.index import SegmentIndex
from hls.archive.segment import RecordedStream
from hls.evidence import chain_table
from hls.evidence.chain import Finding, Kind, verify_chain
from hls.evidence.signing import PublicKey, SigningKey
from hls.evidence.statement import ReadRecord, Record

SPAN_MAX = 5000
"""Records in one answer: a month of files of ten minutes."""


class EvidenceReader:
    """See the module. Lives on the event loop. ``key`` signs at present."""

    def __init__(self, index: SegmentIndex, key: SigningKey | None = None) -> None:
        self._index = index
        self._key = key

    @property
    def key(self) -> SigningKey:
        """The key that signs at present; of a process, once it has been loaded."""
        assert self._key is not None, "evidence was not started"
        return self._key

    async def keys(self) -> dict[str, PublicKey]:
        """All public keys that signed records here, by their id, the present one included."""
        found = await self._index.call(chain_table.keys)
        return found | {self.key.key_id: self.key.public}

    async def record(self, camera_id: str, name: str) -> Record:
        """The record of a segment. Raises :class:`~gateway.errors.NotFoundError`."""
        found = await self._index.call(chain_table.of_segment, camera_id, name)
        if found is None:
            raise NotFoundError(f"camera {camera_id} has no signature of {name}: a segment is signed when it has ended")
        return found

    async def of_sha256(self, sha256: str) -> list[Record]:
        """The records of files with this hash."""
        return await self._index.call(chain_table.of_sha256, sha256)

    async def records(self, stream: RecordedStream, start_90k: int | None, end_90k: int | None) -> list[Record]:
        """The records of a stream that overlap [start, end), and those between them; :data:`SPAN_MAX` at most."""
        return await self._index.call(chain_table.span, stream, start_90k, end_90k, SPAN_MAX)

    async def findings(self, records: Sequence[Record]) -> list[Finding]:
        """What is wrong with the records of a stream, and with what the index has of them. No file is read."""
        keys = await self.keys()
        there = await self._index.call(chain_table.present, records)

        def check(record: ReadRecord) -> Kind | None:
            return None if (record.values["camera"], record.values["segment"]) in there else Kind.MISSING

        read = [ReadRecord.of(record.as_json()) for record in records]
        return await asyncio.to_thread(lambda: list(verify_chain(read, keys, check)))
