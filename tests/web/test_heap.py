"""The heap stays together: counted by glibc itself, in a process of its own."""

import subprocess
import sys

import pytest

from web.heap import ARENAS_MAX

COUNT = """
import ctypes, re, sys, threading
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
libc.fflush.argtypes = libc.fclose.argtypes = [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
told = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, told)
libc.fclose(told)
"""


@pytest.mark.parametrize("limit", ["limited", "as it is"])
def test_threads_share_few_arenas(limit: str) -> None:
    told = subprocess.run([sys.executable, "-c", COUNT, limit], capture_output=True, text=True, check=True).stdout
    arenas = told.count("<heap nr=")
    if limit == "limited":
        assert 1 <= arenas <= ARENAS_MAX
    else:
        assert arenas > ARENAS_MAX
