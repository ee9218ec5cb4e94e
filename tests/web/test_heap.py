"""The heap stays together, and what is free goes back: told by glibc and the kernel, of processes of their own."""

import subprocess
import sys

import pytest

from web.heap import ARENAS_MAX

COUNT = """
import ctypes, sys, threading
from web.heap import limit_arenas

if sys.argv[1] == "limited":
    assert limit_arenas()

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(16)

def allocate():
    together.wait()
    for _ in range(20_000):
        libc.free(ctypes.c_void_p(libc.malloc(2000)))

threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fclose.argtypes = [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
told = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, told)
libc.fclose(told)
"""

HOLES = """
import asyncio, ctypes
from pathlib import Path
from web.heap import keep_trimmed

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

places = []
for number in range(2000):
    places.append(libc.malloc(50_000))
    ctypes.memset(ctypes.c_void_p(places[-1]), 1, 50_000)
for place in places[:-1]:  # the last one keeps all before it from being given back by itself
    libc.free(ctypes.c_void_p(place))
before = resident()

async def main():
    trimming = asyncio.create_task(keep_trimmed(0.01))
    while resident() > before - 90_000_000:
        assert not trimming.done()
        await asyncio.sleep(0.01)
    trimming.cancel()

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.mark.parametrize("limit", ["limited", "as it is"])
def test_threads_share_few_arenas(limit: str) -> None:
    told = subprocess.run([sys.executable, "-c", COUNT, limit], capture_output=True, text=True, check=True).stdout
    arenas = told.count("<heap nr=")
    if limit == "limited":
        assert 1 <= arenas <= ARENAS_MAX
    else:
        assert arenas > ARENAS_MAX


def test_free_pages_go_back_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", HOLES], check=True)
