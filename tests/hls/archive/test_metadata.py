"""Hash and metadata of finished segments."""

import asyncio
import hashlib
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest

from gateway.errors import SettingsError
from hls.archive.index import SegmentIndex
from hls.archive.metadata import METADATA_MAX_BYTES, PostProcessor, extract, load_extractor, sha256_of
from hls.archive.segment import Segment
from tests.support.eventually import eventually
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode


async def all_are_hashed(index: SegmentIndex) -> bool:
    """Whether no segment waits for its hash."""
    return not await index.without_hash(10)


def brightness(segment: Segment, path: Path) -> Mapping[str, Any]:
    """The example of the documentation."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    return {"brightness": round(float(frame.to_ndarray(format="gray").mean()))}


def broken(segment: Segment, path: Path) -> Mapping[str, Any]:
    raise RuntimeError("it does not work")


def large(segment: Segment, path: Path) -> Mapping[str, Any]:
    return {"text": "x" * METADATA_MAX_BYTES}


def no_json(segment: Segment, path: Path) -> Mapping[str, Any]:
    return {"path": path}


async def test_finished_segments_get_hash_and_metadata_once(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=4)), segment_s=2)
    index = SegmentIndex(tmp_path)
    await index.open()
    for whole in recordings:
        await index.save(*whole)
    calls: list[str] = []

    def counting(segment: Segment, path: Path) -> Mapping[str, Any]:
        calls.append(segment.name)
        return {"frames": segment.frames}

    post_processor = PostProcessor(tmp_path, index, [counting, brightness], lambda segment: nullcontext())
    task = asyncio.create_task(post_processor.run())
    await eventually(partial(all_are_hashed, index), "all files are hashed")
    segments = await index.page("door", None, None, 10)
    for segment in segments:
        assert segment.sha256 == hashlib.sha256(segment.path(tmp_path).read_bytes()).hexdigest()
    assert [segment.metadata for segment in segments] == [
        {"frames": 20, "brightness": 5},
        {"frames": 20, "brightness": pytest.approx(28, abs=2)},
    ]
    post_processor.wake()
    task.cancel()
    await asyncio.wait([task])
    assert sorted(calls) == [segment.name for segment in segments]
    await index.close()


async def test_a_missing_file_is_not_tried_again(tmp_path: Path) -> None:
    [whole] = record(tmp_path, encode())
    index = SegmentIndex(tmp_path)
    await index.open()
    await index.save(*whole)
    whole[0].path(tmp_path).unlink()
    task = asyncio.create_task(PostProcessor(tmp_path, index, [], lambda segment: nullcontext()).run())
    await eventually(partial(all_are_hashed, index), "all files are hashed")
    task.cancel()
    await asyncio.wait([task])
    await index.close()


@pytest.mark.parametrize(
    ("extractor", "error"),
    [(broken, "RuntimeError: it does not work"), (large, "more than 65536 bytes"), (no_json, "TypeError")],
)
def test_a_failing_extractor_is_reported_and_the_others_count(tmp_path: Path, extractor: Any, error: str) -> None:
    [(segment, _)] = record(tmp_path, encode())
    metadata = extract([extractor, brightness], segment, segment.path(tmp_path))
    assert error in metadata["error"]
    assert "brightness" in metadata


def test_a_hash_stops_on_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    stop = threading.Event()
    stop.set()
    assert sha256_of(tmp_path / "file", stop) is None


def test_extractors_are_loaded_by_name() -> None:
    assert load_extractor("json:dumps").__name__ == "dumps"  # type: ignore[attr-defined]
    for name in ("json", "json:nothing", "no.such.module:f", ":", "json:__name__", ""):
        with pytest.raises(SettingsError, match="ARCHIVE_METADATA"):
            load_extractor(name)
