"""PostProcessor: add the SHA-256 and the metadata of extractors to finished segments.

The index has a segment's times, codecs, size, frames, rates and gaps from the beginning. When a segment has ended, its
SHA-256 is added, and the JSON of every extractor. An extractor is a callable of the user, named in
``ARCHIVE_METADATA`` as ``module:function``::

    def brightness(segment: Segment, path: Path) -> Mapping[str, Any]:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
        return {"brightness": float(frame.to_ndarray(format="gray").mean())}

Rules:

1. Extractors run one after the other in their own thread. A slow one delays only the other extractors.
2. If one raises, or returns something else than a JSON object of limited size, this is logged and stored under
   ``error``. The results of the others stay.
3. The file is complete and does not change while an extractor runs; retention waits for it.
"""

import asyncio
import hashlib
import importlib
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
"""JSON per segment. Larger data belongs in a file or a database."""

HASH_CHUNK_BYTES = 1024 * 1024

BATCH_SIZE = 16
"""Segments taken from the index at once."""

UNREADABLE = ""
"""In place of the SHA-256 of a file that cannot be read, so that it is not tried again and again."""


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
        raise SettingsError(f"ARCHIVE_METADATA: {name!r} is not a function")
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
    """The file's SHA-256 in hexadecimal; ``None`` after ``stop`` is set. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            if stop.is_set():
                return None
            digest.update(chunk)
    return digest.hexdigest()


class PostProcessor:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        data_dir: Path,
        index: SegmentIndex,
        extractors: Sequence[MetadataExtractor],
        pin: Callable[[Segment], AbstractContextManager[None]],
    ) -> None:
        self.on_finished: list[Callable[[Segment], Awaitable[None]]] = []
        """Called with each finished segment, its SHA-256 and metadata included, before they are in the index: after a
        crash in between, with the same segment again."""
        self.on_hashed: list[Callable[[], None]] = []
        """Called after the hash of a segment was written to the index."""
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
        """Process segments until cancelled, beginning with those that the last run left."""
        try:
            while True:
                self._wanted.clear()
                try:
                    while segments := await self._index.without_hash(BATCH_SIZE):
                        for segment in segments:
                            await self._process(segment)
                except LiveedgeError as error:
                    log.warning("archive: metadata is delayed: %s", error)
                await self._wanted.wait()
        finally:
            self._stop.set()
            self._executor.shutdown(wait=False)

    async def _process(self, segment: Segment) -> None:
        loop = asyncio.get_running_loop()
        with self._pin(segment):
            finished = await loop.run_in_executor(self._executor, self._work, segment)
        if finished is not None:
            for listener in self.on_finished:
                await listener(finished)
            await self._index.set_metadata(finished)
            for on_hashed in self.on_hashed:
                on_hashed()

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
