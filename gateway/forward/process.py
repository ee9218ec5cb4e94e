"""ForwardProcess: the process of one connection, one message at a time.

It is :mod:`gateway.forward.libav_worker` or :mod:`gateway.forward.whip_worker`. It writes ``+`` when it has started:
that takes a busy machine some seconds, which are not the server's. A message to it is a length of four bytes and a
pickle. Its answer is ``+`` when that is done, followed by a text where one is asked for, with a length of
four bytes. ``-`` and a text say why it cannot be done, and the process ends.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

from gateway.child_environment import child_environment

DONE, FAILED = b"+", b"-"

CLOSE_S = 1.0
"""How long a process may take to say goodbye to the server, in seconds."""

START_S = 30.0
"""How long its start may take, in seconds."""

TEXT_MAX_BYTES = 64 * 1024


class ForwardError(Exception):
    """Why a connection has ended, as a sentence without secrets."""


class ForwardProcess:
    """See the module; made by :meth:`start`. Close it when it is not needed any more."""

    def __init__(self, process: Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    @classmethod
    async def start(cls, module: str) -> "ForwardProcess":
        """Start it, and wait until it runs: the name of one of the modules above. Raises :class:`ForwardError`."""
        command = (sys.executable, "-P", "-m", module)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=child_environment()
            )
        except OSError as error:
            raise ForwardError(f"its process could not be started: {error.strerror}") from None
        found = cls(process)
        is_running = False
        try:
            async with asyncio.timeout(START_S):
                is_running = await found._stdout.read(1) == DONE
        except TimeoutError:
            raise ForwardError(f"its process did not start within {START_S:.0f} s: the machine is too busy") from None
        finally:
            if not is_running:
                await found.kill()
        if not is_running:
            raise ForwardError("its process has ended")
        return found

    async def ask(self, message: object) -> None:
        """Have something done. Raises :class:`ForwardError`."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        answer = b""
        try:
            self._stdin.write(len(data).to_bytes(4, "big") + data)
            await self._stdin.drain()
            answer = await self._stdout.read(1)
        except (ConnectionError, RuntimeError):
            pass
        if answer == DONE:
            return
        reason = (await self._stdout.read(200)).decode(errors="replace") if answer == FAILED else "it has ended"
        raise ForwardError(f"the server ended or refused the stream ({reason})")

    async def ask_for_text(self, message: object) -> str:
        """Have something done that has a text as its result. Raises :class:`ForwardError`."""
        await self.ask(message)
        try:
            size = int.from_bytes(await self._stdout.readexactly(4), "big")
            return (await self._stdout.readexactly(min(size, TEXT_MAX_BYTES))).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ForwardError("its process has ended") from None

    async def close(self) -> None:
        """Let it say goodbye, and end it. May be called twice."""
        self._stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._process.wait()
        finally:
            # Also where it is cancelled: no process is left behind.
            await self.kill()

    async def kill(self) -> None:
        """End it now."""
        if self._process.returncode is None:
            # Not Popen.kill(): it would reap a process that has just ended, and asyncio would not learn its status.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._stdin.close()
