"""The structure: imports point one way between packages and inside them, and README's library example works."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePath

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

FOLDERS: dict[str, dict[str, set[str]]] = {
    "gateway": {
        "config": {"errors"},
        "codec": {"clock", "errors", "media"},
        "rtsp": {"clock", "media", "codec", "rtsp.depacketize", "rtsp.packetize"},
        "rtsp.depacketize": {"codec"},
        "rtsp.packetize": {"media", "codec"},
        "capture": {"clock", "errors", "media", "tcp_backlog", "codec", "rtsp", "rtsp.depacketize"},
        "capture.engines": {"clock", "errors", "media", "codec", "rtsp", "rtsp.depacketize", "capture"},
        "detect": {"errors", "media", "jpeg"},
        "jpeg": {"clock", "errors", "hub", "media", "codec"},
        "transcode": {
            *(
                "backoff",
                "child_environment",
                "clock",
                "errors",
                "hold",
                "hub",
                "media",
                "rendition",
                "status",
                "codec",
            ),
        },
        "webrtc": {
            *("camera", "camera_settings", "client_address", "clock", "errors", "hold", "hub", "latency", "media"),
            *("rendition", "run_timeline", "session", "transcode"),
            *("codec", "rtsp", "rtsp.packetize", "webrtc.sdp", "webrtc.ice", "webrtc.rtp", "webrtc.bandwidth"),
        },
        "rtsp_server": {
            *("camera_settings", "camera_table", "client_address", "clock", "errors", "hold", "media", "rendition"),
            *("run_timeline", "service", "tcp_server", "capture", "rtsp", "rtsp.packetize"),
        },
        "onvif": {"errors", "rtsp"},
        "forward": {
            *("backoff", "camera", "child_environment", "clock", "errors", "hub", "media", "rendition"),
            *("capture", "codec", "webrtc", "webrtc.sdp"),
        },
        "whip": {
            *("camera", "camera_settings", "clock", "errors", "rendition", "capture", "rtsp"),
            *("webrtc", "webrtc.sdp", "webrtc.rtp"),
        },
        "talk": {
            *("camera", "camera_settings", "clock", "errors", "media"),
            *("capture", "codec", "rtsp", "rtsp.packetize", "webrtc", "webrtc.sdp", "webrtc.rtp", "whip"),
        },
        "cluster": {"errors"},
        "webrtc.bandwidth": set(),
        # Of the modules directly in webrtc only compat and transport: tests/gateway/webrtc/test_imports.py.
        "webrtc.sdp": {"clock", "errors", "media", "codec", "webrtc"},
        "webrtc.rtp": {"clock", "errors", "media", "codec", "webrtc"},
        "webrtc.ice": {"clock", "errors", "tcp_server", "webrtc"},
    },
    "hls": {
        "mp4": {"settings"},
        "parts": {"settings", "mp4"},
        "live": {"settings", "stream_inf", "mp4", "parts"},
        "storage": {"settings"},
        "archive": {"settings", "mp4", "parts", "storage"},
        "playback": {"settings", "stream_inf", "mp4", "archive"},
        "events": {"settings", "archive"},
        "evidence": {"settings", "mp4", "archive", "playback", "events"},
        "cluster": {"archive"},
    },
    "signaling": {},
    "web": {
        "auth": {"settings", "private_files"},
        "middleware": {"settings", "auth", "descriptors"},
        "cluster": {"settings", "auth"},
        "workers": {
            *("settings", "announcement", "auth", "cluster", "descriptors", "listen_error", "private_files"),
            *("socket_activation", "polled_answer"),
        },
        "observability": {"settings", "gateway", "auth"},
        "observability.metrics": {
            "settings",
            "gateway",
            "auth",
            "observability",
            "webhooks",
            "push",
            "mqtt",
            "onvif",
            "cluster",
            "cluster_node",
        },
        "mqtt": {"settings", "gateway", "api", "observability"},
        "webhooks": {"settings", "gateway", "address_policy", "api", "checked_resolver", "observability"},
        "push": {
            *("settings", "gateway", "address_policy", "api", "auth", "checked_resolver", "observability"),
            *("private_files", "webhooks", "cluster"),
        },
        "onvif": {"settings", "gateway", "address_policy", "checked_resolver", "private_files"},
        "api": {"gateway", "cluster", "address_policy", "auth", "observability", "onvif", "recordings", "wall_store"},
        "api.routes": {
            "gateway",
            "cluster",
            "address_policy",
            "auth",
            "observability",
            "observability.metrics",
            "api",
            "onvif",
            "wall_store",
            "webhooks",
            "push",
            "polled_answer",
        },
        "player": set(),
    },
}
"""What the modules of each folder may import from their package: other folders, and modules directly in the package.

