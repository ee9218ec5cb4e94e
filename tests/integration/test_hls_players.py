"""ffmpeg, mpv and VLC play the live playlist as plain HLS, with sound and without.

ffmpeg and mpv go on after a loss of the camera, and after a restart of the gateway whose port stays open. VLC 3
does not: it does not read the init segment again after a discontinuity.
"""

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.ffprobe import decode
from tests.support.hls_server import hls_server, source_camera
from tests.support.sources.engine import SourceEngine

CAMERAS = {"silent": "packets://gop=15", "loud": "packets://gop=15,audio=aac"}

FRAMES = 130
"""Nine seconds of video: more than a window has when they begin, so that they play over both losses."""

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
"""VLC does not run as root."""


def commands(url: str) -> dict[str, list[str]]:
    """The command of each player; ffmpeg and mpv end after ``FRAMES``, VLC writes what it plays to its output."""
    return {
        "ffmpeg": ["ffmpeg", "-nostdin", "-v", "error", "-i", url, "-frames:v", str(FRAMES), "-f", "null", "/dev/null"],
        "mpv": ["mpv", "--no-config", "--vo=null", "--ao=null", "--really-quiet", f"--frames={FRAMES}", url],
        "vlc": [
            *NOBODY,
            "vlc",
            "-I",
            "dummy",
            "--no-dbus",
            "-q",
            "--sout=#std{access=file,mux=ts,dst=-}",
            url,
        ],
    }


@pytest.mark.parametrize("name", CAMERAS)
async def test_players_play_and_go_on_after_losses(name: str, tmp_path: Path) -> None:
    recorded = tmp_path / "vlc.ts"
    async with hls_server({name: source_camera(CAMERAS[name], record="always")}) as server:
        stream = server.live.stream(name)
        await stream.multivariant_playlist()
        asked = commands(f"{server.url}/hls/{name}/index.m3u8")
        players: dict[str, Process] = {}
        try:
            for player, command in asked.items():
                with recorded.open("ab") as output:
                    players[player] = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=PIPE)
            await eventually(lambda: recorded.exists() and recorded.stat().st_size, "VLC plays")
            await eventually(lambda: not decode(recorded), "what VLC plays is complete frames")
            SourceEngine.hung_up.add(CAMERAS[name])
            await eventually(lambda: server.service.camera(name).session.reconnects, "the camera is lost")
            SourceEngine.hung_up.discard(CAMERAS[name])
            await server.stop()
            assert [players[player].returncode for player in ("ffmpeg", "mpv")] == [None, None]
            await server.start()
            for player in ("ffmpeg", "mpv"):
                _, errors = await players[player].communicate()
                assert players[player].returncode == 0, errors.decode()
        finally:
            SourceEngine.hung_up.discard(CAMERAS[name])
            for process in players.values():
                if process.returncode is None:
                    process.terminate()
                    await process.communicate()
