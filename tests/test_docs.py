"""The examples of the documentation: each is run, and is what the page shows."""

import asyncio
import importlib
import json
import os
import re
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiohttp import web

from gateway.service import CaptureService
from gateway.session import SessionState
from hls.archive.metadata import load_extractor
from signaling.browser import BrowserSignaling
from signaling.factory import create_messaging
from signaling.status import MessagingStatus
from tests.support.eventually import eventually
from tests.support.node import NODE
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode
from tests.support.sources.numbered import size_of
from tests.support.webhook_receiver import OTHER_SECRET, SECRET
from web.api.webhook_messages import MESSAGES, TrialData, message
from web.settings import load_settings
from web.webhooks.client import WebhookClient
from web.webhooks.settings import WebhookTable

DOCS = Path(__file__).parents[1] / "docs"
WALL = {"url": "wall://here", "engine": "examples.capture_engine:WallEngine", "start": "on-demand", "record": "never"}


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    importlib.invalidate_caches()


@pytest.mark.parametrize("example", sorted(path.name for path in (DOCS / "examples").glob("*.py")))
def test_the_page_shows_the_file_that_is_run(example: str) -> None:
    code = (DOCS / "examples" / example).read_text()
    assert any(f"```python\n{code}```\n" in page.read_text() for page in DOCS.glob("*.md"))


async def test_the_engine_and_the_frame_callback() -> None:
    from examples.frame_callback import collect  # type: ignore[import-not-found]

    frames = await collect("wall://here", 3, engine=WALL["engine"])
    assert [size_of(frame.data) for frame in frames] == [(160, 120)] * 3
    assert [frame.sequence for frame in frames] == sorted({frame.sequence for frame in frames})


async def test_the_messaging_adapter(tmp_path: Path) -> None:
    settings = load_settings(messaging="examples.messaging_adapter:FileMessaging", data_dir=tmp_path)
    service = CaptureService({"default": settings.camera("default", WALL)})
    messaging = create_messaging(settings, service)
    await messaging.start()
    commands = tmp_path / "commands.jsonl"
    commands.write_text(json.dumps(["capture_start_request", {"client_id": "me"}]) + "\n")
    await eventually(lambda: service.status().state is SessionState.LIVE, "the camera is live")
    with commands.open("a") as file:
        file.write("no JSON\n[]\n7\n" + json.dumps(["capture_start_request", {}]) + "\n")
    messages = tmp_path / "messages.jsonl"
    await eventually(lambda: "client_id: is missing" in messages.read_text(), "the invalid command is answered")
    await eventually(lambda: '"live"' in messages.read_text(), "the status is reported")
    assert messaging.status() == MessagingStatus(adapter="file", connected=True)
    await messaging.close()
    await service.close()


def test_the_metadata_extractor(tmp_path: Path) -> None:
    ((segment, _), *_) = record(tmp_path, encode(EncoderSettings(seconds=2)), segment_s=2)
    brightness = load_extractor("examples.metadata_extractor:brightness")
    (path,) = tmp_path.rglob("*.mp4")
    found = brightness(segment, path)
    assert 0 < found["brightness"] < 255


@pytest.mark.integration
async def test_the_javascript_client_of_the_page(tmp_path: Path) -> None:
    code = (DOCS / "examples" / "frames.mjs").read_text()
    assert f"```js\n{code}```\n" in (DOCS / "socketio.md").read_text()
    settings = load_settings(data_dir=tmp_path)
    service = CaptureService({"default": settings.camera("default", WALL)})
    browser = BrowserSignaling(settings, service)
    app = web.Application()
    browser.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    # From where its imports are found.
    node = await asyncio.create_subprocess_exec(
        NODE,
        "--input-type=module",
        "-e",
        code,
        "--",
        url,
        "3",
        cwd=Path(__file__).parent,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, _ = await node.communicate()
    lines = out.decode().splitlines()
    assert "default stopped" in lines
    assert [line.split()[1] for line in lines if "T" in line.split()[0]] == ["1", "2", "3"]
    await runner.cleanup()
    await service.close()


def test_the_page_of_webhooks_lists_every_message() -> None:
    rows = [
        f"| `{kind}` | {', '.join(f'`{name}`' for name in data.model_fields)} | {when} |"
        for kind, (data, when) in MESSAGES.items()
    ]
    page = (DOCS / "webhooks.md").read_text()
    assert "\n" + "\n".join(rows) + "\n\n" in page
    assert f"```js\n{(DOCS / 'examples' / 'webhook_receiver.mjs').read_text()}```\n" in page


@pytest.mark.integration
async def test_the_receivers_of_webhooks() -> None:
    commands = ((sys.executable, "webhook_receiver.py"), (NODE, "webhook_receiver.mjs"))
    await asyncio.gather(*(_receive_webhook(*command) for command in commands))


async def _receive_webhook(program: str, example: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    receiver = await asyncio.create_subprocess_exec(
        program,
        str(DOCS / "examples" / example),
        str(port),
        SECRET,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert receiver.stdout is not None
    body = message("webhook.test", "2026-11-29T09:10:31.204Z", TrialData(message="ü")).model_dump_json().encode()

    async def send(message_id: str, *secrets: str) -> int | None:
        table = WebhookTable.model_validate({"url": f"http://127.0.0.1:{port}/", "secret": list(secrets)})
        client = WebhookClient(table, None)
        try:
            return (await client.send(message_id, body)).status
        finally:
            await client.close()

    try:
        await eventually(lambda: send("a", OTHER_SECRET, SECRET), "the receiver listens")
        assert [await send("b", OTHER_SECRET), await send("a", SECRET), await send("c", SECRET)] == [401, 204, 204]
        lines = [(await receiver.stdout.readline()).decode() for _ in range(2)]
    finally:
        receiver.kill()
        await receiver.communicate()
    assert all(line.startswith("2026-11-29T09:10:31.204Z webhook.test ") and "ü" in line for line in lines)


class _Loaded(HTMLParser):
    """What a page loads, in contrast to what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is not None and (name in ("src", "srcset", "poster") or (tag == "link" and name == "href")):
                self.urls.append(value)


@pytest.mark.integration
def test_the_site_is_built_without_a_broken_link_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=DOCS.parent,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.with_suffix(".html").name for page in DOCS.glob("*.md")}
    assert pages <= {page.name for page in site.glob("*.html")}
    assert (site / "liveedge.example.toml").is_file()
    for page in site.rglob("*.html"):
        loaded = _Loaded()
        loaded.feed(page.read_text())
        assert len(loaded.urls) > 3
        assert not [url for url in loaded.urls if "//" in url], page.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style.name


def test_the_architecture_page_shows_every_folder() -> None:
    page = (DOCS / "architecture.md").read_text()
    (tree,) = re.findall(r"(?m)^    gateway/\n(?:    .*\n)+", page)
    shown: set[str] = set()
    parents: list[str] = []
    for indent, name in re.findall(r"(?m)^    ( *)([a-z0-9_]+)/(?: |$)", tree):
        parents = [*parents[: len(indent) // 2], name]
        shown.add("/".join(parents))
    packages = {"gateway", "hls", "signaling", "web"}
    folders = {path.parent for package in packages for path in (DOCS.parent / package).rglob("*.py")}
    paths = {str(folder.relative_to(DOCS.parent)) for folder in folders if "node_modules" not in folder.parts}
    assert {name for name in shown if name.partition("/")[0] in packages} == paths
