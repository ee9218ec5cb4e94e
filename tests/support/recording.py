"""Record encoded packets as segments, without an event loop. As a program: a recorder that a test kills.

``python tests/support/recording.py DATA_DIR`` records in real time, and prints the capture time of each frame after
writing it.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.media import Packet
from hls.archive.fragment import Fragment
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import Recording, SequenceNumbers
from hls.archive.segment import EndReason, Segment, SegmentWithFragments
from hls.archive.table import SegmentTable
from hls.parts.part import PartSamples
from hls.parts.source import RecordedParts
from hls.settings import FsyncMode
from tests.support.sources.encoded import EncoderSettings, encode


def record(
    data_dir: Path,
    packets: Sequence[Packet],
    camera_id: str = "door",
    segment_s: int = 600,
    numbers: SequenceNumbers | None = None,
    *,
    finish: bool = True,
    rendition: RenditionName = RenditionName.MAIN,
) -> list[SegmentWithFragments]:
    """Write packets as a recorder does. Return all segments; with ``finish=False`` the last one still grows."""
    recording = Recording(camera_id, data_dir, segment_s, FsyncMode.NEVER, rendition=rendition)
    recording.numbers = numbers or SequenceNumbers()
    progress = recording.write([QueuedPart(part) for part in parts_of(packets, finish=finish)])
    assert progress.error is None
    recordings = list(progress.closed)
    if finish:
        return [*recordings, *recording.finish(EndReason.STOPPED).closed]
    return [*recordings, progress.growing] if progress.growing else recordings


def parts_of(packets: Sequence[Packet], *, finish: bool = True) -> list[PartSamples]:
    """The parts of packets, with ``finish`` to the last frame."""
    parts: list[PartSamples] = []
    source = RecordedParts()
    source.attach(parts.append, (), 0.0)
    for packet in packets:
        source.feed(packet, packet.dts_90k / CLOCK_RATE)
    if finish:
        source.end_run()
    return parts


def index_of(data_dir: Path, recordings: Sequence[tuple[Segment, tuple[Fragment, ...]]] = ()) -> SegmentTable:
    """An open index with these segments."""
    data_dir.mkdir(parents=True, exist_ok=True)
    index = SegmentTable(data_dir)
    index.open()
    for segment, fragments in recordings:
        index.save(segment, fragments)
    return index


def _record_for_ever(data_dir: Path) -> None:
    index = index_of(data_dir)
    recording = Recording("door", data_dir, 2, FsyncMode.ALWAYS)
    packets = encode(EncoderSettings(seconds=10, fps=25, gop=50))
    source, parts = RecordedParts(), list[PartSamples]()
    source.attach(parts.append, (), 0.0)
    began = time.monotonic()
    for packet in packets:
        time.sleep(max(0.0, began + packet.dts_90k / 90_000 - time.monotonic()))
        source.feed(packet, time.monotonic())
        progress = recording.write([QueuedPart(part) for part in parts])
        parts.clear()
        for segment, fragments in [*progress.closed, *([progress.growing] if progress.growing else [])]:
            index.save(segment, fragments)
        print(packet.captured_at_90k, flush=True)


if __name__ == "__main__":
    _record_for_ever(Path(sys.argv[1]))
