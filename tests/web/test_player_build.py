"""The build of the player: what the wheel has, no needless rebuild, and one sentence if the build is not possible."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

FIRST_SCREEN_MAX_BYTES = 200_000


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The parts of a checkout that the build needs, with the npm packages of this one."""
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("node_modules", "player*.js", "player*.gz", "player.stamp", "__pycache__")
    for name in ("gateway", "signaling", "hls", "web", "compiled"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    (root / "web" / "player" / "node_modules").symlink_to(ROOT / "web" / "player" / "node_modules")
    return root


def build(root: Path, *targets: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run hatchling in this environment, which has what the build hook requires. No module is compiled."""
    command = [sys.executable, "-m", "hatchling", "build", *targets]
    env = {**os.environ, "LIVEEDGE_COMPILE": "no", **environment}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def test_wheel_has_the_player_and_not_its_sources(checkout: Path) -> None:
    done = build(checkout, "-t", "wheel")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (checkout / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "web/static/player.js",
        "web/static/player.js.gz",
        "web/static/player-page.js",
        "web/static/index.html",
    } <= names
    assert not [name for name in names if name.startswith("web/player/") or "node_modules" in name]

    static = checkout / "web" / "static"
    player = (static / "player.js").read_text()
    assert gzip.decompress((static / "player.js.gz").read_bytes()).decode() == player
    # It is self-contained: every import is dynamic.
    assert not re.findall(r'^import[^(]|\bfrom"', player, re.MULTILINE)
    first_screen = ("index.html", "page.css", "icon.svg", "player.js", "player-page.js")
    assert sum(len(gzip.compress((static / name).read_bytes())) for name in first_screen) < FIRST_SCREEN_MAX_BYTES

    # Without a change nothing is built, and Node is not required.
    built = (static / "player.js").stat().st_mtime_ns
    assert build(checkout, "-t", "wheel").returncode == 0
    assert (static / "player.js").stat().st_mtime_ns == built
    entry = checkout / "web" / "player" / "src" / "player.ts"
    entry.write_text(entry.read_text() + 'console.debug("another");\n')
    assert build(checkout, "-t", "wheel").returncode == 0
    assert "another" in (static / "player.js").read_text()


def test_impossible_build_fails_with_one_sentence(checkout: Path) -> None:
    (checkout / "web" / "player" / "node_modules").unlink()
    unreachable = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    done = build(checkout, "-t", "wheel", npm_config_cache=str(checkout / "cache"), **unreachable)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("liveedge: ")]
    assert len(sentences) == 1, done.stderr
    assert "npm" in sentences[0]


def test_lock_file_names_no_registry() -> None:
    lock = json.loads((ROOT / "web" / "player" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_page_loads_nothing_from_other_hosts() -> None:
    for name in ("index.html", "page.css"):
        text = (ROOT / "web" / "static" / name).read_text()
        assert not re.findall(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}/", text), name
