"""Settings in a file that a test rewrites, with cameras of scripted engines."""

import json
from pathlib import Path

from tests.support.sources.scripted import ScriptedEngine
from web.settings import Settings, load_settings

SCRIPTED = "tests.support.sources.scripted:ScriptedEngine"


def load() -> Settings:
    return load_settings(data_dir=Path("data"), webrtc_udp_port=0, archive_min_free_bytes=0)


def write(place: Path, **cameras: dict[str, object]) -> None:
    """Write a settings file with these cameras, each with a scripted engine."""
    lines = []
    for camera_id, table in cameras.items():
        lines.append(f"[cameras.{camera_id}]")
        values = {
            "url": f"scripted://u:s3cret@{place.name}/{camera_id}",
            "engine": SCRIPTED,
            "record": "never",
            **table,
        }
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (place / "liveedge.toml").write_text("\n".join(lines))


def engines(place: Path, camera_id: str, user: str = "u:s3cret@") -> list[ScriptedEngine]:
    return ScriptedEngine.runs.get(f"scripted://{user}{place.name}/{camera_id}", [])
