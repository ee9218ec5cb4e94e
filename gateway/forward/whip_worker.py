"""The process that sends one forward by WHIP: packets on its standard input, to a server by aiortc.

A process, so that encryption and retransmission cost the gateway's viewers nothing. Messages, in this order: the
description of the stream and whether the server is on this machine, answered with the offer; the server's answer; then
packets.
"""

import asyncio
import logging
import os
import pickle
import sys
from typing import Any, BinaryIO

from gateway.forward.process import DONE, FAILED
from gateway.forward.whip_sender import SendError, WhipSender

MESSAGE_MAX_BYTES = 1 << 30


async def _receive(source: asyncio.StreamReader) -> Any:
    """The next message; ``None`` at the end. The gateway alone writes them."""
    try:
        size = int.from_bytes(await source.readexactly(4), "big")
        return pickle.loads(await source.readexactly(size))  # noqa: S301
    except asyncio.IncompleteReadError:
        return None


async def serve(source: asyncio.StreamReader, answers: BinaryIO) -> None:
    """Run until the input ends, or the connection does."""
    info, is_local = await _receive(source)
    sender = WhipSender(info, is_local=is_local)
    try:
        offer = (await sender.offer()).encode()
        _answer(answers, DONE + len(offer).to_bytes(4, "big") + offer)
        answer = await _receive(source)
        if answer is None:
            return
        await sender.connect(answer)
        _answer(answers, DONE)
        while (packets := await _receive(source)) is not None:
            await sender.write(packets)
            _answer(answers, DONE)
    except SendError as error:
        _answer(answers, FAILED + str(error).encode()[:200])
    finally:
        await sender.close()


def _answer(answers: BinaryIO, data: bytes) -> None:
    answers.write(data)
    answers.flush()


async def _main(answers: BinaryIO) -> None:
    source = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(source), sys.stdin)
    await serve(source, answers)


def main() -> None:
    """Run on the standard streams."""
    logging.disable()
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not come between the answers.
    os.dup2(2, 1)
    _answer(answers, DONE)
    asyncio.run(_main(answers))


if __name__ == "__main__":
    main()
