"""The player's build: into wheel and editable installation, once, and with one sentence where it cannot be."""

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
    """What a build needs of a checkout, with the npm packages that are here already."""
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("node_modules", "player*.js", "player*.gz", "player.stamp", "__pycache__")
    for name in ("gateway", "signaling", "hls", "web"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    (root / "web" / "player" / "node_modules").symlink_to(ROOT / "web" / "player" / "node_modules")
    return root


def build(root: Path, *targets: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Hatchling in this environment, which has what the hook asks for."""
    command = [sys.executable, "-m", "hatchling", "build", *targets]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def test_the_wheel_carries_the_player_and_not_its_sources(checkout: Path) -> None:
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
    # Whole in itself: what it imports, it imports when it is needed.
    assert not re.findall(r'^import[^(]|\bfrom"', player, re.MULTILINE)
    first_screen = ("index.html", "page.css", "icon.svg", "player.js", "player-page.js")
    assert sum(len(gzip.compress((static / name).read_bytes())) for name in first_screen) < FIRST_SCREEN_MAX_BYTES

    # Nothing changed: nothing is built, and Node is not asked for.
    built = (static / "player.js").stat().st_mtime_ns
    assert build(checkout, "-t", "wheel").returncode == 0
    assert (static / "player.js").stat().st_mtime_ns == built
    entry = checkout / "web" / "player" / "src" / "player.ts"
    entry.write_text(entry.read_text() + 'console.debug("another");\n')
    assert build(checkout, "-t", "wheel").returncode == 0
    assert "another" in (static / "player.js").read_text()


def test_a_build_that_cannot_be_is_one_sentence(checkout: Path) -> None:
    (checkout / "web" / "player" / "node_modules").unlink()
    nowhere = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    done = build(checkout, "-t", "wheel", npm_config_cache=str(checkout / "cache"), **nowhere)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("liveedge: ")]
    assert len(sentences) == 1, done.stderr
    assert "npm" in sentences[0]


def test_no_registry_is_named() -> None:
    lock = json.loads((ROOT / "web" / "player" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_no_asset_of_the_page_is_anybody_elses() -> None:
    for name in ("index.html", "page.css"):
        text = (ROOT / "web" / "static" / name).read_text()
        assert not re.findall(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}/", text), name
