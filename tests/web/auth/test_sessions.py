"""What lasts longer than a request: WebRTC viewers, their owners, and Socket.IO connections."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from signaling import browser_clients, compat, socket_server
from tests.support.auth_gateway import (
    ADMIN_TOKEN,
    DEMO,
    JWT_SECRET,
    Client,
    auth_gateway,
    bearer,
    close_failed,
    offered,
)
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from web.auth.authenticator import AUTHENTICATOR
from web.auth.jwt import LEEWAY_S
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY
from web.settings import load_settings

TOKENS: dict[str, Any] = {
    "tokens": {
        name: {"token": f"the-token-of-{name}-the-viewer", "scopes": ["view"], "cameras": ["demo"]}
        for name in ("ada", "bob")
    }
}
ADA, BOB = (bearer(f"the-token-of-{name}-the-viewer") for name in ("ada", "bob"))

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}


@pytest.fixture
async def offer() -> AsyncIterator[str]:
    async with offered() as sdp:
        yield sdp


async def test_only_its_owner_or_an_admin_changes_a_viewer(tmp_path: Path, offer: str) -> None:
    async with auth_gateway(tmp_path, cameras=DEMO, auth=TOKENS, ice_servers="turn:u:p@turn.example.org") as client:

        async def status(method: str, path: str, who: dict[str, str], **more: Any) -> int:
            async with client.request(method, path, headers={**who, **more.pop("headers", {})}, **more) as answer:
                return answer.status

        async with client.post("/whep/demo", data=offer, headers={**SDP, **ADA}) as answer:
            assert answer.status == 201, await answer.text()
            path = answer.headers["Location"]
            assert "turn.example.org" in answer.headers["Link"]
        viewer = path.rpartition("/")[2]
        candidate = {"data": "a=end-of-candidates\r\n", "headers": FRAGMENT}
        assert await status("PATCH", path, {}, **candidate) == 401
        assert await status("PATCH", path, BOB, **candidate) == 404, "as for a viewer that does not exist"
        assert await status("DELETE", path, BOB) == 404
        assert await status("PATCH", path, ADA, **candidate) == 204
        clock = f"/api/cameras/demo/viewers/{viewer}/clock"
        assert await status("GET", clock, {}) == 401
        assert await status("GET", clock, BOB) == 404
        assert await status("HEAD", clock, BOB) == 404
        assert await status("GET", clock, ADA) in (200, 503), "503 before the first frame"
        assert await status("DELETE", path, ADA) == 200
        assert client.app is not None
        assert len(client.app[VIEWER_OWNERSHIP]) == 0, "a viewer that left is forgotten"
        async with client.post("/whep/demo", data=offer, headers={**SDP, **ADA}) as answer:
            path = answer.headers["Location"]
        assert await status("DELETE", path, bearer(ADMIN_TOKEN)) == 200


async def test_turn_credentials_are_for_viewers(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, cameras=DEMO, auth=TOKENS, ice_servers="turn:u:p@turn.example.org") as client:
        async with client.options("/whep/demo") as answer:
            assert answer.status == 401
            assert "Link" not in answer.headers
        async with client.options("/whep/demo", headers=ADA) as answer:
            assert answer.status == 200
            assert "turn.example.org" in answer.headers["Link"]


# --- Socket.IO


async def connected(client: Client, **options: Any) -> tuple[socketio.AsyncClient, asyncio.Event]:
    """A client, and an event that is set when its connection ends."""
    sio, ended = socketio.AsyncClient(reconnection=False, handle_sigint=False), asyncio.Event()
    sio.on("disconnect", lambda *_: ended.set())
    try:
        await sio.connect(str(client.make_url("/")), **{"transports": ["websocket"], **options})
    except BaseException:
        await close_failed(sio)
        raise
    return sio, ended


async def test_a_connection_ends_when_its_token_expires(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with auth_gateway(tmp_path, clock, auth_jwt_secret=JWT_SECRET) as client:
        ends_s = time.time() + 600
        token = jwt.encode({"exp": ends_s, "scope": "view"}, JWT_SECRET, "HS256")
        clock.ahead_s = 600 + LEEWAY_S - 0.3  # a third of a second is left
        _, ended = await connected(client, auth={"token": token})
        async with asyncio.timeout(60):
            await ended.wait()


async def test_the_authorization_header_of_the_connection_is_accepted(auth_client: Client) -> None:
    for options in ({"headers": bearer(ADMIN_TOKEN)}, {"auth": {"token": ADMIN_TOKEN}}):
        for transport in ("websocket", "polling"):
            sio, _ = await connected(auth_client, transports=[transport], **options)
            await sio.disconnect()
    with pytest.raises(Refused):
        await connected(auth_client, headers=bearer("a-wrong-guess-of-a-token"))


async def test_a_connection_that_never_joins_is_closed(auth_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_server, "JOIN_S", 0.2)
    url = auth_client.make_url("/socket.io/?EIO=4&transport=websocket")
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as line:
        assert (await line.receive()).data.startswith("0")
        async with asyncio.timeout(60):
            while (await line.receive()).type is aiohttp.WSMsgType.TEXT:
                pass


async def test_connections_that_never_join_keep_nobody_out(
    auth_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "UNJOINED_MAX", 5)
    assert auth_client.app is not None
    server = auth_client.app[GATEWAY].browser
    async with aiohttp.ClientSession() as session:
        url = auth_client.make_url("/socket.io/?EIO=4&transport=polling")
        sids = []
        for _ in range(12):
            async with session.get(url) as answer:
                sids.append(json.loads((await answer.text())[1:])["sid"])
        sio, _ = await connected(auth_client, auth={"token": "may-view-everything"})
        assert (server.unjoined, server.unjoined_evicted) == (4, 8)
        alive = []
        for sid in sids:
            async with session.post(f"{url}&sid={sid}", data="40") as answer:
                alive.append(answer.status == 200)
        assert alive == [False] * 8 + [True] * 4, "the oldest gave way"
        assert sio.connected
        await sio.disconnect()


async def test_a_client_that_leaves_and_keeps_its_connection_has_not_joined(auth_client: Client) -> None:
    assert auth_client.app is not None
    server = auth_client.app[GATEWAY].browser
    url = auth_client.make_url("/socket.io/?EIO=4&transport=websocket")
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as line:
        await line.receive()
        assert server.unjoined == 1
        await line.send_str('40{"token": "' + ADMIN_TOKEN + '"}')
        await eventually(lambda: (server.unjoined, server.status().clients) == (0, 1), "it has joined")
        await line.send_str("41")
        await eventually(lambda: (server.unjoined, server.status().clients) == (1, 0), "it has left")


async def test_an_upgrade_to_websocket_that_is_not_completed_ends(
    auth_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "UPGRADE_S", 0.2)
    async with aiohttp.ClientSession() as session:
        async with session.get(auth_client.make_url("/socket.io/?EIO=4&transport=polling")) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        url = auth_client.make_url(f"/socket.io/?EIO=4&transport=websocket&sid={sid}")
        async with session.ws_connect(url) as line:
            with pytest.raises(aiohttp.WSServerHandshakeError) as second:
                await session.ws_connect(url)
            assert second.value.status == 409
            async with asyncio.timeout(60):
                assert (await line.receive()).type is not aiohttp.WSMsgType.TEXT


async def test_connections_of_one_address_are_limited(auth_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_clients, "CLIENTS_PER_ADDRESS_MAX", 3)
    options = {"auth": {"token": "may-view-everything"}}
    clients = [(await connected(auth_client, **options))[0] for _ in range(3)]
    with pytest.raises(Refused):
        await connected(auth_client, **options)
    assert auth_client.app is not None
    assert auth_client.app[GATEWAY].browser.connections_refused == 1
    others = ("may-view-the-door", *[ADMIN_TOKEN] * 4)
    clients += [(await connected(auth_client, auth={"token": token}))[0] for token in others]
    for sio in clients:
        await sio.disconnect()
    for _ in range(200):
        try:
            sio, _ = await connected(auth_client, **options)
            break
        except Refused:
            await asyncio.sleep(0.02)  # the server has not noticed yet that they left
    else:
        pytest.fail("no connection is accepted any more")
    await sio.disconnect()


async def test_a_reload_applies_to_the_next_connection(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        assert client.app is not None
        client.app[AUTHENTICATOR].reload(load_settings(auth_token="another-token-of-the-admin"))
        with pytest.raises(Refused):
            await connected(client, auth={"token": ADMIN_TOKEN})
        sio, _ = await connected(client, auth={"token": "another-token-of-the-admin"})
        await sio.disconnect()
