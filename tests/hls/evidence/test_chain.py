"""The chain of signed segments: what verifies, and what does not."""

import base64
import json
import sqlite3
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from hls.archive.database import INDEX_FILE
from hls.archive.evidence_schema import record as record_table
from hls.archive.segment import RecordedStream
from hls.archive.table import SegmentTable
from hls.evidence import chain_table
from hls.evidence.signing import FILE_NAME, PublicKey, load_key
from hls.evidence.statement import read_statement
from hls.evidence.verify import TrustedKeys, verify_archive, verify_file
from tests.support.evidence import NOW_90K, hash_all, new_key, signed_recordings
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode
from web.private_files import write_private

DOOR = RecordedStream("door")


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_recordings_are_signed_in_their_order_and_verify(tmp_path: Path, any_index: SegmentTable) -> None:
    segments = signed_recordings(tmp_path, any_index, new_key())
    records = chain_table.span(any_index, DOOR, None, None, 10)
    assert [(each.number, each.segment) for each in records] == [(n, each.name) for n, each in enumerate(segments)]
    statements = [read_statement(each.statement) for each in records]
    assert [each["previous"] for each in statements] == [None, *(each.digest for each in records[:-1])]
    assert statements[1]["start"] == "2026-11-22T18:50:02.000Z"
    assert chain_table.counts(any_index) == (4, 0)
    middle = chain_table.span(any_index, DOOR, segments[1].start_90k, segments[2].start_90k + 1, 10)
    assert [each.number for each in middle] == [1, 2]
    report = verify_archive(tmp_path, any_index)
    assert report.faults == 0, report.lines


def test_one_changed_byte_is_found(tmp_path: Path, index: SegmentTable) -> None:
    segments = signed_recordings(tmp_path, index, new_key())
    flip_byte(segments[2].path(tmp_path))
    report = verify_archive(tmp_path, index)
    assert report.faults == 1
    [line] = [line for line in report.lines if line.startswith("WRONG")]
    assert segments[2].name in line
    assert "the file is not the one that was recorded" in line


def test_deletion_by_retention_is_told_from_removal_by_hand(tmp_path: Path, any_index: SegmentTable) -> None:
    key = new_key()
    segments = signed_recordings(tmp_path, any_index, key)
    chain_table.sign_deletions(any_index, [(segments[0], "age")], key, NOW_90K)
    any_index.begin_delete(segments[:1])
    for number in (0, 2):  # retention, and a hand
        segments[number].path(tmp_path).unlink()
    any_index.end_delete(segments[:1])
    any_index.remove("door", segments[2].name)  # as the next start finds it
    report = verify_archive(tmp_path, any_index)
    assert report.faults == 1, report.lines
    assert any(segments[0].name in line and "retention deleted it" in line for line in report.lines)
    assert any(segments[2].name in line and "somebody removed it" in line for line in report.lines)
    records = chain_table.span(any_index, DOOR, None, None, 10)
    assert chain_table.present(any_index, records) == {("door", segments[1].name), ("door", segments[3].name)}


def test_a_forged_deletion_and_a_removed_record_are_found(tmp_path: Path, index: SegmentTable) -> None:
    key = new_key()
    segments = signed_recordings(tmp_path, index, key)
    chain_table.sign_deletions(index, [(segments[3], "age")], new_key(), NOW_90K)
    with index.transaction() as connection:
        connection.execute(delete(record_table).where(record_table.c.number == 1))
    report = verify_archive(tmp_path, index)
    assert any("the signature of its deletion is wrong" in line for line in report.lines)
    assert any("the records 1 to 1 before it are missing" in line for line in report.lines)
    assert report.faults == 2


def test_a_changed_statement_is_found(tmp_path: Path, index: SegmentTable) -> None:
    signed_recordings(tmp_path, index, new_key())
    with index.transaction() as connection:
        text = connection.scalar(select(record_table.c.statement).where(record_table.c.number == 1))
        assert text is not None
        changed = text.replace("18:50:02", "18:20:02")
        connection.execute(update(record_table).where(record_table.c.number == 1).values(statement=changed))
    lines = [line for line in verify_archive(tmp_path, index).lines if line.startswith("WRONG")]
    assert any("its signature is wrong" in line for line in lines)
    assert any("it does not follow the record before it" in line for line in lines)


def test_a_gap_is_no_fault_and_what_vanished_is(tmp_path: Path, index: SegmentTable) -> None:
    key = new_key()
    signed_recordings(tmp_path, index, key)  # the last one has ended because recording was stopped
    first = record(tmp_path, encode(EncoderSettings(seconds=2), NOW_90K, run=2))
    later = record(tmp_path, encode(EncoderSettings(seconds=2), NOW_90K + 90_000 * 100, run=3))
    for segment, fragments in [*first, *later]:
        reason = segment.end_reason if segment is not first[0].segment else "boundary"
        index.save(replace(segment, end_reason=reason), fragments)  # type: ignore[arg-type]
    hash_all(tmp_path, index)
    chain_table.sign_batch(index, key, NOW_90K)
    report = verify_archive(tmp_path, index)
    assert any("nothing is recorded between 2026-11-22T18:50:08.000Z" in line for line in report.lines), report.lines
    assert any("the recording went on after" in line for line in report.lines if line.startswith("WRONG"))
    assert report.faults == 1


