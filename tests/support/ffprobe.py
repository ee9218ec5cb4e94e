"""What ffprobe and ffmpeg, a second implementation, say about a file or an address."""

import json
import subprocess
from pathlib import Path
from typing import Any


def ffprobe(target: str | Path, *arguments: str) -> dict[str, Any]:
    """``ffprobe -show_format -show_streams`` as a dict. Raises AssertionError with its message if it fails."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", *arguments, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decode(target: str | Path, *arguments: str) -> str:
    """Decode all of it with ffmpeg; return its warnings, or an empty string."""
    command = ["ffmpeg", "-nostdin", "-v", "error", *arguments, "-i", str(target), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.stderr
