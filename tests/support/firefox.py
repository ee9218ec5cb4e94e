"""A real, unpatched Firefox without a window, by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

Firefox speaks BiDi itself, on a WebSocket: no driver is needed, and no more of a client than this.
"""

import asyncio
import base64
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

START_S = 60.0
ANSWER_S = 60.0
"""No measure of speed: ten browsers may start at once."""

PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "devtools.jsonview.enabled": False,  # else JSON is a page whose policy allows nothing
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,  # no plugin comes in mid-test
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

_LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class Tab:
    """One tab. Errors of the page, and what it logs as errors, are in ``errors``."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.version = ""
        self.errors: list[str] = []
        self._socket = socket
        self._context = ""
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it says no more."""
        async for message in self._socket:
            said = json.loads(message.data)
            if said["type"] == "event":
                if said["method"] == "log.entryAdded" and said["params"]["level"] == "error":
                    self.errors.append(str(said["params"]["text"]))
            elif said["id"] in self._answers:
                self._answers.pop(said["id"]).set_result(said)

    async def open(self) -> None:
        """Begin a session with the browser's only tab."""
        session = await self._ask("session.new", capabilities={})
        self.version = session["capabilities"]["browserVersion"]
        await self._ask("session.subscribe", events=["log.entryAdded"])
        tree = await self._ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        """Load a page, whole."""
        await self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, function: str, *arguments: Any) -> Any:
        """Call a function of JavaScript with arguments of JSON, wait for what it promises, and give that as JSON."""
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

    async def wait_for(self, function: str, *arguments: Any, timeout_s: float = 30.0) -> None:
        """Wait until a function gives something true."""
        async with asyncio.timeout(timeout_s):
            while not await self.evaluate(function, *arguments):
                await asyncio.sleep(0.1)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, as a person does. Named keys are WebDriver's code points."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        sources = [{"type": "key", "id": "keyboard", "actions": actions}]
        await self._ask("input.performActions", context=self._context, actions=sources)

    async def screenshot(self, path: Path) -> None:
        """What can be seen, as PNG."""
        answer = await self._ask("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def close_browser(self) -> None:
        """End the browser in good manners."""
        await self._ask("browser.close")

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
        said = await asyncio.wait_for(answer, ANSWER_S)
        if said["type"] == "error":
            raise RuntimeError(f"{method}: {said['error']}: {said['message']}")
        return dict(said["result"])


def executable() -> str | None:
    """Where Firefox is: Debian's ESR or another."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


@asynccontextmanager
async def firefox(preferences: Mapping[str, object] | None = None) -> AsyncIterator[Tab]:
    """A Firefox with a profile of its own, and its tab."""
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
    said = b""
    while line := await stderr.readline():
        said += line
        if found := _LISTENS.search(line):
            return found[1].decode()
    raise RuntimeError(f"Firefox did not start: {said[-2000:].decode(errors='replace')}")


async def _drain(stderr: asyncio.StreamReader) -> None:
    while await stderr.read(65_536):
        pass
