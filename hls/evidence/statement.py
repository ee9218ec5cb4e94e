"""Statements: what is signed of a segment, and of its deletion by retention. The format is that of docs/evidence.md.

A statement is a line of JSON. Its bytes are signed and kept as they are, so nobody has to write them again the same way
to verify them. ``previous`` is the SHA-256 of the stream's statement before, which chains them.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from gateway.clock import to_rfc3339
from hls.archive.segment import Segment
from hls.evidence.signing import PublicKey, SigningKey

SEGMENT_TYPE = "liveedge-segment"
DELETION_TYPE = "liveedge-deletion"

VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A signed statement of a segment, with the one of its deletion if retention has deleted it.

    ``sha256`` is ``None`` of a file that could not be read when it was to be hashed.
    """

    camera_id: str
    rendition: str
    number: int
    segment: str
    start_90k: int
    end_90k: int
    sha256: str | None
    key_id: str
    statement: str
    signature: str
    deletion: str | None = None
    deletion_signature: str | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 of the statement, which the next one has as ``previous``."""
        return digest_of(self.statement)

    def as_json(self) -> dict[str, Any]:
        """As manifests and the API have it."""
        found: dict[str, Any] = {"statement": self.statement, "signature": self.signature}
        if self.deletion is not None:
            found |= {"deletion": self.deletion, "deletion_signature": self.deletion_signature}
        return found


def digest_of(statement: str) -> str:
    """The SHA-256 of a statement, in hexadecimal."""
    return hashlib.sha256(statement.encode()).hexdigest()


def sign_segment(segment: Segment, number: int, previous: str | None, key: SigningKey, now_90k: int) -> Record:
    """The record of a segment, whose file has been hashed."""
    sha256 = segment.sha256 or None
    statement = _line(
        type=SEGMENT_TYPE,
        version=VERSION,
        camera=segment.camera_id,
        rendition=segment.rendition.value,
        number=number,
        previous=previous,
        segment=segment.name,
        start=to_rfc3339(segment.start_90k),
        end=to_rfc3339(segment.end_90k),
        size=segment.size,
        sha256=sha256,
        continues=segment.continues,
        end_reason=segment.end_reason.value if segment.end_reason is not None else None,
        signed=to_rfc3339(now_90k),
        key=key.key_id,
    )
    return Record(
        segment.camera_id,
        segment.rendition.value,
        number,
        segment.name,
        segment.start_90k,
        segment.end_90k,
        sha256,
        key.key_id,
        statement,
        key.sign(statement.encode()),
    )


def sign_deletion(record: Record, reason: str, key: SigningKey, now_90k: int) -> tuple[str, str]:
    """The statement that retention deletes the segment of a record, and its signature."""
    statement = _line(
        type=DELETION_TYPE,
        version=VERSION,
        camera=record.camera_id,
        rendition=record.rendition,
        number=record.number,
        segment=record.segment,
        record=record.digest,
        reason=reason,
        deleted=to_rfc3339(now_90k),
        key=key.key_id,
    )
    return statement, key.sign(statement.encode())


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """A record as somebody hands it over: the statement is read, nothing of it is verified."""

    values: dict[str, Any]
    statement: str
    signature: str
    deletion: str | None
    deletion_signature: str | None

    @classmethod
    def of(cls, found: Any) -> "ReadRecord":
        """From what :meth:`Record.as_json` made. Raises ``ValueError``."""
        if not isinstance(found, dict):
            raise ValueError("a record is not an object")  # noqa: TRY004
        texts = [found.get(name) for name in ("statement", "signature", "deletion", "deletion_signature")]
        statement, signature, deletion, deletion_signature = (x if isinstance(x, str) else None for x in texts)
        if statement is None or signature is None:
            raise ValueError("a record has no statement or no signature")
        values = read_statement(statement)
        if values["type"] != SEGMENT_TYPE:
            raise ValueError("a statement is not that of a segment")
        return cls(values, statement, signature, deletion, deletion_signature)

    @property
    def digest(self) -> str:
        return digest_of(self.statement)

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether its signature is that of a key."""
        return key.is_signature(self.signature, self.statement.encode())

    def deleted(self, key: PublicKey | None) -> dict[str, Any] | None:
        """The statement that retention deleted the segment, if ``key`` signed one for this record."""
        if key is None or self.deletion is None or self.deletion_signature is None:
            return None
        if not key.is_signature(self.deletion_signature, self.deletion.encode()):
            return None
        try:
            values = read_statement(self.deletion)
        except ValueError:
            return None
        return values if values["type"] == DELETION_TYPE and values["record"] == self.digest else None

    def deletion_key(self) -> str | None:
        """The key id that the deletion names."""
        try:
            return str(read_statement(self.deletion)["key"]) if self.deletion is not None else None
        except ValueError:
            return None


_REQUIRED: dict[str, tuple[tuple[str, type | tuple[type, ...]], ...]] = {
    SEGMENT_TYPE: (
        *(("camera", str), ("rendition", str), ("number", int), ("previous", (str, type(None))), ("segment", str)),
        *(("start", str), ("end", str), ("size", int), ("sha256", (str, type(None))), ("continues", bool)),
        *(("end_reason", (str, type(None))), ("signed", str), ("key", str)),
    ),
    DELETION_TYPE: (
        *(("camera", str), ("rendition", str), ("number", int), ("segment", str), ("record", str)),
        *(("reason", str), ("deleted", str), ("key", str)),
    ),
}


def read_statement(text: str) -> dict[str, Any]:
    """The values of a statement. Raises ``ValueError`` for anything else, and for one of a newer version."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("a statement is not JSON") from None
    if not isinstance(values, dict) or values.get("type") not in _REQUIRED:
        raise ValueError("a statement is of no known type")
    if values.get("version") != VERSION:
        raise ValueError("a statement has a version that this liveedge does not know: use a newer one")
    for name, kind in _REQUIRED[values["type"]]:
        if not isinstance(values.get(name, ...), kind):
            raise ValueError(f"a statement has no {name}")  # noqa: TRY004
    return values


def _line(**values: Any) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
