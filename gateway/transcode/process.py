"""TranscodeProcess: one process that transcodes (:mod:`gateway.transcode.worker`), and the messages to and from it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.child_environment import child_environment
from gateway.errors import LiveedgeError
from gateway.transcode import worker

WORKER = Path(worker.__file__)

_STDERR_MAX_BYTES = 4096

END_S = 2.0
"""How long a process that has closed its output may take to end."""


class TranscodeError(LiveedgeError):
    """The process could not be started, or has ended."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the process; see :mod:`gateway.transcode.worker`."""

    kind: int
    generation: int
    pts_90k: int
    payload: bytes


class TranscodeProcess:
    """See the module; made by :meth:`start`. Kill it when it is not needed any more."""

    def __init__(self, process: Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._complaints = bytearray()
        self._reading = asyncio.create_task(self._read_stderr(), name="transcode-stderr")

    @classmethod
    async def start(cls) -> "TranscodeProcess":
        """Start it. Raises :class:`TranscodeError`."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(WORKER), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=child_environment()
            )
        except OSError as error:
            raise TranscodeError(f"the process that transcodes could not be started: {error.strerror}") from None
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def send(self, kind: int, generation: int, pts_90k: int = 0, payload: bytes = b"") -> None:
        """Send a message, and wait while the process has not read those before. Raises :class:`TranscodeError`."""
        try:
            self._stdin.write(worker.HEADER.pack(kind, generation, pts_90k, len(payload)) + payload)
            await self._stdin.drain()
        except (ConnectionError, RuntimeError):
            raise await self._ended() from None

    async def receive(self) -> Message:
        """The next message of the process. Raises :class:`TranscodeError` when it has ended."""
        try:
            header = await self._stdout.readexactly(worker.HEADER.size)
            kind, generation, pts_90k, size = worker.HEADER.unpack(header)
            return Message(kind, generation, pts_90k, await self._stdout.readexactly(size))
        except asyncio.IncompleteReadError:
            raise await self._ended() from None

    async def kill(self) -> None:
        """End the process now. It has nothing to save. May be called twice."""
        self._kill()
        await self._process.wait()
        self._stdin.close()
        # asyncio closes a pipe when it was read to its end.
        while await self._stdout.read(1 << 16):
            pass
        await self._reading

    def _kill(self) -> None:
        # Not Popen.kill(): it would reap a process that has just ended, and asyncio would not learn its exit status.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def _ended(self) -> TranscodeError:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._process.wait()
        self._kill()
        code = await self._process.wait()
        await asyncio.wait([self._reading], timeout=1)
        lines = self._complaints.decode(errors="replace").strip().splitlines()
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        return TranscodeError(f"the process that transcodes has ended {how}" + (f": {lines[-1]}" if lines else ""))

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(1024):
            self._complaints += data
            del self._complaints[:-_STDERR_MAX_BYTES]


def encoder_of(message: Message) -> dict[str, Any]:
    """What a message of kind ``ENCODER`` says."""
    told: dict[str, Any] = json.loads(message.payload)
    return told
