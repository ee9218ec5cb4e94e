"""Measure queries of a year: list, look-up by time and DVR playlist over 52,560 segments of one camera.

    make bench NAME=index ARGS='[--segments 52560] [--calls 300]'

Goal: p99 of each at most 20 ms of wall clock. The CPU of a call, all threads together, is beside it: on a busy machine
the wall clock depends on other processes. The playlist covers an hour, about what a user scrubs in.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import insert, text

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.service import CaptureService
from hls.archive import schema
from hls.archive.fragment import Fragment, pack_fragments
from hls.archive.hls_segments import hls_segments, pack_hls
from hls.archive.segment import EndReason, Segment, SegmentState, segment_name
from hls.archive.segment_queries import to_row
from hls.archive.service import Archive
from hls.archive.table import SegmentTable
from hls.playback.playlists import PlaylistRequest
from hls.playback.reader import ArchiveReader
from web.settings import load_settings

GOAL_MS = 20.0
YEAR_90K = 1_767_225_600 * CLOCK_RATE
"""2026-01-01T00:00:00Z."""
SEGMENT_90K = 600 * CLOCK_RATE
FRAGMENTS = 1200


def fill(table: SegmentTable, count: int) -> None:
    """``count`` ten-minute segments with a fragment every half second and a keyframe every two."""
    fragments = tuple(
        Fragment(1300 + number * 125_000, 125_000, number * 45_000, 45_000, 12, number % 4 == 0)
        for number in range(FRAGMENTS)
    )
    lists = {
        "packed": pack_fragments(fragments),
        "packed_hls": pack_hls(hls_segments(fragments, is_complete=True)),
    }
    with table.transaction() as connection:
        for first in range(0, count, 1000):
            rows = []
            for number in range(first, min(count, first + 1000)):
                start_90k = YEAR_90K + number * SEGMENT_90K
                segment = Segment(
                    camera_id="door",
                    name=segment_name(start_90k),
                    state=SegmentState.CLOSED,
                    start_90k=start_90k,
                    duration_90k=SEGMENT_90K,
                    size=150_001_300,
                    codec="h264",
                    codec_string="avc1.640028",
                    width=1920,
                    height=1080,
                    head=bytes(72),
                    init_size=1300,
                    init_id="0123456789abcdef-3f2",
                    continues=True,
                    end_reason=EndReason.BOUNDARY,
                    frames=14_400,
                    sequence=number * 150,
                    hls_segments=150,
                    discontinuities=number,
                    sha256="ab" * 32,
                )
                rows.append({"id": number + 1, **to_row(segment)})
            connection.execute(insert(schema.segment), rows)
            connection.execute(insert(schema.fragment_list), [{"segment_id": row["id"], **lists} for row in rows])


async def measure(name: str, calls: int, call: Callable[[int], Awaitable[object]], until_90k: int) -> None:
    """Time ``call`` at random moments; print percentiles of the wall clock, and the mean CPU of a call."""
    moments = random.Random(1)
    times_ms: list[float] = []
    cpu_s = time.process_time()
    for _ in range(calls):
        at_90k = moments.randrange(YEAR_90K, until_90k - 7 * SEGMENT_90K)
        began = time.perf_counter()
        await call(at_90k)
        times_ms.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - cpu_s) * 1000 / calls
    times_ms.sort()
    middle, late = times_ms[calls // 2], times_ms[calls * 99 // 100]
    verdict = "goal met" if late <= GOAL_MS else f"goal of {GOAL_MS:.0f} ms missed"
    print(
        f"{name:22} CPU {cpu_ms:5.2f} ms   p50 {middle:6.2f} ms   p99 {late:6.2f} ms   max {times_ms[-1]:6.2f} ms"
        f"   {verdict}",
        flush=True,
    )


async def run(data_dir: Path, count: int, calls: int) -> None:
    settings = load_settings(data_dir=data_dir, cameras={"yard": {"url": "rtsp://127.0.0.1:9/yard"}}, start="on-demand")
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    reader = ArchiveReader(archive, archive.service)
    # Not started: no file of this archive exists, and recovery would report that.
    await archive.index.open()
    began = time.perf_counter()
    fill(archive.index.table, count)
    with archive.index.table.transaction() as connection:
        # The pages alone: after one large transaction the write-ahead log is as large again for a while.
        size = (
            connection.scalar(text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")) or 0
        )
    print(f"{count} segments written in {time.perf_counter() - began:.1f} s, index of {size / 1e6:.0f} MB", flush=True)
    until_90k = YEAR_90K + count * SEGMENT_90K
    hour_90k = 3600 * CLOCK_RATE

    async def list_page(at_90k: int) -> object:
        return await reader.segments.page("door", at_90k, None, 100)

    async def look_up(at_90k: int) -> object:
        return await reader.segments.at("door", at_90k)

    async def play(at_90k: int) -> object:
        return await reader.playlist(
            PlaylistRequest("door", at_90k, at_90k + hour_90k, RenditionName.MAIN), "../../archive/"
        )

    await measure("list, 100 segments", calls, list_page, until_90k)
    await measure("at", calls, look_up, until_90k)
    await measure("dvr.m3u8 of an hour", calls, play, until_90k)
    await archive.close()
    reader.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=52_560)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), options.segments, options.calls))


if __name__ == "__main__":
    main()
