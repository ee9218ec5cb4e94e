"""The recordings of a cluster, compared with what its cameras sent: the index, the files, and the objects."""

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
from sqlalchemy import create_engine, text

from bench.support.history import Row, disorder, holes, overlaps
from bench.support.report import Report
from bench.support.rtsp_cameras import FPS, picture_numbers
from tests.support.s3_server import S3Server

SEAM_MAX = 3
"""Pictures that may count twice where one row ends and the next begins: two nodes measure the time of each."""


@dataclass
class Faults:
    """The numbers of the pictures that faults had to do with."""

    spans: list[tuple[str, int, int]] = field(default_factory=list)
    """The name of each, and the newest picture when it began and when it was over."""
    wiped: range = range(0)
    """Pictures that a wiped disk had, and perhaps nothing else."""
    clock_from: int = sys.maxsize
    """The number from which on the clocks were apart."""


@dataclass(frozen=True)
class Recordings:
    """Where the recordings of all nodes are, after these have ended."""

    database_url: str
    folders: Mapping[str, Path]
    """The data of each node."""
    s3: S3Server
    prefix: str
    """Of the objects."""
    bit_rate: int
    """Of each camera."""


@dataclass
class _Found:
    recorded: dict[str, set[int]] = field(default_factory=dict)
    """The numbers in the files of each camera."""
    counted: dict[tuple[str, int], int] = field(default_factory=dict)
    """How often each picture counts, by camera and number."""
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def check(recordings: Recordings, faults: Faults, camera: str, limits_s: Mapping[str, float], report: Report) -> None:
    """Add to the report what is wrong.

    Args:
        recordings: where they are
        faults: what happened meanwhile
        camera: the one whose pictures the faults count
        limits_s: how long a recording may be without pictures, by the name of the fault; 0 for others
        report: what was found
    """
    rows = read_rows(recordings.database_url)
    found = overlaps(rows)
    counting = [row for row in rows if row.from_90k is not None]
    report.add("index", f"{len(rows)} rows, {len(counting)} count", is_met=bool(counting))
    report.add("index: rows that count for one moment", "; ".join(found) or "none", "none", is_met=not found)
    files = _read_files(recordings, rows)
    _judge_files(files, faults, report)
    recorded = files.recorded.get(camera, set())
    if faults.wiped:
        lacking = [number for number in holes(recorded) if number in faults.wiped]
        lost_bytes = len(lacking) / FPS * recordings.bit_rate / 8
        report.add(
            "recording before wipe",
            f"the last {len(lacking) / FPS:.1f} s are lost, about {lost_bytes / 2**20:.1f} MiB",
            "≤ 5 MiB, and half a second",
            is_met=lost_bytes < 5 * 2**20 + recordings.bit_rate / 16,
        )
    for name, first, last in faults.spans:
        lacking = [number for number in holes(recorded | {first, last}) if first <= number <= last]
        lacking = [number for number in lacking if number not in faults.wiped]
        longest = max((len(each) for each in _runs(lacking)), default=0)
        limit = limits_s.get(name, 0) * FPS
        report.add(
            f"recording over {name}",
            f"{len(lacking)} of {last - first} pictures are in no file, at most {longest / FPS:.1f} s together",
            f"≤ {limit / FPS:g} s",
            is_met=longest <= limit,
        )


def _read_files(recordings: Recordings, rows: Sequence[Row]) -> _Found:
    """Read what each row is of: the file, or else the object."""
    s3, prefix = recordings.s3, recordings.prefix
    keys = set(s3.keys(prefix))
    found = _Found()
    for row in rows:
        paths = list(recordings.folders[row.node].rglob(f"{row.camera_id}/*/{row.name}.mp4"))
        (key,) = [
            each
            for each in keys
            if each.startswith(f"{prefix}/{row.node}/{row.camera_id}/") and each.endswith(f"/{row.name}.mp4")
        ] or [""]
        data = paths[0].read_bytes() if paths else s3.get(key) if key else b""
        if not data:
            found.lost.append(row.text)
            continue
        if paths and key and s3.get(key) != data:
            found.differing.append(row.text)
        numbers = pictures(data)
        found.recorded.setdefault(row.camera_id, set()).update(number for _, number in numbers)
        if (why := disorder([number for _, number in numbers])) is not None:
            found.wrong.append(f"{row.text}: {why}")
        if row.from_90k is None or row.to_90k is None:
            continue
        for at_90k, number in numbers:
            if row.from_90k <= row.start_90k + at_90k < row.to_90k:
                found.counted[row.camera_id, number] = found.counted.get((row.camera_id, number), 0) + 1
    return found


def _judge_files(found: _Found, faults: Faults, report: Report) -> None:
    wrong, differing, lost = found.wrong, found.differing, found.lost
    report.add("files: pictures in order, none lacks", "; ".join(wrong) or "all", "all", is_met=not wrong)
    report.add("files that differ from their objects", "; ".join(differing) or "none", "none", is_met=not differing)
    wiped = any(name == "wipe" for name, _, _ in faults.spans)
    report.add(
        "rows whose file and object are lost",
        "; ".join(lost) or "none",
        "none" if not wiped else "those that the wiped disk had alone",
        is_met=not lost or wiped,
    )
    twice = sorted(number for (_, number), times in found.counted.items() if times > 1 and number < faults.clock_from)
    seams = _runs(twice)
    most = max((len(each) for each in seams), default=0)
    report.add(
        "pictures that count twice",
        f"{len(twice)} at {len(seams)} seams, at most {most} together",
        f"≤ {SEAM_MAX} at a seam",
        is_met=most <= SEAM_MAX,
    )


def _runs(numbers: list[int]) -> list[list[int]]:
    """Numbers that follow each other, in lists."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] + 1 == number:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def pictures(data: bytes) -> list[tuple[int, int]]:
    """The pictures of a file: 90 kHz since its first, and number."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        found = [
            (round(float((packet.pts or 0) * stream.time_base) * 90_000), picture_numbers(bytes(packet)))
            for packet in packets
            if stream.time_base is not None
        ]
    first = found[0][0] if found else 0
    return [(at_90k - first, numbers[0]) for at_90k, numbers in found if numbers]


def has_parts(url: str, node: str) -> bool:
    """Whether the storage has parts of what a node records, and the database knows them."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            query = text("SELECT count(*) FROM cluster_upload WHERE node_name = :node AND parts <> '[]'")
            return bool(connection.scalar(query, {"node": node}))
    finally:
        engine.dispose()


def read_rows(url: str) -> list[Row]:
    """The index of all recordings, from the database of the cluster."""
    names = ", ".join(("camera_id", "rendition", "node_name", *list(Row.__dataclass_fields__)[3:]))
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [Row(*row) for row in connection.execute(text(f"SELECT {names} FROM cluster_recording"))]
    finally:
        engine.dispose()
