"""ffmpeg, mpv and VLC play the live playlist as plain HLS, with sound and without.

ffmpeg and mpv go on after a loss of the camera, and after a restart of the gateway whose port stays open. VLC 3
does not: it does not read the init segment again after a discontinuity.
"""

import asyncio
import os
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.ffprobe import decode
from tests.support.hls_server import hls_server, source_camera
from tests.support.sources.engine import SourceEngine

CAMERAS = {"silent": "packets://gop=15", "loud": "packets://gop=15,audio=aac"}

HELD = 75
"""Five seconds of frames: more than a player has loaded when the gateway stops."""

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
"""VLC does not run as root."""

NEW_FRAME = b"\x1b[K"
"""mpv writes its status line again for each frame."""


def commands(url: str) -> dict[str, list[str]]:
    """The command of each player. Its output tells what it has played, for as long as it runs."""
    frames_as_lines = ["-map", "0:v", "-f", "framecrc", "-flush_packets", "1", "-"]
    to_standard_output = "--sout=#std{access=file,mux=ts,dst=-}"
    return {
        "ffmpeg": ["ffmpeg", "-nostdin", "-v", "error", "-i", url, *frames_as_lines],
        "mpv": ["mpv", "--no-config", "--vo=null", "--ao=null", "--msg-level=all=error,statusline=status", url],
        "vlc": [*NOBODY, "vlc", "-I", "dummy", "--no-dbus", "-q", to_standard_output, url],
    }


@pytest.mark.parametrize("name", CAMERAS)
async def test_players_play_and_go_on_after_losses(name: str, tmp_path: Path) -> None:
    written = {player: tmp_path / player for player in commands("")}
    players: dict[str, Process] = {}

    def have_played(frames: Mapping[str, int]) -> bool:
        return all(played(player) > least for player, least in frames.items())

    def played(player: str) -> int:
        assert players[player].returncode is None, f"{player} has ended"
        return written[player].read_bytes().count(NEW_FRAME if player == "mpv" else b"\n")

    async with hls_server({name: source_camera(CAMERAS[name], record="always")}) as server:
        await server.live.multivariant_playlist(name)
        try:
            for player, command in commands(f"{server.url}/hls/{name}/index.m3u8").items():
                with written[player].open("ab") as output:
                    told = output if player == "mpv" else DEVNULL
                    process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=told)
                players[player] = process
            await eventually(lambda: written["vlc"].stat().st_size, "VLC plays")
            await eventually(lambda: not decode(written["vlc"]), "what VLC plays is complete frames")
            await eventually(lambda: have_played({"ffmpeg": 1, "mpv": 1}), "ffmpeg and mpv play")
            SourceEngine.hung_up.add(CAMERAS[name])
            await eventually(lambda: server.service.camera(name).session.reconnects, "the camera is lost")
            SourceEngine.hung_up.discard(CAMERAS[name])
            await server.stop()
            more = {player: played(player) + HELD for player in ("ffmpeg", "mpv")}
            await server.start()
            await eventually(lambda: have_played(more), "ffmpeg and mpv go on")
        finally:
            SourceEngine.hung_up.discard(CAMERAS[name])
            for process in players.values():
                if process.returncode is None:
                    process.terminate()
                await process.wait()
