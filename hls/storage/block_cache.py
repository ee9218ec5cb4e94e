"""BlockCache: ranges of objects, read in blocks of one size, and kept in memory up to a limit.

A player reads an object in many small requests, and several players read the same. Blocks make few larger requests of
them.

Rules:

1. Blocking, and safe to use from several threads. Threads that want the same block wait for one request.
2. The block that was used longest ago goes first, when there are more than ``max_bytes``.
3. While the storage does not answer, requests fail at once for :data:`AWAY_S` after each that failed by itself, so that
   few threads wait for it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from gateway.clock import SYSTEM_CLOCK, Clock
from hls.storage.errors import ObjectStoreError, StoreFault

BLOCK_BYTES = 1024 * 1024
"""Two seconds of 4 Mbit/s: a HLS segment is one to three requests."""

AWAY_S = 2.0

_Key = tuple[str, int]


class BlockCache:
    """See the module. ``read`` returns the bytes [start, end) of an object, or less where it is shorter."""

    def __init__(self, read: Callable[[str, int, int], bytes], max_bytes: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self.hits = 0
        self.misses = 0
        self.bytes_read = 0
        """From the storage."""
        self.size = 0
        """Bytes in memory."""
        self._read = read
        self._max_bytes = max_bytes
        self._clock = clock
        self._blocks: OrderedDict[_Key, bytes] = OrderedDict()
        self._loading: dict[_Key, Future[bytes]] = {}
        self._lock = threading.Lock()
        self._away_until_s = float("-inf")

    def read_at(self, name: str, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes at ``offset`` of an object; less at the end of a block, none at the end of the object.

        Raises :class:`~hls.storage.errors.ObjectStoreError`.
        """
        number, within = divmod(offset, BLOCK_BYTES)
        return self._block((name, number))[within : within + size]

    def forget(self, name: str) -> None:
        """Drop the blocks of an object that is deleted."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == name]:
                self.size -= len(self._blocks.pop(key))

    def _block(self, key: _Key) -> bytes:
        with self._lock:
            if (data := self._blocks.get(key)) is not None:
                self._blocks.move_to_end(key)
                self.hits += 1
                return data
            self.misses += 1
            loading = self._loading.get(key)
            is_mine = loading is None
            if loading is None:
                if self._clock.monotonic() < self._away_until_s:
                    raise ObjectStoreError(StoreFault.AWAY)
                loading = self._loading[key] = Future()
        if is_mine:
            self._load(key, loading)
        return loading.result()

    def _load(self, key: _Key, loading: "Future[bytes]") -> None:
        name, number = key
        try:
            data = self._read(name, number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
                if isinstance(error, ObjectStoreError) and error.fault is StoreFault.AWAY:
                    self._away_until_s = self._clock.monotonic() + AWAY_S
            loading.set_exception(error)
            return
        with self._lock:
            del self._loading[key]
            self.bytes_read += len(data)
            self._blocks[key] = data
            self.size += len(data)
            while self.size > self._max_bytes:
                self.size -= len(self._blocks.popitem(last=False)[1])
        loading.set_result(data)
