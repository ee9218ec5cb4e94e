"""A real Socket.IO server that acts as the EMS, in its own process; :mod:`tests.support.ems` starts it.

It writes one JSON object a line to standard output: first ``{"port": …}``, then every event: ``{"on": "connect",
"query": …, "auth": …}``, ``{"on": "disconnect"}`` and ``{"on": event, "data": …}``, bytes as ``{"base64": …}``. Each
line that it reads is an order: ``{"emit": [event, *data]}`` (with ``"ack": n`` it reports the acknowledgement as
``{"on": "ack", "ack": n, "data": …}``), ``{"disconnect": true}``, ``{"raw": text}`` for an Engine.IO message without
changes. It ends when its standard input closes.
"""

import argparse
import asyncio
import base64
import json
import sys
from typing import Any

import socketio
from aiohttp import web


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def say(**what: Any) -> None:
    print(json.dumps(plain(what)), flush=True)


class Server(socketio.AsyncServer):
    """With an option it does not acknowledge events, like most JavaScript servers."""

    acknowledges = True

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: list[Any], namespace: str, id: int | None
    ) -> None:
        await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id if self.acknowledges else None)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="refuse clients without it")
    parser.add_argument("--no-ack", action="store_true")
    parser.add_argument("--goodbye", action="store_true", help="disconnect each client after its connect")
    parser.add_argument("--path", default="socket.io")
    parser.add_argument("--transports", default="polling,websocket")
    parser.add_argument("--max-payload", type=int, default=1_000_000)
    parser.add_argument("--greet", help="a command, as JSON, that each client gets before its connection is accepted")
    parser.add_argument("--ack-after", type=float, default=0, help="seconds until a frame is acknowledged")
    options = parser.parse_args()
    sio = Server(
        async_mode="aiohttp",
        ping_interval=5,
        ping_timeout=5,
        transports=options.transports.split(","),
        max_http_buffer_size=options.max_payload,
    )
    sio.acknowledges = not options.no_ack

    async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        if options.token and (auth or {}).get("token") != options.token:
            say(on="refused", auth=auth)
            raise socketio.exceptions.ConnectionRefusedError("wrong token")
        say(on="connect", query=environ["QUERY_STRING"], auth=auth)
        if options.greet:
            await sio.emit(*json.loads(options.greet), to=sid)
        if options.goodbye:
            sio.start_background_task(sio.disconnect, sid)

    async def disconnect(_sid: str, reason: str) -> None:
        say(on="disconnect", reason=reason)

    in_flight = 0

    async def anything(event: str, _sid: str, *data: Any) -> None:
        nonlocal in_flight
        in_flight += 1
        say(on=event, data=data[0] if data else None, in_flight=in_flight)
        if event == "video_frame_from_service":
            await asyncio.sleep(options.ack_after)
        in_flight -= 1

    sio.on("connect", connect)
    sio.on("disconnect", disconnect)
    sio.on("*", anything)
    app = web.Application()
    sio.attach(app, options.path)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port)
    await site.start()
    say(port=runner.addresses[0][1])

    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        if "emit" in order:
            event, *data = order["emit"]
            ack = order.get("ack")
            for sid in list(sio.manager.rooms.get("/", {}).get(None, {})):
                answered = None if ack is None else (lambda *got, ack=ack: say(on="ack", ack=ack, data=list(got)))
                await sio.emit(event, tuple(data), to=sid, callback=answered)
        elif "disconnect" in order:
            for sid in list(sio.manager.rooms.get("/", {}).get(None, {})):
                await sio.disconnect(sid)
        elif "raw" in order:
            for sid in list(sio.eio.sockets):
                await sio.eio.send(sid, order["raw"])
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
