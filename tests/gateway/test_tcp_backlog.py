"""What a real TCP peer has acknowledged."""

import asyncio
import socket

from gateway.tcp_backlog import LEFT_MAX_BYTES, acknowledged_bytes, delivered, unacknowledged_bytes
from tests.support.eventually import eventually

MEGABYTE = bytes(1 << 20)


def connection() -> tuple[socket.socket, socket.socket]:
    """A connection whose receiver takes 64 kB that it has not read."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sender = socket.create_connection(listener.getsockname())
        sender.setblocking(False)
        receiver, _ = listener.accept()
    return sender, receiver


async def read(receiver: socket.socket, count: int) -> None:
    receiver.setblocking(False)
    while count > 0:
        count -= len(await asyncio.get_running_loop().sock_recv(receiver, min(count, 65536)))


async def test_it_waits_for_what_was_sent_by_now_and_not_for_what_follows() -> None:
    sender, receiver = connection()
    with sender, receiver:
        first = sender.send(MEGABYTE)
        waiting = asyncio.create_task(delivered(sender))
        await asyncio.sleep(0)
        assert unacknowledged_bytes(sender) > LEFT_MAX_BYTES
        await read(receiver, 64 * 1024)
        assert not waiting.done()
        acknowledged = acknowledged_bytes(sender)
        await read(receiver, first - 64 * 1024)
        await eventually(lambda: acknowledged_bytes(sender) >= acknowledged, "more is acknowledged")
        sender.send(MEGABYTE)
        await waiting
        assert unacknowledged_bytes(sender) > LEFT_MAX_BYTES


async def test_a_closed_socket_is_waited_for_no_longer() -> None:
    sender, receiver = connection()
    with receiver:
        sender.send(MEGABYTE)
        waiting = asyncio.create_task(delivered(sender))
        await asyncio.sleep(0)
        sender.close()
        await waiting
        assert unacknowledged_bytes(sender) == acknowledged_bytes(sender) == 0
    await delivered(None)
