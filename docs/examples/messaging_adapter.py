"""A messaging adapter: reads commands from a file and appends answers and status changes to another, as JSON lines."""

import asyncio
import json
from pathlib import Path
from typing import Any

from signaling.control import Caller, Control
from signaling.events import Endpoint
from signaling.messaging import StreamMessaging
from signaling.status import MessagingStatus
from signaling.status_publisher import StatusPublisher
from web.settings import Settings

INTERVAL_S = 0.05


class FileMessaging(StreamMessaging):
    """Set ``MESSAGING`` to ``examples.messaging_adapter:FileMessaging``. The files are in ``DATA_DIR``."""

    def __init__(self, settings: Settings, control: Control) -> None:
        super().__init__(settings, control)
        self._commands_file = settings.data_dir / "commands.jsonl"
        self._messages_file = settings.data_dir / "messages.jsonl"
        self._status_publisher: StatusPublisher | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._status_publisher = StatusPublisher(self.control.service, self.control.status_response, self._send)
        self._status_publisher.publish_all()
        self._task = asyncio.create_task(self._execute_commands())

    async def close(self) -> None:
        if self._status_publisher is not None and self._task is not None:
            await self._status_publisher.close()
            self._task.cancel()
            await asyncio.wait([self._task])

    def status(self) -> MessagingStatus:
        return MessagingStatus(adapter="file", connected=self._task is not None)

    async def _execute_commands(self) -> None:
        done = 0
        while True:
            await asyncio.sleep(INTERVAL_S)
            commands = await asyncio.to_thread(_read_lines, self._commands_file)
            for event, data in commands[done:]:
                # If a command is wrong, the reply says so; execute() raises nothing.
                reply = await self.control.execute(event, data, Caller(Endpoint.EMS, "file"))
                await self._send(reply.data)
            done = len(commands)

    async def _send(self, data: dict[str, Any]) -> None:
        await asyncio.to_thread(_append, self._messages_file, json.dumps(data))


def _read_lines(path: Path) -> list[tuple[str, Any]]:
    return [_parse(line) for line in path.read_text().splitlines()] if path.exists() else []


def _parse(line: str) -> tuple[str, Any]:
    """A command and its data. A line that is none becomes a command that does not exist, which execute() refuses."""
    try:
        event, data = json.loads(line)
    except (ValueError, TypeError):
        return line, None
    return str(event), data


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
