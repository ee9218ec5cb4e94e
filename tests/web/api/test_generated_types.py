"""The player's generated TypeScript types match the API documents."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def test_the_generated_types_are_current(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "generate-types"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
