"""RtspConnection: bytes of a real socket to frames, promptly and in batches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.capture import batch_reads, rtsp_connection
from gateway.capture.rtsp_connection import BATCH_MIN_BYTES, RtspConnection
from gateway.rtsp.messages import Message
from tests.support.eventually import eventually

NEVER_S = 3600.0
"""A pause between reads that does not end during a test."""


def interleaved(number: int, size: int) -> bytes:
    return b"$\0" + size.to_bytes(2, "big") + number.to_bytes(4, "big") * (size // 4)


class Frames:
    """The numbers of the frames that came."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def take(self, channel: int, frame: memoryview) -> None:
        assert channel == 0
        self.numbers.append(int.from_bytes(frame[:4], "big"))


@asynccontextmanager
async def connected(
    frames: Frames, take: Callable[[Message], None] = lambda message: None
) -> AsyncIterator[tuple[RtspConnection, asyncio.StreamWriter]]:
    peers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: peers.put_nowait(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = await RtspConnection.open("127.0.0.1", port, frames.take, take)
    writer = await peers.get()
    try:
        yield connection, writer
    finally:
        connection.abort()
        writer.close()
        server.close()
        await server.wait_closed()


async def test_frames_in_batches_are_those_that_were_sent() -> None:
    frames = Frames()
    async with connected(frames) as (connection, writer):
        connection.reads_in_batches = lambda: True
        for number in range(200):
            writer.write(interleaved(number, 1400))
            await writer.drain()
            if number % 20 == 0:
                await asyncio.sleep(0)
        await eventually(lambda: len(frames.numbers) == 200, "all frames came")
        assert frames.numbers == list(range(200))


async def test_several_frames_come_with_one_read_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reads, "BATCH_S", NEVER_S)
    frames = Frames()
    async with connected(frames) as (connection, writer):
        is_watched = False
        connection.reads_in_batches = lambda: not is_watched
        writer.write(interleaved(0, 100))
        await eventually(lambda: frames.numbers == [0], "the first frame")
        # The socket is not read now: what comes waits for the next batch, all of it.
        for number in range(1, 6):
            writer.write(interleaved(number, 100))
            await asyncio.sleep(0)
        assert frames.numbers == [0]
        connection._read_batch()
        await eventually(lambda: frames.numbers == list(range(6)), "the batch")
        is_watched = True
        connection._read_batch()
        assert connection.is_reading
        writer.write(interleaved(6, 100))
        await eventually(lambda: len(frames.numbers) == 7, "the next frame")
        assert connection.is_reading


async def test_a_picture_larger_than_the_receive_window_is_read_without_a_pause() -> None:
    frames = Frames()
    async with connected(frames) as (connection, writer):
        pauses = 0
        pause = connection.pause_reading

        def note(is_paused: bool) -> None:
            nonlocal pauses
            pauses += is_paused
            pause(is_paused)

        connection.pause_reading = note  # type: ignore[method-assign]
        connection.reads_in_batches = lambda: True
        count = 4_000_000 // 60_000
        for number in range(count):
            writer.write(interleaved(number, 60_000))
        await writer.drain()
        await eventually(lambda: len(frames.numbers) == count, "the picture is there")
        # Only reads that found almost nothing were followed by a pause.
        assert pauses < 4_000_000 // BATCH_MIN_BYTES // 4


async def test_the_end_of_a_connection_is_noticed_while_it_is_not_read() -> None:
    frames = Frames()
    async with connected(frames) as (connection, writer):
        connection.reads_in_batches = lambda: True
        writer.write(interleaved(0, 100))
        await eventually(lambda: frames.numbers == [0], "the first frame")
        writer.write(interleaved(1, 100))
        writer.close()
        await connection.wait_ended()
        assert frames.numbers == [0, 1]


async def test_a_connection_that_is_closed_while_it_is_not_read_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_reads, "BATCH_S", NEVER_S)
    frames = Frames()
    async with connected(frames) as (connection, writer):
        connection.reads_in_batches = lambda: True
        writer.write(interleaved(0, 100))
        await eventually(lambda: not connection.is_reading, "the batch has been read")
        connection.abort()
        await connection.wait_ended()
        assert not connection.is_reading


async def test_a_connection_is_not_polled_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reads, "BATCH_S", NEVER_S)
    frames = Frames()
    async with connected(frames) as (connection, writer):
        connection.reads_in_batches = lambda: True
        writer.write(interleaved(0, 100))
        await eventually(lambda: frames.numbers == [0], "the first frame")
        for number in range(1, 5):
            writer.write(interleaved(number, 100))
            connection._read_batch()
            assert frames.numbers == list(range(number + 1))
            assert not connection.is_reading
        # Nothing has come: the next bytes are read when they come.
        connection._read_batch()
        assert connection.is_reading


async def test_a_body_whose_rest_does_not_come_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_connection, "BODY_WAIT_S", 0.01)
    found: list[Message] = []
    async with connected(Frames(), found.append) as (_, writer):
        writer.write(b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nv=0\r\n")
        await eventually(lambda: bool(found), "the message is there")
        writer.write(b"OPTIONS * RTSP/1.0\r\n\r\n")
        await eventually(lambda: len(found) == 2, "and so is the next one")
    assert [message.body for message in found] == [b"v=0\r\n", b""]
