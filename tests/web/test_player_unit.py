"""Run the checks of the player: Vitest, and Biome with the TypeScript compiler."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [["test"], ["run", "check"]], ids=["vitest", "check"])
def test_player(arguments: list[str]) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "npm"), "web/player", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
