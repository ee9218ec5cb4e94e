"""Attacks by Socket.IO. See :mod:`bench.support.attacks`."""

import asyncio
import contextlib
import json
import random
import re

import aiohttp

from bench.support import webrtc_load
from bench.support.attack_target import CAMERA, Target


async def unjoined(target: Target) -> None:
    """Polling Socket.IO sessions that never join."""
    await target.repeat("GET", lambda _: "/socket.io/?EIO=4&transport=polling", 32)


async def binary_placeholders(target: Target) -> None:
    """WebSockets that announce attachments, send some, and send packets that are none."""
    messages = [
        '451-["capture_status_request",{"_placeholder":true,"num":0}]',
        '4599999999-["x",{"_placeholder":true,"num":0}]',
        b"\xff" * 10_000,
        '42["frames_subscribe",' + "[" * 500 + "]" * 500 + "]",
        '42["no_such_event"]',
        "4" + "2" * 1000,
        '43999["ack"]',
    ]

    async def one(n: int) -> None:
        async with target.http(n) as http:
            while target.goes_on:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as line:
                        await line.send_str("40")
                        for _ in range(200):
                            message = random.choice(messages)
                            await (line.send_bytes(message) if isinstance(message, bytes) else line.send_str(message))
                            target.counts["messages"] += 1
                        target.counts["connections"] += 1

    await asyncio.gather(*(one(n) for n in range(16)))


async def socket_io_clients(target: Target) -> None:
    """500 Socket.IO clients that join, request a status every second, and stay."""

    async def one(n: int) -> None:
        async with target.http(n) as http:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as line:
                    await line.send_str("40")
                    target.counts["joined"] += 1
                    while target.goes_on:
                        await line.send_str('42["capture_status_request",{"requesting_client":"a"}]')
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(1):
                                while (await line.receive()).type is aiohttp.WSMsgType.TEXT:
                                    target.counts["messages"] += 1
                                break

    await asyncio.gather(*(one(n) for n in range(500)))


async def socket_io_frames(target: Target) -> None:
    """64 Socket.IO clients that subscribe to frames again and again, each time of another width, and acknowledge."""

    async def one(n: int) -> None:
        async with target.http(n) as http:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as line:
                    await line.send_str("40")
                    width = 16 + n
                    while target.goes_on:
                        width = 16 + (width + 64) % 7000
                        body = f'{{"camera_id":"{CAMERA}","width":{width},"frame_rate":60}}'
                        await line.send_str(f'421["frames_subscribe",{body}]')
                        target.counts["subscriptions"] += 1
                        await _acknowledge_some(line)

    await asyncio.gather(*(one(n) for n in range(64)))


async def _acknowledge_some(line: aiohttp.ClientWebSocketResponse) -> None:
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                message = await line.receive()
                found = re.match(r"451-(\d+)", message.data) if message.type is aiohttp.WSMsgType.TEXT else None
                if found is not None:
                    await line.send_str(f"43{found[1]}[]")


async def socket_io_offers(target: Target) -> None:
    """WebRTC offers over 32 Socket.IO clients, as fast as they are answered."""
    sdp = (await webrtc_load.offer()).localDescription.sdp
    offer = json.dumps(["webrtc_offer", {"client_id": "a", "camera_id": CAMERA, "sdp": sdp, "type": "offer"}])

    async def one(n: int) -> None:
        async with target.http(n) as http:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with http.ws_connect("/socket.io/?EIO=4&transport=websocket") as line:
                    await line.send_str("40")
                    while target.goes_on:
                        await line.send_str(f"421{offer}")
                        target.counts["offers"] += 1
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(1):
                                while not (await line.receive_str()).startswith("431"):
                                    pass
                                target.counts["answers"] += 1

    await asyncio.gather(*(one(n) for n in range(32)))
