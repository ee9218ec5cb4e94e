"""The index's schema: what an earlier version made is opened, and nothing of it is lost."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert, inspect, text

from gateway.camera_settings import RenditionName
from gateway.errors import SettingsError
from hls.archive import migrations, schema
from hls.archive.database import INDEX_FILE
from hls.archive.fragment import pack_fragments
from hls.archive.hls_segments import hls_segments, pack_hls
from hls.archive.segment import SegmentState
from hls.archive.segment_queries import to_row
from hls.archive.table import SegmentTable
from tests.hls.archive.test_index import FRAGMENTS, make, make_sub
from tests.support.postgres import postgres

VERSION_3 = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (3);
CREATE TABLE segment (
    id {id} NOT NULL, camera_id VARCHAR(64) NOT NULL, name VARCHAR(40) NOT NULL, state VARCHAR(16) NOT NULL,
    start_90k BIGINT NOT NULL, duration_90k BIGINT NOT NULL, size BIGINT NOT NULL, codec VARCHAR(16) NOT NULL,
    codec_string VARCHAR(64) NOT NULL, audio_codec VARCHAR(16), audio_codec_string VARCHAR(64), width INTEGER NOT NULL,
    height INTEGER NOT NULL, head {bytes} NOT NULL, init_size INTEGER NOT NULL, init_id VARCHAR(32) NOT NULL,
    run INTEGER NOT NULL, continues BOOLEAN NOT NULL, end_reason VARCHAR(32), frames INTEGER NOT NULL,
    longest_gap_90k BIGINT NOT NULL, sequence BIGINT NOT NULL, hls_segments INTEGER NOT NULL,
    discontinuities BIGINT NOT NULL, is_protected BOOLEAN NOT NULL, sha256 VARCHAR(64), metadata JSON NOT NULL,
    PRIMARY KEY (id), CONSTRAINT segment_name UNIQUE (camera_id, name)
);
CREATE INDEX segment_state ON segment (state);
CREATE INDEX segment_unhashed ON segment (start_90k) WHERE sha256 IS NULL;
CREATE INDEX segment_order ON segment (camera_id, sequence);
CREATE INDEX segment_init ON segment (camera_id, init_id);
CREATE INDEX segment_time ON segment (camera_id, start_90k, name, duration_90k, size, state, is_protected);
CREATE TABLE fragment_list (
    segment_id {reference} NOT NULL, packed_hls {bytes} NOT NULL, packed {bytes} NOT NULL, PRIMARY KEY (segment_id),
    FOREIGN KEY(segment_id) REFERENCES segment (id) ON DELETE CASCADE
);
"""
"""As version 3 made it, before sub streams were recorded."""

TYPES = {
    "sqlite": {"id": "INTEGER", "reference": "INTEGER", "bytes": "BLOB"},
    "postgresql": {"id": "BIGSERIAL", "reference": "BIGINT", "bytes": "BYTEA"},
}

RECORDED = [make(0, is_protected=True), make(1, sha256="ab" * 32), make(2, state=SegmentState.TRUNCATED)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def old_index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an index of version 3 in each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / INDEX_FILE}"
        _make(url)
        yield url
        return
    with postgres() as url:
        _make(url)
        yield url


def _make(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in VERSION_3.format(**TYPES[engine.dialect.name]).split(";"):
            if statement.strip():
                connection.execute(text(statement))
        for segment in RECORDED:
            _insert(connection, {name: value for name, value in to_row(segment).items() if name != "rendition"})
    engine.dispose()


def _insert(connection: Connection, row: dict[str, object]) -> None:
    [row_id] = connection.execute(insert(schema.segment).values(row)).inserted_primary_key or [None]
    hls = pack_hls(hls_segments(FRAGMENTS, is_complete=True))
    values = {"segment_id": row_id, "packed_hls": hls, "packed": pack_fragments(FRAGMENTS)}
    connection.execute(insert(schema.fragment_list).values(values))


def test_an_index_of_version_3_keeps_its_recordings_as_those_of_main_streams(tmp_path: Path, old_index: str) -> None:
    for _ in range(2):  # the second start finds it migrated
        index = SegmentTable(tmp_path, old_index)
        index.open()
        assert index.span("door", None, None, 9) == [(segment, FRAGMENTS) for segment in RECORDED]
        assert index.page("door", None, None, 9, rendition=RenditionName.SUB) == []
        index.close()
    index.open()
    index.save(make_sub(1), FRAGMENTS)
    assert index.get("door", make_sub(1).name) == (make_sub(1), FRAGMENTS)
    with index.transaction() as connection:
        indexes = {each["name"]: each["column_names"] for each in inspect(connection).get_indexes("segment")}
    assert indexes["segment_order"] == ["camera_id", "rendition", "sequence"]
    assert indexes["segment_time"][:3] == ["camera_id", "rendition", "start_90k"]
    index.close()


def test_a_migration_that_fails_loses_nothing_and_is_made_again(
    tmp_path: Path, old_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        name = "segment_order"

        def drop(self, *_: object, **__: object) -> None:
            raise SettingsError("the disk is full")

    monkeypatch.setattr(migrations, "ORDER_INDEX", FullDisk())
    with pytest.raises(SettingsError, match="the disk is full"):
        SegmentTable(tmp_path, old_index).open()
    monkeypatch.undo()
    index = SegmentTable(tmp_path, old_index)
    index.open()
    assert index.page("door", None, None, 9) == RECORDED
    with index.transaction() as connection:
        orders = [each["column_names"] for each in inspect(connection).get_indexes("segment")]
    assert ["camera_id", "rendition", "sequence"] in orders
    index.close()


def test_version_2_is_migrated_over_version_3(tmp_path: Path) -> None:
    _make(f"sqlite:///{tmp_path / INDEX_FILE}")
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        connection.executescript("DROP INDEX segment_order; UPDATE schema_version SET version = 2")
    connection.close()
    index = SegmentTable(tmp_path)
    index.open()
    assert index.oldest("door", 9) == [replace(segment) for segment in RECORDED if not segment.is_protected]
    index.close()
