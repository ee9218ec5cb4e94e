"""``liveedge verify``: verify an export, the file of a segment, or all recordings. Blocking; needs no gateway.

Rules:

1. Whatever the file says, it is only read, and read in pieces. A file that is no evidence is an answer, not a crash.
2. A signature proves nothing without the right key: a report says whose key it is, and how that is known.
3. A line of a report is one line, whatever names a file has: control characters are escaped.
"""

import base64
import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gateway.errors import BadRequestError, NotFoundError
from gateway.printable import printable
from hls.archive import upload_table
from hls.archive.database import Database
from hls.archive.segment import SEGMENT_NAME, RecordedStream, segment_path
from hls.archive.table import SegmentTable
from hls.evidence import chain_table
from hls.evidence.chain import Finding, Kind, verify_chain
from hls.evidence.manifest import (
    MANIFEST,
    MANIFEST_MAX_BYTES,
    PUBLIC_KEY,
    SIGNATURE,
    UNLISTED,
    read_manifest,
    shortened,
)
from hls.evidence.signing import PublicKey
from hls.evidence.statement import ReadRecord, Record

READ_BYTES = 1 << 20

PAGE = 2000
"""Records in memory at a time."""


@dataclass(slots=True)
class Report:
    """What was found, as sentences. ``faults`` counts what is wrong; ``is_unknown``: there is no record of the file."""

    lines: list[str] = field(default_factory=list)
    faults: int = 0
    is_unknown: bool = False

    def say(self, text: str) -> None:
        self.lines.append(printable(text))

    def fault(self, text: str) -> None:
        self.faults += 1
        self.say(f"WRONG: {text}")

    def add(self, finding: Finding) -> None:
        (self.fault if finding.kind.is_fault else self.say)(str(finding))


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Keys that are known from elsewhere than from what is verified. ``source`` says from where."""

    keys: Mapping[str, PublicKey]
    source: str


def verify_export(path: Path, trusted: TrustedKeys | None) -> Report:
    """Verify a ZIP of an export."""
    report = Report()
    try:
        with zipfile.ZipFile(path) as archive:
            _verify_export(archive, trusted, report)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
    ) as error:
        report.fault(f"{path.name} cannot be read as an export: {error}")
    except OSError as error:
        report.fault(f"{path.name} cannot be read: {error.strerror or error}")
    return report


def _verify_export(archive: zipfile.ZipFile, trusted: TrustedKeys | None, report: Report) -> None:
    # A folder has no content. Programs that pack the files again add some.
    names = [info.filename for info in archive.infolist() if not (info.is_dir() and info.file_size == 0)]
    for name in (MANIFEST, SIGNATURE, PUBLIC_KEY):
        if names.count(name) != 1:
            report.fault(f"it has {names.count(name)} files {name}: it is no export of liveedge, or was changed")
            return
    data = _small(archive, MANIFEST, MANIFEST_MAX_BYTES)
    pem = _small(archive, PUBLIC_KEY, READ_BYTES).decode(errors="replace")
    try:
        key = PublicKey.from_pem(pem)
    except BadRequestError:
        report.fault(f"{PUBLIC_KEY} is not an Ed25519 public key")
        return
    if pem.split() != key.pem.split():
        report.fault(f"{PUBLIC_KEY} has more than the key: nobody signed that")
        return
    signature = base64.b64encode(_small(archive, SIGNATURE, READ_BYTES)).decode()
    if not key.is_signature(signature, data):
        report.fault(f"{MANIFEST} is not the one that was signed: it was changed, or the signature was")
        return
    manifest = read_manifest(data)
    keys = _keys_of(manifest) | {key.key_id: key}
    _say_who(keys if trusted is None else {key.key_id: key}, trusted, report)
    cameras = {camera["camera"] for camera in manifest["cameras"]}
    report.say(
        f"exported {manifest.get('created')}: {len(cameras)} camera(s) from {manifest.get('start')} to"
        f" {manifest.get('end')}"
    )
    named = {(camera["camera"], name): None for camera in manifest["cameras"] if (name := camera.get("name"))}
    for camera_id, name in named:  # at the end of a line, as it may be written from right to left
        report.say(f"camera {camera_id} had the name: {shortened(name)}")
    for node in manifest.get("away", []):
        report.say(f"what {node} recorded is not in it: that node was away")
    clips = {file["file"]: file for camera in manifest["cameras"] for file in camera.get("clips", [])}
    listed = clips | {file["file"]: file for file in manifest.get("files", [])}
    for name in sorted({*names} - listed.keys() - UNLISTED):
        report.fault(f"{name} is not in the manifest: somebody put it in")
    right = 0
    for name, file in listed.items():
        if names.count(name) != 1:
            report.fault(f"{name} is missing" if name not in names else f"there are several files {name}")
            continue
        size = archive.getinfo(name).file_size
        if size != file.get("size", size):
            report.fault(f"{name} was changed: its size is not the signed one")
            continue
        if _hash_in(archive, name) != file["sha256"]:
            report.fault(f"{name} was changed: its SHA-256 is not the signed one")
            continue
        right += name in clips
        if left_out := file.get("pictures_left_out"):
            report.say(f"{name} lacks {left_out} picture(s), which could not be decoded when it was exported")
    report.say(f"{right} of {len(clips)} clip(s) are as they were exported")
    if trusted is not None:
        keys = {**trusted.keys} if key.key_id in trusted.keys else {}
    for camera in manifest["cameras"]:
        _verify_camera(camera, keys, report)


def _verify_camera(camera: Mapping[str, Any], keys: Mapping[str, PublicKey], report: Report) -> None:
    """The recordings that a camera's clips were made from."""
    records = [ReadRecord.of(each) for each in camera.get("records", [])]
    sources = {each["segment"]: each["state"] for each in camera.get("sources", [])}
    faults = {"changed": Kind.CHANGED, "missing": Kind.MISSING}

    def check(record: ReadRecord) -> Kind | None:
        return faults.get(sources.get(record.values["segment"], ""))

    for finding in verify_chain(records, keys, check):
        report.add(finding)
    unsigned = [name for name, state in sources.items() if state == "unsigned"]
    for name in unsigned:
        report.say(f"{camera['camera']}: {name}: it was not signed yet when it was exported")
    report.say(
        f"{camera['camera']}: {len(records)} signed segment(s), whose files the gateway compared when it exported them"
    )


