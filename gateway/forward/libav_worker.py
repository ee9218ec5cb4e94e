"""The process that writes one forward: packets on its standard input, to a server by libav.

A process and not a thread: PyAV keeps the interpreter's lock while libav connects for writing, so that a server that
does not answer would stop the whole gateway.

The first message is the URL, host and port to connect to, and the description of the stream; the others are packets.
"""

import os
import pickle
import sys
from typing import Any, BinaryIO

import av

from gateway.capture.libav_open import LIBAV_ERRORS
from gateway.forward.muxer import ForwardMuxer
from gateway.forward.process import DONE, FAILED
from gateway.forward.target import parse_target


def _receive(source: BinaryIO) -> Any:
    """The next message; ``None`` at the end. The gateway alone writes them."""
    head = source.read(4)
    return pickle.loads(source.read(int.from_bytes(head, "big"))) if len(head) == 4 else None  # noqa: S301


def serve(source: BinaryIO, answers: BinaryIO) -> None:
    """Run until the input ends, or the server does."""
    text, place, info = _receive(source)
    muxer: ForwardMuxer | None = None
    try:
        muxer = ForwardMuxer(parse_target(text), place, info)
        _answer(answers, DONE)
        while (packets := _receive(source)) is not None:
            muxer.write(packets)
            _answer(answers, DONE)
    except (*LIBAV_ERRORS, OSError, ValueError) as error:
        # Never its text: it may have the URL.
        reason = getattr(error, "strerror", None) or type(error).__name__
        _answer(answers, FAILED + str(reason).encode()[:200])
    finally:
        if muxer is not None:
            muxer.close()


def _answer(answers: BinaryIO, data: bytes) -> None:
    answers.write(data)
    answers.flush()


def main() -> None:
    """Run on the standard streams."""
    av.logging.set_level(av.logging.PANIC)
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not come between the answers.
    os.dup2(2, 1)
    answers.write(DONE)
    answers.flush()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
