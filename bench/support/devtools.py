"""A tab of Chromium that is driven over one socket of the DevTools protocol, and that keeps nothing for it.

Playwright enables DevTools' Network domain in each page. That keeps the bodies of all answers in the page's process, as
an open Network panel does: with a page that asks for its status every two seconds it is most of what grows in hours.
Here only what is asked for is enabled.
"""

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psutil

from tests.support.tabs import chromium_process


class Tab:
    """The tab in front."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, browser: psutil.Process) -> None:
        self._socket = socket
        self._browser = browser
        self._ids = itertools.count(1)

    async def send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command and return its result. One at a time; events are ignored."""
        wanted = next(self._ids)
        await self._socket.send_json({"id": wanted, "method": method, "params": params or {}})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") != wanted:
                continue
            if "error" in message:
                raise RuntimeError(f"{method}: {message['error']}")
            result: dict[str, Any] = message["result"]
            return result

    async def evaluate(self, function: str) -> Any:
        """Call a function of the page without arguments, and return what it returns, as JSON can say it."""
        answer = await self.send("Runtime.evaluate", {"expression": f"({function})()", "returnByValue": True})
        return answer["result"].get("value")

    def process(self) -> psutil.Process:
        """The one that renders it. Chromium has other renderers in reserve: it is the one that works."""
        return max(self._children("renderer"), key=lambda each: sum(each.cpu_times()[:2]))

    def compositor(self) -> psutil.Process:
        """The one that puts the pictures of all tabs together."""
        return next(self._children("gpu-process"))

    def _children(self, kind: str) -> Iterator[psutil.Process]:
        return (each for each in self._browser.children(recursive=True) if f"--type={kind}" in each.cmdline())


@asynccontextmanager
async def tab(*flags: str) -> AsyncIterator[Tab]:
    """Start Chromium with these flags; its blank tab."""
    async with chromium_process(*flags) as (pid, endpoint), aiohttp.ClientSession() as session:
        host = re.sub(r"^ws://([^/]+)/.*", r"http://\1", endpoint)
        async with session.get(f"{host}/json/list") as answer:
            pages = [each for each in await answer.json(content_type=None) if each["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            yield Tab(socket, psutil.Process(pid))
