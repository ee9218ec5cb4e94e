"""Metadata of ONVIF over RTP: whole XML documents, as the camera wrote them (ONVIF Streaming Specification §5.2.1).

Theory of operation. A document takes one or several packets; the marker bit is on its last. It may be compressed with
gzip (``vnd.onvif.metadata.gzip``). What a document says is not read here.

Rules:

1. A document has at most :data:`DOCUMENT_MAX_BYTES`, also after its decompression: it stops there. Larger ones, those
   with a hole and those that cannot be decompressed are dropped and counted.
2. EXI (``vnd.onvif.metadata.exi.onvif``, ``….exi.ext``) is not taken: it needs the camera's schemas.
"""

import zlib

from gateway.rtsp.depacketize import Frame

DOCUMENT_MAX_BYTES = 1024 * 1024
"""A hundred objects with their shapes take 100 KiB."""

ENCODINGS = {"VND.ONVIF.METADATA": False, "VND.ONVIF.METADATA.GZIP": True}
"""Encoding names that are taken, and whether the documents are compressed."""

_GZIP = 16 + zlib.MAX_WBITS


class MetadataDepacketizer:
    """One track; see :class:`~gateway.rtsp.depacketize.Depacketizer`. Each frame is a document."""

    def __init__(self, *, is_compressed: bool) -> None:
        self._is_compressed = is_compressed
        self._document = bytearray()
        self._is_skipping = False
        self.malformed = 0
        """Documents that were dropped."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if lost:
            self._skip()
        if not self._is_skipping:
            self._document += payload
            if len(self._document) > DOCUMENT_MAX_BYTES:
                self._skip()
        if not marker:
            return []
        document, self._document = bytes(self._document), bytearray()
        is_skipping, self._is_skipping = self._is_skipping, False
        if is_skipping:
            self.malformed += 1
            return []
        if not document:
            return []
        if self._is_compressed:
            unpacked = _unpacked(document)
            if unpacked is None:
                self.malformed += 1
                return []
            document = unpacked
        return [Frame(document, timestamp, follows_loss=lost > 0)]

    def _skip(self) -> None:
        self._document = bytearray()
        self._is_skipping = True


def _unpacked(document: bytes) -> bytes | None:
    """A gzip member, decompressed; ``None`` by rule 1."""
    unpacker = zlib.decompressobj(_GZIP)
    try:
        data = unpacker.decompress(document, DOCUMENT_MAX_BYTES)
    except zlib.error:
        return None
    return data if unpacker.eof and data else None