def verify_file(
    path: Path, trusted: TrustedKeys | None, index: Database | None, evidence: Path | None = None
) -> Report:
    """Verify the file of a segment by the record beside it (``evidence``, or its name with ``.json``), or in an index.

    Raises :class:`~gateway.errors.NotFoundError` if there is neither.
    """
    report = Report()
    beside = evidence if evidence is not None else path.with_suffix(".json")
    if evidence is None and not beside.exists() and index is None:
        raise NotFoundError(
            f"there is no record for {path.name}: put the answer of …/segments/SEGMENT/evidence beside it as"
            f" {beside.name}, or set DATA_DIR to the recordings of the gateway"
        )
    try:
        with path.open("rb") as file:
            sha256 = _hash(file)
    except OSError as error:
        report.fault(f"{path} cannot be read: {error.strerror}")
        return report
    if evidence is not None or beside.exists():
        try:
            found = json.loads(beside.read_bytes())
            records = [ReadRecord.of(found["record"])]
            keys = _keys_of(found)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            report.fault(f"{beside.name} is no record of a segment: {error}")
            return report
    else:
        assert index is not None
        records = [ReadRecord.of(each.as_json()) for each in _records_for(index, path, sha256)]
        keys = chain_table.keys(index)
    if not records:
        report.is_unknown = True
        report.fault(f"{path.name}: no signed segment has this SHA-256 ({sha256}), and none has this name")
        return report
    _say_who(keys if trusted is None else {each.values["key"]: None for each in records}, trusted, report)
    if trusted is not None:
        keys = dict(trusted.keys)
    for record in records:
        for finding in verify_chain([record], keys, lambda each: _differs(each, sha256)):
            report.add(finding)
    if not report.faults:
        values = records[0].values
        report.say(
            f"{path.name} is as it was recorded: camera {values['camera']}, {values['start']} to {values['end']},"
            f" signed {values['signed']}"
        )
    return report


