"""The gateway stands: arrows between the floors run one way, and README's library lines do what they say."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rtsp import RtspServer

ROOT = Path(__file__).parents[1]

MAY_KNOW = {
    "gateway": {"gateway"},
    "hls": {"hls", "gateway"},
    "signaling": {"signaling", "gateway"},
    "web": {"web", "signaling", "hls", "gateway"},
}


@pytest.mark.parametrize("floor", MAY_KNOW)
def test_a_floor_knows_only_the_floors_below(floor: str) -> None:
    modules = sorted((ROOT / floor).rglob("*.py"))
    assert modules
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: imports here are absolute"
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top not in MAY_KNOW or top in MAY_KNOW[floor], f"{module.relative_to(ROOT)} imports {name}"


def test_the_ground_floor_starts_without_web_or_socketio() -> None:
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
