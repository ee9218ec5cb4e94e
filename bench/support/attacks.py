"""Attacks on a gateway: each does one thing for some seconds, as fast as it can, and prints how often it did it.

    python -m bench.support.attacks NAME URL UDP_PORT SECONDS

An attacker has eight addresses on loopback, 127.0.1.1 to 127.0.1.8. ``ATTACKS`` has the names.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp

from bench.support import webrtc_load

ADDRESSES = [f"127.0.1.{n}" for n in range(1, 9)]
CAMERA = "demo"

Attack = Callable[["Target"], Awaitable[None]]


class Target:
    """The gateway, when to stop, and the counts of answers."""

    def __init__(self, url: str, udp_port: int, seconds: float) -> None:
        self.url = url
        self.port = urlsplit(url).port or 80
        self.udp_port = udp_port
        self.ends_s = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends_s

    @contextlib.asynccontextmanager
    async def http(self, n: int = 0):  # type: ignore[no-untyped-def]
        """A client at one of the addresses."""
        connector = aiohttp.TCPConnector(local_addr=(ADDRESSES[n % len(ADDRESSES)], 0), limit=0)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(self.url, connector=connector, timeout=timeout) as session:
            yield session

    async def repeat(self, method: str, paths: Callable[[int], str], workers: int, **options: object) -> None:
        """Send requests in so many loops at a time, and read the answers."""
        numbers = itertools.count()

        async def work(n: int) -> None:
            async with self.http(n) as http:
                while self.goes_on:
                    try:
                        async with http.request(method, paths(next(numbers)), **options) as answer:
                            async for _ in answer.content.iter_chunked(65536):
                                if not self.goes_on:
                                    break
                            self.counts[str(answer.status)] += 1
                    except (aiohttp.ClientError, TimeoutError, OSError) as error:
                        self.counts[type(error).__name__] += 1

        await asyncio.gather(*(work(n) for n in range(workers)))

    async def connect(self, n: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A raw connection."""
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(ADDRESSES[n % len(ADDRESSES)], 0))
        self.counts["refused"] += 1
        return None


async def nothing(target: Target) -> None:
    """Only the viewers."""
    await asyncio.sleep(target.ends_s - time.monotonic())


async def slow_heads(target: Target) -> None:
    """2,000 connections that send a head byte by byte, half of them after a complete request."""

    async def one(n: int) -> None:
        while target.goes_on:
            opened = await target.connect(n)
            if opened is None:
                await asyncio.sleep(1)
                continue
            reader, writer = opened
            target.counts["connections"] += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if n % 2:
                    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    await reader.readuntil(b"}")
                while target.goes_on and not reader.at_eof():
                    writer.write(b"G")
                    await writer.drain()
                    await asyncio.sleep(1)
            writer.close()

    await asyncio.gather(*(one(n) for n in range(2000)))


async def slow_readers(target: Target) -> None:
    """200 connections that request the player's script again and again and read nothing."""
    opened = [await target.connect(n) for n in range(200)]
    writers = [pair[1] for pair in opened if pair is not None]
    request = b"GET /mjpeg/demo HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for writer in writers:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request)
        target.counts["connections"] += 1
    await asyncio.sleep(max(0.0, target.ends_s - time.monotonic()))
    for writer in writers:
        writer.transport.abort()


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


async def snapshots(target: Target) -> None:
    """Snapshots of ever new widths."""
    await target.repeat("GET", lambda n: f"/snapshot/{CAMERA}.jpg?width={16 + n % 7000}", 64)


async def mjpeg_widths(target: Target) -> None:
    """60 MJPEG streams of 60 widths above the camera's, and 60 below."""
    await target.repeat("GET", lambda n: f"/mjpeg/{CAMERA}?frame_rate=60&width={16 + 31 * n}", 120)


async def capture_clients(target: Target) -> None:
    """Starts of the capture with ever new client ids."""

    numbers = itertools.count()

    async def one(n: int) -> None:
        async with target.http(n) as http:
            while target.goes_on:
                body = {"client_id": f"new-{next(numbers)}", "metadata": {"x": "y" * 7000}}
                async with http.post(f"/api/cameras/{CAMERA}/capture/start", json=body) as answer:
                    await answer.read()
                    target.counts[str(answer.status)] += 1

    await asyncio.gather(*(one(n) for n in range(16)))


async def hls_reloads(target: Target) -> None:
    """Reloads of the playlist: plain ones, far ahead, and just ahead, which wait."""
    paths = ["live.m3u8", "live.m3u8?_HLS_msn=99999999", "live.m3u8?_HLS_skip=YES", "index.m3u8"]
    await target.repeat("GET", lambda n: f"/hls/{CAMERA}/{paths[n % len(paths)]}", 32)


