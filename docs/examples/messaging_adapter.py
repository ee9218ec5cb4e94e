"""A messaging adapter: news as lines of JSON in a file, commands as lines of JSON from another."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signaling.control import Caller, Control
from signaling.events import Endpoint
from signaling.messaging import StreamMessaging
from signaling.status_publisher import StatusPublisher
from web.settings import Settings

INTERVAL_S = 0.05


class FileMessaging(StreamMessaging):
    """Name it ``examples.messaging_adapter:FileMessaging`` in ``MESSAGING``. The files are in ``DATA_DIR``."""

    def __init__(self, settings: Settings, control: Control) -> None:
        super().__init__(settings, control)
        self._orders = settings.data_dir / "orders.jsonl"
        self._news = settings.data_dir / "news.jsonl"
        self._status_publisher: StatusPublisher | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._status_publisher = StatusPublisher(self.control.service, self.control.status_response, self._tell)
        self._status_publisher.publish_all()
        self._task = asyncio.create_task(self._obey())

    async def close(self) -> None:
        if self._status_publisher is not None and self._task is not None:
            await self._status_publisher.close()
            self._task.cancel()
            await asyncio.wait([self._task])

    def status(self) -> Mapping[str, Any]:
        return {"adapter": "file", "connected": self._task is not None}

    async def _obey(self) -> None:
        read = 0
        while True:
            await asyncio.sleep(INTERVAL_S)
            orders = await asyncio.to_thread(_lines, self._orders)
            for event, data in orders[read:]:
                # Whatever is wrong with a command is in the reply; nothing is raised.
                reply = await self.control.execute(event, data, Caller(Endpoint.EMS, "file"))
                await self._tell(reply.data)
            read = len(orders)

    async def _tell(self, data: dict[str, Any]) -> None:
        await asyncio.to_thread(_append, self._news, json.dumps(data))


def _lines(path: Path) -> list[tuple[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
