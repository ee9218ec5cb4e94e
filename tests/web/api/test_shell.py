"""The shell of the page: what the service worker keeps, and when it is another one."""

import json
import shutil
from pathlib import Path

import pytest

from web.api.shell import service_worker_text, shell_files

FILES = {
    "player-page.js": """import"./player.js";import{a}from"./player-shared-abcdefgh.js";
        const b=()=>import("./player-late.js")""",
    "player.js": "export {}",
    "player-shared-abcdefgh.js": 'export * from "./player.js"',
    "player-late.js": "export {}",
    "player-service-worker.js": "worker()",
}


@pytest.fixture
def static(tmp_path: Path) -> Path:
    source = Path(__file__).parents[3] / "web" / "static"
    for name in ("index.html", "page.css", "icon.svg", "icon-trouble.svg", "icon-192.png", "manifest.webmanifest"):
        shutil.copy(source / name, tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_shell_has_what_is_loaded_first(static: Path) -> None:
    names = shell_files(static)
    assert names[0] == "index.html"
    assert {"player-page.js", "player.js", "player-shared-abcdefgh.js", "page.css"} <= set(names)
    assert "player-late.js" not in names


def test_a_change_of_any_file_is_another_service_worker(static: Path) -> None:
    text, version = service_worker_text(static)
    shell = json.loads(text.partition("self.SHELL = ")[2].partition(";\n")[0])
    assert shell["version"] == version
    assert shell["files"][0] == ""
    assert "static/player.js" in shell["files"]
    assert text.endswith("worker()")
    assert service_worker_text(static) == (text, version)
    versions = {version}
    for name in ("index.html", "icon-192.png", "player-shared-abcdefgh.js", "player-service-worker.js"):
        (static / name).write_bytes((static / name).read_bytes() + b"\n")
        versions.add(service_worker_text(static)[1])
    assert len(versions) == 5