async def ranges(target: Target) -> None:
    """Requests for hundreds of ranges of recordings, and for single bytes."""
    async with target.http() as http, http.get(f"/api/cameras/{CAMERA}/segments") as answer:
        names = [each["id"] for each in (await answer.json())["segments"]]
    header = "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(0, 1200, 2))
    path = f"/archive/{CAMERA}/{names[0]}.mp4"
    await asyncio.gather(
        target.repeat("GET", lambda _: path, 8, headers={"Range": header[:8000]}),
        target.repeat("GET", lambda _: path, 8, headers={"Range": "bytes=-1"}),
    )


async def clips(target: Target) -> None:
    """Clips of 24 hours (refused) and of two hours, and playlists of a day."""
    now = datetime.now(UTC)

    def path(n: int) -> str:
        hours = (24, 2)[n % 2]
        start = (now - timedelta(hours=hours, seconds=-1)).isoformat().replace("+00:00", "Z")
        end = now.isoformat().replace("+00:00", "Z")
        if n % 3 == 2:
            return f"/hls/{CAMERA}/dvr.m3u8?start={start}"
        return f"/api/cameras/{CAMERA}/clip.mp4?start={start}&end={end}"

    await target.repeat("GET", path, 32)


async def whep_posts(target: Target) -> None:
    """Valid offers from eight addresses; nothing follows them."""
    sdp = (await webrtc_load.offer()).localDescription.sdp
    headers = {"Content-Type": "application/sdp"}
    await target.repeat("POST", lambda _: f"/whep/{CAMERA}", 16, data=sdp, headers=headers)


async def datagrams(target: Target) -> None:
    """STUN checks, DTLS ClientHellos and RTP of unknown addresses, each in bursts of a hundred."""
    stun = b"\x00\x01\x00\x08\x21\x12\xa4\x42" + os.urandom(12) + b"\x00\x06\x00\x04abcd"
    hello = b"\x16\xfe\xff" + bytes(8) + b"\x00\xc8\x01" + os.urandom(199)
    rtp = b"\x80\x60" + os.urandom(1198)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.bind((ADDRESSES[0], 0))
        while target.goes_on:
            for kind, data in (("stun", stun), ("hello", hello), ("rtp", rtp)):
                for _ in range(100):
                    with contextlib.suppress(BlockingIOError):
                        sender.sendto(data, ("127.0.0.1", target.udp_port))
                        target.counts[kind] += 1
            await asyncio.sleep(0.01)


async def cameras(target: Target) -> None:
    """Cameras added and removed, as fast as it goes."""
    async with target.http() as http:
        for n in itertools.count():
            if not target.goes_on:
                return
            camera = {"camera_id": f"new{n}", "url": "rtsp://127.0.0.1:9/", "record": "never"}
            async with http.post("/api/cameras", json=camera) as answer:
                target.counts[str(answer.status)] += 1
            async with http.delete(f"/api/cameras/new{n}") as answer:
                target.counts[str(answer.status)] += 1


async def unreachable(target: Target) -> None:
    """150 cameras that are always on: half refuse the connection, half accept it and answer nothing."""
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with target.http() as http:
        for n in range(150):
            camera = {"camera_id": f"away{n}", "url": f"rtsp://127.0.0.1:{(9, port)[n % 2]}/", "start": "always"}
            async with http.post("/api/cameras", json=camera) as answer:
                target.counts[str(answer.status)] += 1
        await asyncio.sleep(max(0.0, target.ends_s - time.monotonic()))
        for n in range(150):
            async with http.delete(f"/api/cameras/away{n}") as answer:
                target.counts[str(answer.status)] += 1
    silent.close()


async def scrapes(target: Target) -> None:
    """Scrapes of /metrics and requests for the status."""
    await target.repeat("GET", lambda n: ("/metrics", "/api/status", "/api/cameras")[n % 3], 16)


async def lingering(target: Target) -> None:
    """1,000 connections whose request was answered, and whose body never comes; each opened again when it is closed."""

    async def one(n: int) -> None:
        while target.goes_on:
            opened = await target.connect(n)
            if opened is None:
                await asyncio.sleep(1)
                continue
            reader, writer = opened
            target.counts["connections"] += 1
            writer.write(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(0.0, target.ends_s - time.monotonic())):
                    while await reader.read(65536):
                        pass
            writer.close()

    await asyncio.gather(*(one(n) for n in range(1000)))


async def replays(target: Target) -> None:
    """64 MJPEG streams of a recording, of many widths, 60 frames a second."""
    at = (datetime.now(UTC) - timedelta(seconds=8)).isoformat().replace("+00:00", "Z")
    await target.repeat("GET", lambda n: f"/mjpeg/{CAMERA}?at={at}&frame_rate=60&width={16 + 31 * (n % 60)}", 64)


