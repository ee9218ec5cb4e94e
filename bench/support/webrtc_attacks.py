"""Attacks by WebRTC: offers, datagrams, joins and candidates. See :mod:`bench.support.attacks`."""

import asyncio
import contextlib
import os
import re
import socket

import aiohttp

from bench.support import webrtc_load
from bench.support.attack_target import ADDRESSES, CAMERA, Target


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
