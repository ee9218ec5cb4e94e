"""Few arenas, and free memory returned to the system: measured by glibc and the kernel, in separate processes."""

import subprocess
import sys

import pytest

from web.heap import ARENAS_MAX

pytestmark = pytest.mark.integration

COUNT = """
import ctypes, os, sys, threading

environment = dict(os.environ)
import web.app, web.cli
from web.heap import limit_arenas

assert dict(os.environ) == environment

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
for place in places[:-1]:  # while the last one is in use, glibc returns none of those before it
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


@pytest.mark.parametrize("limit", ["limited", "imported"])
def test_only_the_command_limits_arenas(limit: str) -> None:
    """Importing the modules changes neither malloc nor the environment."""
    told = subprocess.run([sys.executable, "-c", COUNT, limit], capture_output=True, text=True, check=True).stdout
    arenas = told.count("<heap nr=")
    if limit == "limited":
        assert 1 <= arenas <= ARENAS_MAX
    else:
        assert arenas > ARENAS_MAX


def test_free_pages_are_returned_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", HOLES], check=True)
