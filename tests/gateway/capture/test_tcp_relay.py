"""The relay between libav and a camera over TCP, by itself. For libav, see engines/test_pyav_live.py."""

import asyncio
import socket

import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.tcp_relay import TcpRelay
from gateway.capture.url import parse
from gateway.capture.watch import Watch
from gateway.errors import CameraTimeoutError
from tests.support.hostile import HostileServer, say_nothing


def relay_to(server: HostileServer) -> TcpRelay:
    source = CaptureSource("camera", f"rtmp://127.0.0.1:{server.port}/live/x", timeout_s=60)
    fault = CameraTimeoutError("silent")
    return TcpRelay(parse(source.url), source, Watch(60, "camera", fault, lambda: fault), frozenset())


@pytest.mark.parametrize("turns", range(6))
async def test_what_was_just_accepted_is_closed_at_the_end(turns: int) -> None:
    with HostileServer(say_nothing) as server:
        relay = relay_to(server)
        host, _, port = (await relay.start()).partition(":")
        with socket.create_connection((host, int(port))) as libav:
            for _ in range(turns):
                await asyncio.sleep(0)
            await relay.close()
            libav.settimeout(30)
            try:
                answer = await asyncio.to_thread(libav.recv, 1)
            except ConnectionResetError:
                answer = b""
            assert answer == b""


async def test_a_connection_that_follows_the_one_before_reaches_the_camera() -> None:
    """libav hangs up and comes again where a server asks for credentials."""

    def echo(connection: socket.socket, _: object) -> None:
        while data := connection.recv(100):
            connection.sendall(data)

    with HostileServer(echo) as server:
        relay = relay_to(server)
        host, _, port = (await relay.start()).partition(":")
        try:
            for word in (b"first", b"again"):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(word)
                assert await reader.readexactly(5) == word
                writer.transport.abort()
        finally:
            await relay.close()
