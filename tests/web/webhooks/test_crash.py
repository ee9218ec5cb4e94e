"""Webhooks of a gateway process that is killed, and the command that tries an endpoint."""

import asyncio
import json
import sys
import urllib.request
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.webhook_receiver import OTHER_SECRET, SECRET, Answer, webhook_receiver
from web.settings import load_settings
from web.webhooks.command import send_test

TABLES = """
[cameras.door]
url = "fake://door"
engine = "fake"
start = "on-demand"

[webhooks.home]
url = "{url}home"
secret = "{secret}"
events = ["event.*"]
"""


def create(gateway: GatewayProcess, label: str) -> None:
    body = json.dumps({"camera_id": "door", "label": label}).encode()
    request = urllib.request.Request(f"{gateway.url}/api/events", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201


async def test_a_message_that_waits_is_delivered_after_kill_9_with_its_id(tmp_path: Path) -> None:
    async with webhook_receiver() as receiver:
        receiver.answer = lambda _path, body: Answer(204 if body["type"] == "webhook.test" else 503)
        (tmp_path / "liveedge.toml").write_text(TABLES.format(url=receiver.url, secret=SECRET))
        gateway = GatewayProcess(tmp_path)
        try:
            _, tried = await asyncio.gather(asyncio.to_thread(gateway.start), try_endpoint(tmp_path))
            assert tried[0] == 0
            assert b"webhook home: delivered to http://127.0.0.1" in tried[1]
            assert [each.type for each in receiver.requests] == ["webhook.test"]
            receiver.requests.clear()
            await asyncio.to_thread(create, gateway, "one")
            await asyncio.to_thread(create, gateway, "two")
            await eventually(lambda: receiver.requests, "an attempt was made")
            await asyncio.to_thread(gateway.kill)
            receiver.answer = lambda _path, _body: Answer()
            await asyncio.to_thread(gateway.start)
            await eventually(lambda: len(receiver.taken("/home")) == 2, "both are delivered")
        finally:
            await asyncio.to_thread(gateway.__exit__, None, None, None)
        assert [each.data["event"]["label"] for each in receiver.taken("/home")] == ["one", "two"]
        assert receiver.taken("/home")[0].id == receiver.requests[0].id


async def try_endpoint(folder: Path) -> tuple[int | None, bytes]:
    """``liveedge webhook test home``, beside the gateway."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "web", "webhook", "test", "home"),
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output


@pytest.mark.usefixtures("place")
async def test_what_the_command_says_of_an_endpoint_that_refuses(tmp_path: Path) -> None:
    async with webhook_receiver() as receiver:
        (tmp_path / "liveedge.toml").write_text(TABLES.format(url=receiver.url, secret=SECRET))
        receiver.secret = OTHER_SECRET
        why = f"the answer of {receiver.url.rstrip('/')} was 401"
        assert await send_test(load_settings(), "home") == (False, f"webhook home: not delivered: {why}")
    is_delivered, why = await send_test(load_settings(), "home")
    assert not is_delivered
    assert "no connection to http://127.0.0.1" in why
    assert not (tmp_path / "data").exists()
    with pytest.raises(SettingsError, match=r"no \[webhooks.nobody\].*home"):
        await send_test(load_settings(), "nobody")
