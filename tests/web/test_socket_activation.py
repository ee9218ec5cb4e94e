"""Sockets of systemd: connections wait in them while the gateway restarts; what is no listening socket is refused."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway_process import PASS_SOCKET, GatewayProcess
from web.socket_activation import inherited_sockets

ROOT = Path(__file__).parents[2]


SCRIPT = """
from web.socket_activation import inherited_sockets
try:
    inherited_sockets()
except Exception as error:
    print(repr(error))
"""


async def test_requests_wait_over_a_restart(tmp_path: Path) -> None:
    (tmp_path / "liveedge.toml").write_text('[cameras.door]\nurl = "rtsp://127.0.0.1:9/door"\nstart = "on-demand"\n')
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gateway = GatewayProcess(tmp_path, HOST="127.0.0.2", PORT="1")
        gateway.listening = listening
        with gateway:
            assert gateway.url == f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with aiohttp.ClientSession() as session:
                await asyncio.to_thread(gateway.stop)
                waiting = asyncio.create_task(session.get(f"{gateway.url}/health"))
                await asyncio.to_thread(gateway.start)
                async with await waiting as answer:
                    assert answer.status == 200


def test_sockets_for_another_process_are_left_alone_and_the_variables_are_taken() -> None:
    for environment in ({}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http"}):
        assert inherited_sockets(environment) == []
        assert environment == {}
    assert inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}) == []


@pytest.mark.parametrize("kind", ["datagram", "unix", "not listening", "file"])
def test_what_is_no_listening_tcp_socket_is_refused(kind: str, tmp_path: Path) -> None:
    families = {"datagram": (socket.AF_INET, socket.SOCK_DGRAM), "unix": (socket.AF_UNIX, socket.SOCK_STREAM)}
    with socket.socket(*families.get(kind, (socket.AF_INET, socket.SOCK_STREAM))) as made:
        if kind == "unix":
            made.bind(str(tmp_path / "socket"))
            made.listen()
        fd = made.fileno() if kind != "file" else os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
        done = subprocess.run(
            [sys.executable, "-c", PASS_SOCKET, str(fd), sys.executable, "-c", SCRIPT],
            pass_fds=(fd,), cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        if kind == "file":
            os.close(fd)
    assert done.stdout.startswith("SettingsError('descriptor 3 of LISTEN_FDS "), done
