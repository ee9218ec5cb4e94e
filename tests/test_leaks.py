"""An error that asyncio only logs fails the test in which it occurs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAD = """
import asyncio
import pytest

pytestmark = pytest.mark.unit

async def fail():
    raise ValueError("a fault")

"""

CALLBACK = """
async def test():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
"""

TASK = """
async def test():
    asyncio.create_task(fail())
    await asyncio.sleep(0)
"""

AWAITED = """
async def test():
    with pytest.raises(ValueError):
        await asyncio.create_task(fail())
"""


@pytest.mark.parametrize(
    ("code", "error"),
    [(CALLBACK, "ZeroDivisionError"), (TASK, "ValueError: a fault"), (AWAITED, None)],
    ids=["callback", "task", "awaited"],
)
def test_an_error_that_asyncio_logs_fails_the_test(tmp_path: Path, code: str, error: str | None) -> None:
    file = tmp_path / "test_example.py"
    file.write_text(HEAD + code)
    options = ["-q", "-c", "pyproject.toml", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if error is None:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
    else:
        assert done.returncode == 1, done.stdout + done.stderr
        assert "asyncio logged errors" in done.stdout
        assert error in done.stdout