def _differs(record: ReadRecord, sha256: str) -> Kind | None:
    return None if record.values["sha256"] == sha256 else Kind.CHANGED


def _records_for(index: Database, path: Path, sha256: str) -> list[Record]:
    """The records of a file: by its hash, or else by the name that it has in the archive, or as a download."""
    found = chain_table.of_sha256(index, sha256, limit=1)
    if found:
        return found
    name = SEGMENT_NAME.search(path.stem)
    if name is None:
        return []
    camera_id = path.stem[: name.start()].removesuffix("_") or path.absolute().parent.parent.name
    record = chain_table.of_segment(index, camera_id, name[0])
    return [record] if record is not None else []


def verify_archive(data_dir: Path, index: SegmentTable) -> Report:
    """Verify all recordings against their chains. Reads every file once."""
    report = Report()
    keys = chain_table.keys(index)
    for stream in chain_table.streams(index):
        stored = upload_table.in_storage(index, stream.camera_id).keys()
        numbers: list[int] = []
        records = _read_records(index, stream, numbers)
        for finding in verify_chain(records, keys, lambda each, stored=stored: _on_disk(data_dir, each, stored)):  # type: ignore[misc]
            report.add(finding)
        report.say(f"{stream.label}: {len(numbers)} record(s), {numbers[0]} to {numbers[-1]}")
    signed, waiting = chain_table.counts(index)
    report.say(f"{signed} signed segment(s), {waiting} that wait for their signature")
    report.say(f"keys: {', '.join(keys) or 'none'}")
    return report


def _read_records(index: Database, stream: RecordedStream, numbers: list[int]) -> Iterator[ReadRecord]:
    """All records of a stream, and their numbers into the list."""
    while page := chain_table.page(index, stream, numbers[-1] if numbers else -1, PAGE):
        for record in page:
            numbers.append(record.number)
            yield ReadRecord.of(record.as_json())


def _on_disk(data_dir: Path, record: ReadRecord, stored: Collection[str]) -> Kind | None:
    """What is wrong with the file of a record. ``stored``: segments that the object storage has."""
    name = record.values["segment"]
    if record.deletion is not None or record.values["sha256"] is None:
        return None
    try:
        with segment_path(data_dir, record.values["camera"], name).open("rb") as file:
            return _differs(record, _hash(file))
    except FileNotFoundError:
        return None if name in stored else Kind.MISSING
    except OSError:
        return Kind.CHANGED


def _keys_of(found: Mapping[str, Any]) -> dict[str, PublicKey]:
    """The keys in a manifest, or beside a record. Raises ``ValueError``."""
    keys = {}
    for each in found.get("public_keys", []):
        try:
            key = PublicKey.from_pem(each["public_key"])
        except (BadRequestError, KeyError, TypeError, AttributeError):
            raise ValueError("a public key in it cannot be read") from None
        keys[key.key_id] = key
    return keys


def _say_who(used: Mapping[str, Any], trusted: TrustedKeys | None, report: Report) -> None:
    """Rule 2."""
    names = ", ".join(used)
    if trusted is None:
        report.say(f"signed with the key {names}, which is known from this file alone: compare it with the gateway's")
    elif unknown := [name for name in used if name not in trusted.keys]:
        report.fault(f"it is signed with the key {', '.join(unknown)}, and not with {trusted.source}")
    else:
        report.say(f"signed with {trusted.source} ({names})")


def _small(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def _hash_in(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        try:
            return _hash(file)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk; those of bzip2 have no number
            return ""  # its CRC-32 tells already


def _hash(file: BinaryIO | Any) -> str:
    digest = hashlib.sha256()
    while data := file.read(READ_BYTES):
        digest.update(data)
    return digest.hexdigest()
