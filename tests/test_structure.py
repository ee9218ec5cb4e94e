"""The structure: imports point one way between packages and inside them, and README's library example works."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.rtsp import RtspServer

ROOT = Path(__file__).parents[1]

PACKAGES = {
    "gateway": {"gateway"},
    "hls": {"hls", "gateway"},
    "signaling": {"signaling", "gateway"},
    "web": {"web", "signaling", "hls", "gateway"},
}
"""What each package may import."""

FOLDERS = {
    "gateway": {
        "config": {"gateway"},
        "codec": {"gateway"},
        "rtsp": {"gateway", "codec"},
        "capture": {"gateway", "codec", "rtsp"},
        "jpeg": {"gateway", "codec"},
        "webrtc": {"gateway", "codec", "webrtc.sdp", "webrtc.ice", "webrtc.rtp"},
        # Of the modules directly in webrtc only compat and transport: tests/gateway/webrtc/test_imports.py.
        "webrtc.sdp": {"gateway", "codec", "webrtc"},
        "webrtc.rtp": {"gateway", "codec", "webrtc"},
        "webrtc.ice": {"gateway", "webrtc"},
    },
    "hls": {
        "mp4": {"hls"},
        "live": {"hls", "mp4"},
        "archive": {"hls", "mp4"},
        "playback": {"hls", "mp4", "archive"},
    },
    "web": {
        "auth": {"web"},
        "middleware": {"web", "auth"},
        "observability": {"web", "auth"},
        "api": {"web", "auth", "observability"},
        "player": set(),
    },
}
"""What the modules of a folder may import from the other folders of their package.

The package's own name stands for the modules directly in it. These compose the folders, and may import all of them.
"""

KNOWN_ARROWS: set[str] = set()
"""Imports that break :data:`FOLDERS` today and are to be removed. Delete a line here when its import is gone."""

KNOWN_CYCLES: set[str] = set()
"""Import cycles of today that are to be removed, their modules sorted. Delete a line here when its cycle is gone."""


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the packages, by dotted name; a package's ``__init__`` has the package's."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(path: Path) -> Iterator[str]:
    """The dotted names that a module imports anywhere: at its top, in functions, and under ``TYPE_CHECKING``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports here are absolute"
            for alias in node.names:
                # A name may be a module of the package, or something that the package's module defines.
                name = f"{node.module}.{alias.name}"
                yield name if name in modules() else node.module or ""


@cache
def import_graph() -> Mapping[str, set[str]]:
    """The modules that each module imports."""
    return {
        name: {other for other in imported_names(path) if other in modules() and other != name}
        for name, path in modules().items()
    }


def find_cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                cycles.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(cycles)


def folder_of(module: str) -> str:
    """The folder of a module, as :data:`FOLDERS` names it with its package; the package for modules directly in it."""
    package, *rest = module.split(".")
    path = modules()[module]
    names = rest if path.name == "__init__.py" else rest[:-1]
    while names and ".".join(names) not in FOLDERS.get(package, {}):
        names = names[:-1]
    return ".".join([package, *names])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_the_packages_below_them(package: str) -> None:
    paths = [path for name, path in modules().items() if name.partition(".")[0] == package]
    assert paths
    for path in paths:
        for name in imported_names(path):
            top = name.partition(".")[0]
            assert top not in PACKAGES or top in PACKAGES[package], f"{path.relative_to(ROOT)} imports {name}"


def test_folders_import_only_what_the_table_permits() -> None:
    broken: dict[str, list[str]] = {}
    for module, others in import_graph().items():
        folder = folder_of(module)
        package, _, inner = folder.partition(".")
        if not inner:
            continue
        permitted = {package if name == package else f"{package}.{name}" for name in FOLDERS[package][inner]}
        for other in others:
            target = folder_of(other)
            if target.partition(".")[0] == package and target not in {*permitted, folder}:
                broken.setdefault(f"{folder} -> {target}", []).append(f"{module} imports {other}")
    unexpected = {arrow: imports for arrow, imports in broken.items() if arrow not in KNOWN_ARROWS}
    assert not unexpected
    assert broken.keys() >= KNOWN_ARROWS, "an import of KNOWN_ARROWS is gone: delete its line"


def test_every_folder_with_modules_is_in_the_table() -> None:
    for package, folders in FOLDERS.items():
        for path in (ROOT / package).iterdir():
            if any(path.glob("*.py")):
                assert path.name in folders, f"{package}/{path.name} is missing in FOLDERS"


def test_no_import_cycles() -> None:
    cycles = {" -> ".join(cycle) for cycle in find_cycles(import_graph())}
    assert cycles <= KNOWN_CYCLES
    assert cycles >= KNOWN_CYCLES, "a cycle of KNOWN_CYCLES is gone: delete its line"


def test_cycles_are_found_in_a_graph_that_has_them() -> None:
    chain = {before: {after} for before, after in pairwise("abcd")}
    assert find_cycles(chain) == []
    assert find_cycles({**chain, "d": {"b"}}) == [["b", "c", "d"]]
    assert find_cycles({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c", "a"}}) == [["a", "b"], ["c", "d"]]


def test_gateway_is_imported_without_web_socketio_or_sql() -> None:
    code = "import sys, gateway; print([n for n in ('aiohttp', 'socketio', 'sqlalchemy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_readmes_ten_lines_print_frames_of_a_real_camera(tmp_path: Path, rtsp_server: RtspServer) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    code = code.replace("rtsp://user:password@192.0.2.7/stream1", rtsp_server.url("cam")).replace(
        "sleep(10)", "sleep(4)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    frames = re.findall(r"^\d+ (\d+) bytes of JPEG$", done.stdout, re.MULTILINE)
    assert len(frames) > 3, done.stdout
    assert min(map(int, frames)) > 1000
    assert "SessionState.LIVE" in done.stdout
    assert not done.stderr