def test_a_segment_without_hash_keeps_the_later_ones_of_its_stream(tmp_path: Path, index: SegmentTable) -> None:
    for camera_id in ("door", "yard"):
        for segment, fragments in record(tmp_path, encode(EncoderSettings(seconds=4)), camera_id, segment_s=2):
            is_hashed = camera_id == "yard" or segment.start_90k % (4 * 90_000)
            index.save(replace(segment, sha256="ab" * 32 if is_hashed else None), fragments)
    key = new_key()
    assert chain_table.sign_batch(index, key, NOW_90K) == 2
    assert chain_table.streams(index) == [RecordedStream("yard")]
    hash_all(tmp_path, index)
    assert chain_table.sign_batch(index, key, NOW_90K) == 2
    assert [each.number for each in chain_table.span(index, DOOR, None, None, 9)] == [0, 1]


def test_a_segment_that_is_added_to_the_index_again_has_its_record(tmp_path: Path, index: SegmentTable) -> None:
    key = new_key()
    segments = signed_recordings(tmp_path, index, key)
    fragments = index.get("door", segments[1].name)
    assert fragments is not None
    index.remove("door", segments[1].name)
    flip_byte(segments[1].path(tmp_path))
    index.save(replace(fragments.segment, sha256="cd" * 32), fragments.fragments)
    assert chain_table.sign_batch(index, key, NOW_90K) == 1
    assert chain_table.counts(index) == (4, 0)
    assert verify_archive(tmp_path, index).faults == 1


def test_records_survive_a_damaged_index(tmp_path: Path) -> None:
    index = SegmentTable(tmp_path)
    index.open()
    key = new_key()
    segments = signed_recordings(tmp_path, index, key)
    index.close()
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'segment'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with (tmp_path / INDEX_FILE).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    index.open()
    assert index.page("door", None, None, 9) == []
    assert [each.segment for each in chain_table.span(index, DOOR, None, None, 9)] == [each.name for each in segments]
    assert chain_table.keys(index) == {key.key_id: key.public}
    index.close()


def test_only_the_oldest_deleted_records_are_dropped(
    tmp_path: Path, index: SegmentTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    segments = signed_recordings(tmp_path, index, key)
    monkeypatch.setattr(chain_table, "DELETED_MAX", 1)
    for segment in segments[:3]:
        chain_table.sign_deletions(index, [(segment, "age")], key, NOW_90K)
        index.begin_delete([segment])
        index.end_delete([segment])
        segment.path(tmp_path).unlink()
    assert [each.number for each in chain_table.span(index, DOOR, None, None, 9)] == [2, 3]
    assert verify_archive(tmp_path, index).faults == 0


@pytest.mark.integration
def test_openssl_verifies_a_statement(tmp_path: Path, index: SegmentTable) -> None:
    key = new_key()
    segments = signed_recordings(tmp_path, index, key)
    record = chain_table.of_segment(index, "door", segments[0].name)
    assert record is not None
    (tmp_path / "statement").write_text(record.statement)
    (tmp_path / "signature").write_bytes(base64.b64decode(record.signature))
    (tmp_path / "key.pem").write_text(key.public.pem)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "statement"]
    for expected in (0, 1):
        done = subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == expected, done.stderr
        flip_byte(tmp_path / "statement")


def test_a_single_file_is_verified_by_the_record_beside_it(tmp_path: Path, index: SegmentTable) -> None:
    key = new_key()
    [first, *_] = signed_recordings(tmp_path, index, key)
    record = chain_table.of_segment(index, "door", first.name)
    assert record is not None
    file = tmp_path / f"door_{first.name}.mp4"
    file.write_bytes(first.path(tmp_path).read_bytes())
    beside = {"record": record.as_json(), "public_keys": [{"public_key": key.public.pem}]}
    file.with_suffix(".json").write_text(json.dumps(beside))
    trusted = TrustedKeys({key.key_id: key.public}, "a key of this gateway")
    for known, words in ((None, "is known from this file alone"), (trusted, "signed with a key of this gateway")):
        report = verify_file(file, known, None)
        assert report.faults == 0, report.lines
        assert words in report.lines[0]
    unknown = new_key().public
    assert verify_file(file, TrustedKeys({unknown.key_id: unknown}, "the key in x.pem"), None).faults
    file.with_suffix(".json").unlink()
    assert verify_file(file, None, index).faults == 0
    flip_byte(file)
    assert "the file is not the one that was recorded" in str(verify_file(file, None, index).lines)


def test_the_key_is_private_made_once_and_replaced_if_others_could_read_it(tmp_path: Path) -> None:
    made = load_key(tmp_path, write_private)
    path = tmp_path / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(tmp_path, write_private).key_id == made.key_id
    assert PublicKey.from_pem(made.public.pem) == made.public
    path.chmod(0o644)
    assert load_key(tmp_path, write_private).key_id != made.key_id
    assert (tmp_path / f"{FILE_NAME}.replaced").exists()
    path.write_text("no key")
    assert load_key(tmp_path, write_private).key_id != made.key_id
