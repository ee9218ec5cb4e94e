"""MetadataExtractor: what else is to be known of a finished segment.

The index itself knows a segment's times, codecs, size, frames, rates and gaps. Once a segment has ended, its SHA-256 is
added, and the JSON of every extractor. An extractor is any callable of the user's, named in ``ARCHIVE_METADATA`` as
``module:function``::

    def brightness(segment: Segment, path: Path) -> Mapping[str, Any]:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
        return {"brightness": float(frame.to_ndarray(format="gray").mean())}

Rules:

1. Extractors run one after the other in one thread of their own; they may be slow, and hold back nothing but each
   other.
2. One that raises, or gives what is no JSON object or a large one, is logged and noted under ``error``; the rest
   stands.
3. The file is whole and does not change while an extractor runs; retention waits for it.
"""

import asyncio
import hashlib
import importlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from gateway.errors import LiveedgeError, SettingsError
from hls.archive.index import SegmentIndex
from hls.archive.segment import Segment

log = logging.getLogger(__name__)

METADATA_MAX_BYTES = 64 * 1024
"""Of JSON a segment. What is larger belongs into a file or a database of its own."""

HASH_CHUNK_BYTES = 1024 * 1024

BATCH_SIZE = 16
"""Segments taken from the index at once."""

UNREADABLE = ""
"""In place of the SHA-256 of a file that cannot be read, so that it is not tried for ever."""


class MetadataExtractor(Protocol):
    """A callable: a finished segment and its file in, a JSON object out. Blocking is fine."""

    def __call__(self, segment: Segment, path: Path) -> Mapping[str, Any]: ...


def load_extractor(name: str) -> MetadataExtractor:
    """Import ``module:function``. Raises :class:`~gateway.errors.SettingsError`."""
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"ARCHIVE_METADATA: {name!r} cannot be imported ({error}); write module:function") from None
    if not callable(function):
        raise SettingsError(f"ARCHIVE_METADATA: {name!r} is no function")
    extractor: MetadataExtractor = function
    return extractor


def extract(extractors: Sequence[MetadataExtractor], segment: Segment, path: Path) -> dict[str, Any]:
    """The metadata of all extractors, merged in their order; rule 2."""
    metadata: dict[str, Any] = {}
    for extractor in extractors:
        try:
            found = json.loads(json.dumps(dict(extractor(segment, path)), allow_nan=False))
            if len(json.dumps(metadata | found)) > METADATA_MAX_BYTES:
                raise ValueError(f"more than {METADATA_MAX_BYTES} bytes of JSON")
        except Exception as error:
            log.warning("archive: metadata of %s: %s", path, error, exc_info=True)
            metadata["error"] = f"{type(error).__name__}: {error}"[:500]
        else:
            metadata |= found
    return metadata


def sha256_of(path: Path, stop: threading.Event) -> str | None:
    """The file's SHA-256 in hexadecimal; ``None`` once told to stop. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            if stop.is_set():
                return None
            digest.update(chunk)
    return digest.hexdigest()


class PostProcessor:
    """Adds hash and metadata to segments that have ended. Lives on the event loop."""

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        extractors: Sequence[MetadataExtractor],
        pin: Callable[[Segment], AbstractContextManager[None]],
    ) -> None:
        self._data_dir = data_dir
        self._index = index
        self._extractors = extractors
        self._pin = pin
        self._wanted = asyncio.Event()
        self._stop = threading.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="archive-metadata")

    def wake(self) -> None:
        """A segment has ended."""
        self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled; begins with what the last life left undone."""
        try:
            while True:
                self._wanted.clear()
                try:
                    while segments := await self._index.without_hash(BATCH_SIZE):
                        for segment in segments:
                            await self._finish(segment)
                except LiveedgeError as error:
                    log.warning("archive: metadata waits: %s", error)
                await self._wanted.wait()
        finally:
            self._stop.set()
            self._executor.shutdown(wait=False)

    async def _finish(self, segment: Segment) -> None:
        loop = asyncio.get_running_loop()
        with self._pin(segment):
            finished = await loop.run_in_executor(self._executor, self._work, segment)
        if finished is not None:
            await self._index.set_metadata(finished)

    def _work(self, segment: Segment) -> Segment | None:
        path = segment.path(self._data_dir)
        try:
            digest = sha256_of(path, self._stop)
        except OSError as error:
            log.warning("archive: %s cannot be read: %s", path, error.strerror)
            return replace(segment, sha256=UNREADABLE)
        if digest is None:
            return None
        return replace(segment, sha256=digest, metadata=extract(self._extractors, segment, path))
