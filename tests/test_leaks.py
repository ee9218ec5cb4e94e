"""What a test leaves behind fails that test: errors that asyncio only logs, and what the garbage collector finds."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

EXAMPLES = """
import asyncio
import socket

import pytest

pytestmark = pytest.mark.unit

async def fail():
    raise ValueError("a fault")

class Cycle:
    def __init__(self):
        self.cycle = self
        self.socket = socket.socket()

@pytest.fixture(scope="module")
def of_the_module():
    yield Cycle()

async def test_callback():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)

async def test_task():
    asyncio.create_task(fail())
    await asyncio.sleep(0)

async def test_awaited():
    with pytest.raises(ValueError):
        await asyncio.create_task(fail())

def test_cycle():
    Cycle()

def test_after_a_cycle(of_the_module):
    pass

def test_last_of_the_module(of_the_module):
    pass
"""

NEXT = """
import pytest

@pytest.mark.unit
def test_of_the_next_module():
    pass
"""


def test_what_a_test_leaves_behind_fails_it(tmp_path: Path) -> None:
    files = [tmp_path / "test_examples.py", tmp_path / "test_next.py"]
    for file, code in zip(files, (EXAMPLES, NEXT), strict=True):
        file.write_text(code)
    options = ["-q", "-c", "pyproject.toml", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    # The socket of the module's fixture is found by the first test that runs after the module.
    failed = re.findall(r"^ERROR .*::(\w+)", done.stdout, re.MULTILINE)
    assert failed == ["test_callback", "test_task", "test_cycle", "test_of_the_next_module"], done.stdout
    for error in ("ZeroDivisionError", "ValueError: a fault", "unclosed <socket.socket"):
        assert error in done.stdout, done.stdout