The modules directly in a package put its folders together, and may import all of them.
"""

Graph = Mapping[str, set[str]]
"""The modules that each module imports."""


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
def import_graph() -> Graph:
    """The imports between all modules of the packages."""
    return {
        name: {other for other in imported_names(path) if other in modules() and other != name}
        for name, path in modules().items()
    }


def find_cycles(graph: Graph) -> list[list[str]]:
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
    """The innermost folder of :data:`FOLDERS` that has the module, without its package; "" for one in no folder."""
    package, *names = module.split(".")
    while names and ".".join(names) not in FOLDERS[package]:
        names.pop()
    return ".".join(names)


def forbidden_imports(graph: Graph) -> list[str]:
    """The imports within a package that :data:`FOLDERS` does not permit."""
    found = []
    for module, others in graph.items():
        package, folder = module.partition(".")[0], folder_of(module)
        if not folder:
            continue
        for other in others:
            top, _, name = other.partition(".")
            target = folder_of(other) or name
            if top == package and target not in {folder, *FOLDERS[package][folder]}:
                found.append(f"{module} imports {other}")
    return sorted(found)


def unlisted_folders(paths: Iterable[PurePath]) -> set[str]:
    """The folders of modules that :data:`FOLDERS` lacks. The paths begin with the package."""
    listed = set(FOLDERS) | {f"{package}.{folder}" for package, folders in FOLDERS.items() for folder in folders}
    return {".".join(path.parent.parts) for path in paths} - listed


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_the_packages_below_them(package: str) -> None:
    paths = [path for name, path in modules().items() if name.partition(".")[0] == package]
    assert paths
    for path in paths:
        for name in imported_names(path):
            top = name.partition(".")[0]
            assert top not in PACKAGES or top in PACKAGES[package], f"{path.relative_to(ROOT)} imports {name}"


def test_folders_import_only_what_the_table_permits() -> None:
    assert forbidden_imports(import_graph()) == []


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("web.auth.tokens", "web.gateway"),  # the composition root
        ("web.auth", "web.gateway"),
        ("web.auth.tokens", "web"),
        ("web.auth.tokens", "web.api.parameters"),  # another folder
        ("web.observability.health", "web.observability.metrics.http"),  # a folder within its own
        ("web.api.routes.cameras", "web.app"),
        ("gateway.capture.engines.fake", "gateway.session"),
        ("hls.live.service", "hls.archive"),
    ],
)
def test_an_import_that_the_table_does_not_permit_is_found(module: str, other: str) -> None:
    assert forbidden_imports({module: {other}}) == [f"{module} imports {other}"]


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("web.auth.tokens", "web.auth.grant"),
        ("web.auth.tokens", "web.settings"),
        ("web.auth.tokens", "gateway.service"),  # of another package: PACKAGES says whether it may
        ("web.api.routes.cameras", "web.gateway"),
        ("web.gateway", "web.auth.tokens"),
        ("hls.playback.reader", "hls.archive"),
    ],
)
def test_an_import_that_the_table_permits_is_not_reported(module: str, other: str) -> None:
    assert forbidden_imports({module: {other}}) == []


def test_every_folder_with_modules_is_in_the_table() -> None:
    assert PACKAGES.keys() == FOLDERS.keys()
    assert unlisted_folders(path.relative_to(ROOT) for path in modules().values()) == set()


def test_the_table_names_only_what_exists() -> None:
    folders = {".".join(path.relative_to(ROOT).parent.parts) for path in modules().values()}
    for package, table in FOLDERS.items():
        for folder, permitted in table.items():
            assert f"{package}.{folder}" in folders
            for name in permitted:
                assert f"{package}.{name}" in folders | modules().keys(), f"{package}.{folder} may import {name}"


@pytest.mark.parametrize("folder", ["signaling/sub", "hls/mp4/deep", "web/new"])
def test_a_folder_that_the_table_lacks_is_found(folder: str) -> None:
    paths = [PurePath("web/app.py"), PurePath("hls/mp4/fragments.py"), PurePath(folder, "module.py")]
    assert unlisted_folders(paths) == {folder.replace("/", ".")}


def test_no_import_cycles() -> None:
    assert find_cycles(import_graph()) == []


def test_cycles_are_found_in_a_graph_that_has_them() -> None:
    chain = {before: {after} for before, after in pairwise("abcd")}
    assert find_cycles(chain) == []
    assert find_cycles({**chain, "d": {"b"}}) == [["b", "c", "d"]]
    assert find_cycles({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c", "a"}}) == [["a", "b"], ["c", "d"]]


@pytest.mark.integration
def test_gateway_is_imported_without_web_socketio_or_sql() -> None:
    code = "import sys, gateway; print([n for n in ('aiohttp', 'socketio', 'sqlalchemy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_readmes_ten_lines_print_frames_of_a_real_camera(tmp_path: Path, rtsp_server: RtspServer) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    code = code.replace("rtsp://user:password@192.0.2.7/stream1", rtsp_server.url("cam")).replace(
        "sleep(10)", "sleep(8)"
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
