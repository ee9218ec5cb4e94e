"""A real, unpatched Firefox, headless, over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

Firefox itself serves BiDi on a WebSocket, so that no driver is needed, and this small client is enough.
"""

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.eventually import LIMIT_S, eventually

START_S = 60.0
ANSWER_S = 60.0
"""Limits that are far more than a step takes, even if several browsers start at once on a loaded machine."""

PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "devtools.jsonview.enabled": False,  # the JSON viewer has a content security policy that blocks scripts
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,  # do not download a plugin during a test
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

_LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class Tab:
    """One tab. ``errors`` has the exceptions of the page, and what it logs as errors."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.version = ""
        self.errors: list[str] = []
        self._socket = socket
        self._context = ""
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Receive messages until the browser closes the connection."""
        async for frame in self._socket:
            message = json.loads(frame.data)
            if message["type"] == "event":
                if message["method"] == "log.entryAdded" and message["params"]["level"] == "error":
                    self.errors.append(str(message["params"]["text"]))
            elif message["id"] in self._answers:
                self._answers.pop(message["id"]).set_result(message)

    async def open(self) -> None:
        """Start a session in the browser's only tab."""
        session = await self._ask("session.new", capabilities={})
        self.version = session["capabilities"]["browserVersion"]
        await self._ask("session.subscribe", events=["log.entryAdded"])
        tree = await self._ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        """Load a page, and wait until it is complete."""
        await self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, function: str, *arguments: Any) -> Any:
        """Call a JavaScript function with JSON arguments, await its promise, and return the result."""
        answer = await self._ask(
            "script.callFunction",
            functionDeclaration=f"async (text) => JSON.stringify((await ({function})(...JSON.parse(text))) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def wait_for(self, function: str, *arguments: Any, timeout_s: float = LIMIT_S) -> None:
        """Wait until a JavaScript function returns a true value."""
        await eventually(lambda: self.evaluate(function, *arguments), function, timeout_s)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other. Named keys are the code points of WebDriver."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        sources = [{"type": "key", "id": "keyboard", "actions": actions}]
        await self._ask("input.performActions", context=self._context, actions=sources)

    async def close_browser(self) -> None:
        """Close the browser."""
        await self._ask("browser.close")

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
        message = await asyncio.wait_for(answer, ANSWER_S)
        if message["type"] == "error":
            raise RuntimeError(f"{method}: {message['error']}: {message['message']}")
        return dict(message["result"])


def executable() -> str | None:
    """Path of Firefox: Debian's ESR, or another."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


@asynccontextmanager
async def firefox(preferences: Mapping[str, object] | None = None) -> AsyncIterator[Tab]:
    """Start Firefox with a new profile, and return its tab."""
    program = executable()
    assert program is not None, "Firefox is missing; scripts/install-test-packages installs it"
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        lines = [
            f'user_pref("{name}", {json.dumps(value)});\n'
            for name, value in {**PREFERENCES, **(preferences or {})}.items()
        ]
        (Path(profile) / "user.js").write_text("".join(lines))
        command = [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": profile},
        )
        assert process.stderr is not None
        tasks: list[asyncio.Task[None]] = []
        try:
            url = await asyncio.wait_for(_address(process.stderr), START_S)
            tasks.append(asyncio.create_task(_drain(process.stderr)))
            async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/session", max_msg_size=0) as socket:
                tab = Tab(socket)
                tasks.append(asyncio.create_task(tab.listen()))
                await tab.open()
                yield tab
                await tab.close_browser()
        finally:
            if process.returncode is None:
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
            if process.returncode is None:
                process.kill()
                await process.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _address(stderr: asyncio.StreamReader) -> str:
    output = b""
    while line := await stderr.readline():
        output += line
        if found := _LISTENS.search(line):
            return found[1].decode()
    raise RuntimeError(f"Firefox did not start: {output[-2000:].decode(errors='replace')}")


async def _drain(stderr: asyncio.StreamReader) -> None:
    while await stderr.read(65_536):
        pass
