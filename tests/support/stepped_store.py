"""Stores of a cluster with a clock that tests set, and what is in their tables."""

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Float, MetaData, Table, select, update

from gateway.cluster.model import Node
from hls.cluster import schema
from hls.cluster.sqlite_store import SqliteStore
from hls.cluster.store import PostgresStore

SITES = {"a": frozenset({"x"}), "b": frozenset({"x", "y"}), "c": frozenset[str]()}
NODES = [Node(f"{name}#1", name, f"http://{name}", sites) for name, sites in SITES.items()]

# The clock of the database, as tests set it.
clock = Table("cluster_clock", MetaData(), Column("now_s", Float))
NOW = "(SELECT to_timestamp(now_s) FROM cluster_clock)"


class SteppedStore(PostgresStore):
    """With a clock that tests set, and what is in the tables."""

    def tick(self, now_s: float) -> None:
        raise NotImplementedError

    def rows(self) -> dict[tuple[str, str, str], Any]:
        table = schema.recording.c
        with self.transaction() as connection:
            return {
                (row.camera_id, row.node_name, row.name): row
                for row in connection.execute(select(schema.recording).order_by(table.camera_id))
            }


class SteppedPostgresStore(SteppedStore):
    def tick(self, now_s: float) -> None:
        with self.transaction() as connection:
            connection.execute(update(clock).values(now_s=now_s))


class SteppedSqliteStore(SqliteStore, SteppedStore):
    def __init__(self, path: Path) -> None:
        self.now_s = 0.0
        super().__init__(path, lambda: self.now_s)

    def tick(self, now_s: float) -> None:
        self.now_s = now_s
