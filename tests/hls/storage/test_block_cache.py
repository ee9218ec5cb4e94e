"""Ranges of objects, in blocks that are read once and kept up to a limit."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hls.storage.block_cache import AWAY_S, BLOCK_BYTES, BlockCache
from hls.storage.errors import ObjectStoreError, StoreFault
from tests.support.manual_clock import ManualClock

CONTENT = bytes(range(256)) * (5 * BLOCK_BYTES // 512)
"""Two blocks and a half."""


def test_any_range_is_read_and_each_block_once() -> None:
    asked: list[tuple[int, int]] = []

    def read(_: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return CONTENT[start:end]

    cache = BlockCache(read, 10 * BLOCK_BYTES)
    for _ in range(2):
        at, data = BLOCK_BYTES - 10, b""
        while piece := cache.read_at("a", BLOCK_BYTES, at + len(data)):
            data += piece
        assert data == CONTENT[at:]
    assert asked == [(n * BLOCK_BYTES, (n + 1) * BLOCK_BYTES) for n in range(3)]
    assert (cache.misses, cache.size, cache.bytes_read) == (3, len(CONTENT), len(CONTENT))
    assert cache.hits > 0
    cache.forget("a")
    assert cache.size == 0


def test_memory_has_a_limit_and_what_was_used_longest_ago_goes_first() -> None:
    asked: list[str] = []

    def read(name: str, start: int, end: int) -> bytes:
        asked.append(name)
        return CONTENT[start:end]

    cache = BlockCache(read, 2 * BLOCK_BYTES)
    for name in "abaca":
        cache.read_at(name, 1, 0)
        assert cache.size <= 2 * BLOCK_BYTES
    assert asked == ["a", "b", "c"], "a was used more recently than b"


def test_threads_that_want_the_same_block_wait_for_one_request() -> None:
    may_answer, requests = threading.Event(), []

    def read(_: str, start: int, end: int) -> bytes:
        requests.append(start)
        may_answer.wait()
        return CONTENT[start:end]

    cache = BlockCache(read, 10 * BLOCK_BYTES)
    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(cache.read_at, "a", 10, 0) for _ in range(4)]
        may_answer.set()
        assert {result.result() for result in results} == {CONTENT[:10]}
    assert requests == [0]


def test_while_the_storage_is_away_few_requests_wait_for_it() -> None:
    clock, requests, is_away = ManualClock(), [], True

    def read(_: str, start: int, end: int) -> bytes:
        requests.append(start)
        if is_away:
            raise ObjectStoreError(StoreFault.AWAY)
        return CONTENT[start:end]

    cache = BlockCache(read, 10 * BLOCK_BYTES, clock)
    for _ in range(5):
        with pytest.raises(ObjectStoreError, match="does not answer"):
            cache.read_at("a", 1, 0)
    assert len(requests) == 1
    is_away = False
    clock.now += AWAY_S
    assert cache.read_at("a", 3, 0) == CONTENT[:3]
