"""The UDP ports of a track: who may send to them."""

import asyncio
import socket

import pytest

from gateway.capture.rtsp_udp import open_pair
from tests.support.eventually import eventually


@pytest.mark.parametrize(
    ("peer", "source", "taken", "refused"),
    [
        ("127.0.0.1", None, [b"rtp"], 0),
        ("127.0.0.2", None, [], 1),
        ("127.0.0.2", "127.0.0.1", [b"rtp"], 0),
        ("127.0.0.2", "127.0.0.3", [], 1),
        ("127.0.0.1", "camera.example", [b"rtp"], 0),
    ],
)
async def test_datagrams_are_taken_from_the_camera_alone(
    peer: str, source: str | None, taken: list[bytes], refused: int
) -> None:
    pair = open_pair("127.0.0.1", peer)
    assert pair.ports[0] % 2 == 0
    assert pair.ports[1] == pair.ports[0] + 1
    found: list[bytes] = []
    pair.start(lambda view: found.append(bytes(view)), source)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        await asyncio.get_running_loop().run_in_executor(None, sender.sendto, b"rtp", ("127.0.0.1", pair.ports[0]))
    await eventually(lambda: found or pair.refused, "the datagram has arrived")
    assert (found, pair.refused) == (taken, refused)
    pair.close()
