"""How many clients the gateway's own Socket.IO server has, with real connections."""

import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.signaling.conftest import SignalingServer


async def test_the_address_with_the_most_clients_makes_room_for_another(
    server: "SignalingServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses that each have as many clients as one may have keep nobody out."""
    monkeypatch.setattr("signaling.browser_clients.CLIENTS_MAX", 4)
    async with contextlib.AsyncExitStack() as stack:

        async def join(address: str) -> tuple[aiohttp.ClientWebSocketResponse, bool]:
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            line = await http.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket")
            await line.receive_str()
            await line.send_str("40")
            return line, (await line.receive_str()).startswith("40")

        many = [await join("127.0.0.2") for _ in range(3)]
        alone = await join("127.0.0.3")
        others = [await join("127.0.0.4"), await join("127.0.0.5")]
        assert all(has_joined for _, has_joined in (*many, alone, *others))
        assert server.browser.clients_displaced == 2
        for line, _ in many[1:]:
            while (await line.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert not many[0][0].closed
        assert not (await join("127.0.0.2"))[1], "nobody has more than one more than it would have"
        await alone[0].send_str('421["capture_status_request",{"requesting_client":"a"}]')
        while not (await alone[0].receive_str()).startswith("431"):
            pass
