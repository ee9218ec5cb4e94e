"""Verify a chain: what the records of a stream say about its files. Pure: it reads no file and no database.

A segment of the chain is in one of the states of :class:`Kind`, or right. Findings that are no faults: a gap
in the recording (its reason is signed), a segment that retention deleted (signed too), and where the chain begins.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError
from gateway.times import parse_time
from hls.archive.segment import EndReason
from hls.evidence.signing import PublicKey
from hls.evidence.statement import ReadRecord


class Kind(StrEnum):
    """What a finding says. The last ones are no faults."""

    SIGNATURE = "signature"
    """The signature is not that of the key, or the key is unknown."""
    CHAIN = "chain"
    """A record was removed, changed or put in."""
    CHANGED = "changed"
    """The file is not the one that was signed."""
    MISSING = "missing"
    """The file was removed, and not by retention."""
    UNREAD = "unread"
    """The file could not be read when it was to be hashed."""
    VANISHED = "vanished"
    """The recording went on, and what followed is in no record: removed while it was written, or the disk failed."""
    DELETED = "deleted"
    GAP = "gap"

    @property
    def is_fault(self) -> bool:
        """Whether the evidence is not whole."""
        return self not in (Kind.DELETED, Kind.GAP)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about a segment, as a sentence."""

    kind: Kind
    camera_id: str
    rendition: str
    segment: str
    text: str

    def __str__(self) -> str:
        stream = self.camera_id if self.rendition == "main" else f"{self.camera_id} ({self.rendition} stream)"
        return f"{stream}: {self.segment}: {self.text}"


JOIN_S = 5.0
"""A segment that continues another begins at the end of that; by as much a clock may have been wrong."""

CheckFile = Callable[[ReadRecord], Kind | None]
"""What is known of the file of a record: ``CHANGED``, ``MISSING``, or ``None`` where it is right or not looked at."""

_REASONS = {
    EndReason.CAMERA_LOST: "the camera was away",
    EndReason.CAMERA_RESTARTED: "the camera was connected again",
    EndReason.STREAM_CHANGED: "the camera changed its stream",
    EndReason.PACKETS_LOST: "frames were lost on the way",
    EndReason.CLOCK_STEPPED: "a clock was set",
    EndReason.STOPPED: "the recording was stopped",
    EndReason.EVENT_ENDED: "the event had ended",
    EndReason.DISK_FAILED: "the disk failed",
    EndReason.CRASHED: "the gateway or its machine was interrupted",
}


def verify_chain(
    records: Iterable[ReadRecord], keys: Mapping[str, PublicKey], check_file: CheckFile
) -> Iterator[Finding]:
    """The findings about the records of one stream, in the order of their numbers."""
    before: ReadRecord | None = None
    for record in records:
        yield from _findings(record, before, keys, check_file)
        before = record


def _findings(
    record: ReadRecord, before: ReadRecord | None, keys: Mapping[str, PublicKey], check_file: CheckFile
) -> Iterator[Finding]:
    values = record.values

    def found(kind: Kind, text: str) -> Finding:
        return Finding(kind, values["camera"], values["rendition"], values["segment"], text)

    key = keys.get(values["key"])
    if key is None:
        yield found(Kind.SIGNATURE, f"it names the key {values['key']}, which is not one of those given")
    elif not record.is_signed_by(key):
        yield found(Kind.SIGNATURE, "its signature is wrong: the statement was changed, or another key signed it")
    if before is not None:
        if values["number"] != before.values["number"] + 1:
            yield found(
                Kind.CHAIN, f"the records {before.values['number'] + 1} to {values['number'] - 1} before it are missing"
            )
        elif values["previous"] != before.digest:
            yield found(Kind.CHAIN, "it does not follow the record before it: one of the two was changed or put in")
        elif not values["continues"]:
            yield found(*_gap(before))
        elif abs(_seconds(values["start"]) - _seconds(before.values["end"])) > JOIN_S:
            yield found(
                Kind.VANISHED,
                f"it continues a segment that is in no record, and that is not the one that ended at"
                f" {before.values['end']}",
            )
    deletion = record.deleted(keys.get(record.deletion_key() or ""))
    if record.deletion is not None and deletion is None:
        yield found(Kind.SIGNATURE, "the signature of its deletion is wrong")
    fault = check_file(record)
    if deletion is not None:
        yield found(Kind.DELETED, f"retention deleted it at {deletion['deleted']} (reason: {deletion['reason']})")
    elif fault is Kind.MISSING:
        yield found(fault, "the file is missing, and retention did not delete it: somebody removed it")
    elif fault is Kind.CHANGED:
        yield found(fault, "the file is not the one that was recorded: its SHA-256 differs from the signed one")
    elif values["sha256"] is None:
        yield found(Kind.UNREAD, "its file could not be read when it was to be signed")


def _seconds(text: str) -> float:
    try:
        return parse_time(text, "time") / CLOCK_RATE
    except BadRequestError:
        return 0.0


def _gap(before: ReadRecord) -> tuple[Kind, str]:
    end, reason = before.values["end"], before.values["end_reason"]
    if reason == EndReason.BOUNDARY:
        return Kind.VANISHED, (
            f"the recording went on after {end}, and what followed is in no record: the file was removed while it was"
            " written, or the disk failed"
        )
    why = next((text for each, text in _REASONS.items() if each == reason), reason)
    return Kind.GAP, f"nothing is recorded between {end} and this segment: {why}"
