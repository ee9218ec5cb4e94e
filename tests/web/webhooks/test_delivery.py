"""Delivery to real HTTP servers: order, signatures, retries, and what an endpoint may do wrong."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.eventually import eventually
from tests.support.resolver import Resolver
from tests.support.webhook_receiver import OTHER_SECRET, SECRET, Answer, WebhookReceiver, webhook_receiver
from web.checked_resolver import refuse_metadata
from web.webhooks.client import WebhookClient
from web.webhooks.delivery import Delivery
from web.webhooks.outbox import Outbox
from web.webhooks.retries import Retries
from web.webhooks.settings import WebhookTable


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as found:
        yield found


class Quick(Retries):
    """Waits only where the endpoint asks for it."""

    def note(self, message_id: str, outcome: Any, now_s: float) -> bool:
        is_done = super().note(message_id, outcome, now_s)
        self.next_s = now_s + outcome.retry_after_s
        return is_done


@contextlib.asynccontextmanager
async def delivering(folder: Path, url: str, name: str = "home", **table: Any) -> AsyncIterator[Delivery]:
    outbox = Outbox(folder / f"{name}.db")
    await outbox.open()
    found = WebhookTable.model_validate({"url": url, "secret": SECRET} | table)
    delivery = Delivery(name, found, WebhookClient(found, refuse_metadata, timeout_s=5), outbox, Quick())
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.close()
        await outbox.close()


def add(delivery: Delivery, *ids: str) -> None:
    for each in ids:
        delivery.add(each, "event.created", f'{{"type": "event.created", "data": {{"text": "ü {each}"}}}}'.encode())


async def drained(delivery: Delivery) -> None:
    await eventually(lambda: delivery.status().waiting == 0, "everything is delivered")


async def test_messages_arrive_once_in_order_and_signed(tmp_path: Path, receiver: WebhookReceiver) -> None:
    ids = [f"msg_{number}" for number in range(30)]
    async with delivering(tmp_path, receiver.url + "in?key=1") as delivery:
        add(delivery, *ids)
        await drained(delivery)
        assert (delivery.delivered, delivery.failed) == (30, 0)
    assert [each.id for each in receiver.requests] == ids
    first = receiver.requests[0]
    assert first.path == "/in"
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["User-Agent"].startswith("liveedge/")
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(first.raw, dict(first.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(first.raw + b" ", dict(first.headers))


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
async def test_while_secrets_are_rotated_each_receiver_can_verify(
    tmp_path: Path, receiver: WebhookReceiver, secret: str
) -> None:
    receiver.secret = secret
    async with delivering(tmp_path, receiver.url, secret=[OTHER_SECRET, SECRET]) as delivery:
        add(delivery, "a")
        await drained(delivery)
    assert receiver.requests[0].headers["webhook-signature"].count("v1,") == 2


async def test_a_failure_is_tried_again_with_the_same_id_before_the_next(
    tmp_path: Path, receiver: WebhookReceiver
) -> None:
    statuses = iter((500, 503, 404, 302))
    receiver.answer = lambda _path, _body: Answer(next(statuses, 204), {"Location": f"{receiver.url}elsewhere"})
    async with delivering(tmp_path, receiver.url) as delivery:
        add(delivery, "a", "b")
        await drained(delivery)
        assert (delivery.delivered, delivery.failed, delivery.last_error) == (2, 4, None)
    assert [(each.id, each.status) for each in receiver.requests] == [
        *(("a", status) for status in (500, 503, 404, 302, 204)),
        ("b", 204),
    ]
    assert {each.path for each in receiver.requests} == {"/"}  # a redirect is not followed
    assert len({each.raw for each in receiver.requests if each.id == "a"}) == 1


async def test_gone_disables_an_endpoint_over_restarts_until_it_is_enabled(
    tmp_path: Path, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _path, _body: Answer(410)
    async with delivering(tmp_path, receiver.url) as delivery:
        add(delivery, "a", "b")
        await eventually(lambda: delivery.disabled, "it is disabled")
        status = delivery.status()
        assert (status.enabled, status.waiting, status.dropped["gone"]) == (False, 0, 2)
    async with delivering(tmp_path, receiver.url) as delivery:
        add(delivery, "c")
        assert not delivery.status().enabled
        assert delivery.status().waiting == 0
        receiver.answer = lambda _path, _body: Answer()
        delivery.enable()
        add(delivery, "d")
        await drained(delivery)
    assert [(each.id, each.status) for each in receiver.requests] == [("a", 410), ("d", 204)]
    async with delivering(tmp_path, receiver.url) as delivery:
        assert delivery.status().enabled


async def test_another_url_is_another_endpoint(tmp_path: Path, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda path, _body: Answer(410 if path == "/old" else 204)
    async with delivering(tmp_path, receiver.url + "old") as delivery:
        add(delivery, "a")
        await eventually(lambda: delivery.disabled, "it is disabled")
    async with delivering(tmp_path, receiver.url + "new") as delivery:
        add(delivery, "b")
        await drained(delivery)
    assert [each.id for each in receiver.taken("/new")] == ["b"]


async def test_retry_after_is_respected_also_after_a_restart(tmp_path: Path, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda _path, _body: Answer(429, {"Retry-After": "1000"})
    async with delivering(tmp_path, receiver.url) as delivery:
        add(delivery, "a")
        await eventually(lambda: delivery.failed, "the first attempt has failed")
        assert delivery._retries.next_s - asyncio.get_running_loop().time() > 900
    receiver.answer = lambda _path, _body: Answer()
    async with delivering(tmp_path, receiver.url) as delivery:
        assert delivery._retries.next_s - asyncio.get_running_loop().time() > 900
        await asyncio.sleep(0.05)
        assert len(receiver.requests) == 1
        delivery.enable()  # an administrator does not want to wait
        await drained(delivery)
    assert [each.id for each in receiver.taken()] == ["a"]


async def test_a_slow_endpoint_and_a_dead_one_delay_no_other(tmp_path: Path, receiver: WebhookReceiver) -> None:
    release = asyncio.Event()
    receiver.answer = lambda path, _body: Answer(wait=release if path == "/slow" else None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead_url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with (
            delivering(tmp_path, receiver.url + "slow", "slow") as slow,
            delivering(tmp_path, dead_url, "dead") as dead,
            delivering(tmp_path, receiver.url + "quick", "quick") as quick,
        ):
            for each in (slow, dead, quick):
                add(each, *"abcde")
            await drained(quick)
            assert (slow.delivered, dead.delivered) == (0, 0)
            assert dead.last_error is not None
            assert "no connection to http://127.0.0.1" in dead.last_error
            release.set()
            await drained(slow)


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://metadata.test/", ["169.254.169.254"]),
        ("http://metadata.test/", ["127.0.0.1", "169.254.169.254"]),
        ("http://metadata.test/", ["fd00:ec2::254"]),
        ("http://169.254.169.254/latest/", []),
        ("http://[fe80::1]/", []),
        ("http://[::ffff:169.254.169.254]/", []),
        ("http://2852039166/", []),
        ("http://0xa9fea9fe/", []),
        ("http://0/", []),
    ],
)
async def test_no_connection_is_made_to_a_metadata_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, addresses: list[str]
) -> None:
    Resolver(monkeypatch).addresses["metadata.test"] = addresses
    table = WebhookTable.model_validate({"url": url, "secret": SECRET})
    client = WebhookClient(table, refuse_metadata, timeout_s=5)
    try:
        outcome = await client.send("a", b"{}")
    finally:
        await client.close()
    assert outcome.status is None
    assert "metadata service" in outcome.why or "write its host" in outcome.why


async def test_a_name_is_looked_up_for_each_connection_and_the_answer_is_what_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: WebhookReceiver
) -> None:
    resolver = Resolver(monkeypatch)
    resolver.addresses["hooks.test"] = ["127.0.0.1"]
    receiver.answer = lambda _path, _body: Answer(headers={"Connection": "close"})
    async with delivering(tmp_path, receiver.url.replace("127.0.0.1", "hooks.test")) as delivery:
        add(delivery, "a")
        await drained(delivery)
        resolver.addresses["hooks.test"] = ["169.254.169.254"]  # DNS rebinding
        add(delivery, "b")
        await eventually(lambda: delivery.last_error, "it is refused")
        assert "169.254.169.254" in str(delivery.last_error)
        resolver.addresses["hooks.test"] = ["127.0.0.1"]
        await drained(delivery)
    assert len(resolver.asked) >= 3
    assert [each.id for each in receiver.taken()] == ["a", "b"]


async def test_an_answer_that_does_not_end_is_cut(tmp_path: Path) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        served.append(1)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"x" * 65536)
                await writer.drain()
        writer.close()

    served: list[int] = []
    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with delivering(tmp_path, f"http://127.0.0.1:{port}/") as delivery:
            add(delivery, "a", "b")
            await drained(delivery)
    assert len(served) == 2
