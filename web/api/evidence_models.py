"""What the HTTP API takes and answers about evidence, as models; see :mod:`web.api.models`."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from hls.evidence.chain import Finding, Kind
from hls.evidence.signing import PublicKey
from hls.evidence.statement import Record

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class EvidenceKey(BaseModel):
    """An Ed25519 public key (RFC 8032)."""

    id: str = Field(description="the first 16 hexadecimal digits of the SHA-256 of its 32 bytes")
    public_key: str = Field(description="PEM (RFC 8410)")
    raw: str = Field(description="the 32 bytes in Base64")

    @classmethod
    def of(cls, key: PublicKey) -> Self:
        return cls(id=key.key_id, public_key=key.pem, raw=key.text)


class EvidenceKeys(BaseModel):
    """The key that signs at present, and all that signed."""

    id: str
    public_keys: list[EvidenceKey]


class EvidenceRecord(BaseModel):
    """A signed statement of a segment. The signature is that of the bytes of ``statement``."""

    statement: str
    signature: str = Field(description="Ed25519, in Base64")
    deletion: str | None = Field(default=None, description="the statement that retention deleted it")
    deletion_signature: str | None = None

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(**record.as_json())


class SegmentEvidence(BaseModel):
    """The record of a segment, and the keys that verify it."""

    record: EvidenceRecord
    public_keys: list[EvidenceKey]


class EvidenceFinding(BaseModel):
    """What there is to say about a segment. ``fault``: the evidence is not whole."""

    segment: str
    kind: Kind
    fault: bool
    message: str

    @classmethod
    def of(cls, finding: Finding) -> Self:
        return cls(segment=finding.segment, kind=finding.kind, fault=finding.kind.is_fault, message=finding.text)


class Chain(BaseModel):
    """The records of a stream in a time range, and what is found when they are verified. No file is read for it."""

    records: list[EvidenceRecord]
    findings: list[EvidenceFinding]
    public_keys: list[EvidenceKey]


class VerifyRequest(BaseModel):
    """A file's SHA-256, to find its record; or a statement with its signature, to verify it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: Digest | None = None
    statement: str | None = Field(default=None, max_length=200_000)
    signature: str | None = Field(default=None, max_length=100)


class Verification(BaseModel):
    """``valid``: a record with this hash, or a key of this gateway that signed this statement, was found."""

    valid: bool
    key: str | None = Field(default=None, description="the id of the key")
    records: list[EvidenceRecord] = Field(default_factory=list)