async def recorded_pictures(target: Target) -> None:
    """Snapshots of ever new moments, and thumbnails."""
    now = datetime.now(UTC)
    async with target.http() as http, http.get(f"/api/cameras/{CAMERA}/segments") as answer:
        names = [each["id"] for each in (await answer.json())["segments"]]

    def path(n: int) -> str:
        if n % 4 == 0:
            return f"/archive/{CAMERA}/{names[n // 4 % len(names)]}.jpg"
        at = (now - timedelta(milliseconds=10 * (n % 600))).isoformat().replace("+00:00", "Z")
        return f"/snapshot/{CAMERA}.jpg?at={at}&width={16 + n % 7000}"

    await target.repeat("GET", path, 64)


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


async def whep_joins(target: Target) -> None:
    """1,000 viewers that join with ICE and DTLS, 40 at a time, and leave when they have got a packet."""
    numbers = iter(range(1000))

    async def work(http: aiohttp.ClientSession) -> None:
        for _ in numbers:
            if not target.goes_on:
                return
            viewer = await webrtc_load.join(http, f"{target.url}/whep/{CAMERA}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):
                    while not viewer.arrivals.packets:
                        await asyncio.sleep(0.02)
                    target.counts["joined"] += 1
            await viewer.peer.close()

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(work(http) for _ in range(40)))


async def trickle(target: Target) -> None:
    """Candidates and ICE restarts for viewers of the attacker, as fast as they are answered."""
    sdp = (await webrtc_load.offer()).localDescription.sdp
    ufrag, password = (re.findall(rf"a=ice-{name}:(\S+)", sdp)[0] for name in ("ufrag", "pwd"))
    head = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    line = "a=candidate:{0} 1 udp {0} 192.0.2.1 {0} typ host\r\n"
    candidates = head + "".join(line.format(n) for n in range(1, 200))
    restart = head.replace(ufrag, "abcd").replace(password, "x" * 24)

    async def one(n: int) -> None:
        async with target.http(n) as http:
            while target.goes_on:
                offer = {"data": sdp, "headers": {"Content-Type": "application/sdp"}}
                async with http.post(f"/whep/{CAMERA}", **offer) as answer:
                    viewer, status = answer.headers.get("Location", ""), answer.status
                headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
                while target.goes_on and status < 400:
                    for body in (candidates, candidates, restart):
                        async with http.patch(viewer, data=body, headers=headers) as answer:
                            status = answer.status
                            target.counts[str(status)] += 1

    await asyncio.gather(*(one(n) for n in range(16)))


async def talkative_cameras(target: Target) -> None:
    """Two cameras that send answers and requests of RTSP without end, and no video."""
    floods = (b"RTSP/1.0 100 Continue\r\nCSeq: NUMBER\r\n\r\n" * 100, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 100)

    async def serve(flood: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target.counts["connections"] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            number = re.findall(rb"CSeq: (\d+)", await reader.readuntil(b"\r\n\r\n"))
            while target.goes_on:
                writer.write(flood.replace(b"NUMBER", number[0]))
                await writer.drain()
        writer.close()

    async with contextlib.AsyncExitStack() as stack, target.http() as http:
        for n, flood in enumerate(floods):
            server = await asyncio.start_server(functools.partial(serve, flood), "127.0.0.1", 0)
            stack.callback(server.close)
            url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            camera = {"camera_id": f"talk{n}", "url": url, "start": "always", "capture_engine": "rtsp"}
            async with http.post("/api/cameras", json=camera) as answer:
                target.counts[str(answer.status)] += 1
        await asyncio.sleep(max(0.0, target.ends_s - time.monotonic()))
        for n in range(len(floods)):
            async with http.delete(f"/api/cameras/talk{n}") as answer:
                target.counts[str(answer.status)] += 1


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        nothing,
        slow_heads,
        slow_readers,
        unjoined,
        binary_placeholders,
        socket_io_clients,
        snapshots,
        mjpeg_widths,
        capture_clients,
        hls_reloads,
        ranges,
        clips,
        whep_posts,
        datagrams,
        cameras,
        unreachable,
        scrapes,
        lingering,
        replays,
        recorded_pictures,
        socket_io_frames,
        socket_io_offers,
        whep_joins,
        trickle,
        talkative_cameras,
    )
}


async def main(name: str, url: str, udp_port: str, seconds: str) -> None:
    target = Target(url, int(udp_port), float(seconds))
    await ATTACKS[name](target)
    print(", ".join(f"{count} {what}" for what, count in target.counts.most_common(4)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
