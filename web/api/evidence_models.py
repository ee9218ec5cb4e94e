"""What the HTTP API takes and answers about evidence, as models; see :mod:`web.api.models`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from gateway.clock import to_rfc3339
from hls.evidence.chain import Finding, Kind
from hls.evidence.export_job import CAMERAS_MAX, ExportJob, ExportState
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


class NewExport(BaseModel):
    """What to export. Times are RFC 3339 with a zone, or Unix seconds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cameras: list[str] = Field(min_length=1, max_length=CAMERAS_MAX)
    start: str = Field(max_length=64)
    end: str = Field(max_length=64)
    rendition: Literal["auto", "main", "sub"] = Field(
        default="auto", description="`auto`: the main stream of a camera if that is recorded, else its sub stream"
    )
    burn_in_time: bool = Field(
        default=False, description="whether the time is written into the pictures, which are encoded again for it"
    )


class Export(BaseModel):
    """An export: a ZIP of clips, with a signed manifest."""

    id: str
    state: ExportState
    progress: float = Field(description="from 0 to 1")
    cameras: list[str]
    start: Time
    end: Time
    rendition: Literal["auto", "main", "sub"]
    burn_in_time: bool
    by: str = Field(description="the name of the credential that asked for it")
    created: Time
    expires: Time | None = Field(description="when it is deleted")
    size: int | None = Field(description="bytes of the ZIP")
    url: str | None = Field(description="path of the ZIP, when it is done. It can be signed")
    error: str | None = Field(description="the code of what went wrong")
    message: str | None = Field(description="what went wrong, as a sentence")
    reason: str | None = Field(default=None, description="more exact than `error`, for programs")
    values: dict[str, str | int | float] | None = Field(default=None, description="what a sentence for `reason` names")

    @classmethod
    def of(cls, job: ExportJob) -> Self:
        request = job.request
        is_done = job.state is ExportState.DONE
        return cls(
            id=job.id,
            state=job.state,
            progress=round(job.progress, 4),
            cameras=list(request.cameras),
            start=to_rfc3339(request.start_90k),
            end=to_rfc3339(request.end_90k),
            rendition=request.rendition.value if request.rendition is not None else "auto",
            burn_in_time=request.burn_in_time,
            by=job.owner,
            created=to_rfc3339(job.created_90k),
            expires=to_rfc3339(job.expires_90k) if job.expires_90k is not None else None,
            size=job.size if is_done else None,
            url=f"/api/exports/{job.id}/export.zip" if is_done else None,
            error=job.result.get("error"),
            message=job.result.get("message"),
            reason=job.result.get("reason"),
            values=job.result.get("values"),
        )


class ExportList(BaseModel):
    """The exports that the credentials allow to see, the newest first."""

    exports: list[Export]
