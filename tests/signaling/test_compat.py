"""What signaling/compat.py uses of python-socketio and python-engineio is still there.

A failure here names the attribute that a new version of a library has lost or changed. What the hooks do is tested
against real connections in test_browser.py and test_ems.py.
"""

import inspect
from pathlib import Path

import engineio
import pytest
import socketio
from aiohttp import web
from engineio import packet
from engineio.async_drivers.aiohttp import WebSocket
from engineio.async_socket import AsyncSocket

from signaling.compat import HandshakeEngineClient, HookedClient, HookedEngine, HookedServer, UncompressedWebSocket

SIGNALING = Path(__file__).parents[2] / "signaling"


def missing(holder: object, library: str, *names: str) -> list[str]:
    return [f"{library} no longer has {name}" for name in names if not hasattr(holder, name)]


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_engineio_server_class", ["self"]),
        ("_handle_eio_connect", ["self", "eio_sid", "environ"]),
        ("_handle_eio_disconnect", ["self", "eio_sid", "reason"]),
        ("_handle_eio_message", ["self", "eio_sid", "data"]),
        ("_handle_event_internal", ["self", "server", "sid", "eio_sid", "data", "namespace", "id"]),
    ],
)
def test_the_socketio_server_has_the_hooks_that_are_overridden(name: str, expected: list[str]) -> None:
    assert missing(socketio.AsyncServer, "socketio.AsyncServer", name) == []
    assert parameters(getattr(socketio.AsyncServer, name)) == expected
    assert name in vars(HookedServer), f"HookedServer does not override {name}"


def test_the_socketio_server_has_the_attributes_that_are_read() -> None:
    server = HookedServer(async_mode="aiohttp")
    assert missing(server, "socketio.AsyncServer", "eio", "environ", "manager", "_binary_packet") == []
    assert isinstance(server.eio, HookedEngine), "the server no longer takes its engine from _engineio_server_class"
    assert missing(server.manager, "its manager", "eio_sid_from_sid", "sid_from_eio_sid", "is_connected") == []


async def test_an_engineio_session_has_the_attributes_that_are_read() -> None:
    server = HookedServer(async_mode="aiohttp")
    assert missing(server.eio, "engineio.AsyncServer", "sockets", "handle_request", "max_http_buffer_size") == []
    session = AsyncSocket(server.eio, "sid")
    assert missing(session, "engineio.async_socket.AsyncSocket", "queue", "closed") == []
    assert {"wait", "abort"} <= set(parameters(session.close))
    assert missing(session.queue, "its queue", "qsize", "join") == []


def test_the_engine_takes_its_websocket_from_its_driver_table() -> None:
    engine = HookedEngine(async_mode="aiohttp")
    assert engine._async["websocket"] is UncompressedWebSocket
    assert "websocket" in engineio.AsyncServer(async_mode="aiohttp")._async


def test_the_websocket_of_engineio_is_made_as_ours_makes_it() -> None:
    source = inspect.getsource(WebSocket)
    for used in ("self._sock", "self.handler", "self.server", "web.WebSocketResponse", "self.environ"):
        assert used.removeprefix("web.") in source, f"engineio's aiohttp WebSocket no longer uses {used}"
    assert issubclass(web.WebSocketResponse, web.StreamResponse)


def test_packets_have_names_by_type() -> None:
    assert missing(packet, "engineio.packet", "Packet", "packet_names") == []
    assert packet.packet_names[packet.Packet(encoded_packet="4x").packet_type] == "MESSAGE"
    with pytest.raises((ValueError, IndexError, KeyError)):
        packet.packet_names[packet.Packet(encoded_packet="zzz").packet_type]


async def test_the_socketio_client_has_what_is_used() -> None:
    client = HookedClient(handle_sigint=False)
    assert missing(client, "socketio.AsyncClient", "_handle_eio_message", "_binary_packet", "eio", "connected") == []
    names = ("state", "ws", "queue", "read_loop_task", "write_loop_task", "_send_request")
    assert missing(client.eio, "engineio.AsyncClient", *names) == []
    assert isinstance(client.eio, HandshakeEngineClient), "socketio.AsyncClient ignores _engineio_client_class"
    assert parameters(engineio.AsyncClient._send_request)[:3] == ["self", "method", "url"]
    assert client.handshake_text == ""
    assert isinstance(engineio.base_client.connected_clients, list), (
        "engineio.base_client.connected_clients has changed"
    )
    assert parameters(socketio.AsyncClient._handle_eio_message) == ["self", "data"]
    assert not client.is_open
    assert client.transport_socket is None
    client.deregister()


async def test_the_client_shows_and_drops_an_event_that_waits_for_attachments() -> None:
    client = HookedClient(handle_sigint=False)
    assert client.attachments_awaited == 0
    await client.packet_received('53-["an_event",{"_placeholder":true,"num":0}]')
    assert client.attachments_awaited == 3
    client.drop_binary_packet()
    assert client.attachments_awaited == 0


def test_private_names_are_used_in_compat_alone() -> None:
    for path in SIGNALING.glob("*.py"):
        if path.name != "compat.py":
            text = path.read_text()
            for name in ("_handle_", "._binary_packet", "_engineio", "read_loop_task", "connected_clients", "._async"):
                assert name not in text, f"{path.name} uses {name}"
