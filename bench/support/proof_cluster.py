"""A cluster of three nodes in network namespaces, with viewers at each, for :mod:`bench.cluster_proof`."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import aiohttp

from bench.support.cluster_nodes import wait_for_owner
from bench.support.namespaces import Machines
from bench.support.numbered_viewers import HlsViewer, WebRtcViewer
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import PostgresServer
from tests.support.s3_server import S3Server

NAMES = "abc"
DATABASE, PEERS, STORAGE, OUTSIDE = NETWORKS = ("database", "peers", "storage", "outside")

CAMERA, OTHER = "watched", "other"

PREFIX = "site"
"""Of the objects in the storage."""

PORT = 8000

STEADY_S = 7.0
"""How long nothing has failed before a fault: a camera is steady after 5 s."""

TICK_S = 0.05


class Node(GatewayProcess):
    """A node in its namespace."""

    def __init__(self, name: str, folder: Path, at: Machines, **settings: object) -> None:
        super().__init__(
            folder,
            NODE_NAME=name,
            NODE_URL=f"http://{at.address(PEERS, name)}:{PORT}",
            HOST="0.0.0.0",
            PORT=PORT,
            AUTH_DISABLED="true",
            WEBRTC_HOSTS=at.address(OUTSIDE, name),
            **settings,
        )
        self.name = name
        self.prefix = at.prefix(name)
        self._outside = at.address(OUTSIDE, name)

    def start(self) -> "Node":
        self.environment["PORT"] = str(PORT)
        super().start()
        self.url = f"http://{self._outside}:{PORT}"
        return self

    def is_uploaded(self) -> bool:
        """Whether the storage has all that it has recorded."""
        return int(self.json("/api/status")["archive"]["storage"]["backlog_bytes"]) == 0

    def set_clock(self, ahead_s: int) -> None:
        """Of the next start: wall clock alone."""
        for name in ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"):
            self.environment.pop(name, None)
        if ahead_s:
            (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
            self.environment |= {"LD_PRELOAD": str(library), "FAKETIME": f"+{ahead_s}s"}
            self.environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"


class ProofCluster:
    """The nodes, what they depend on, and their viewers."""

    def __init__(self, at: Machines, server: PostgresServer, s3: S3Server, http: aiohttp.ClientSession) -> None:
        self.at, self.server, self.s3, self._http = at, server, s3, http
        self.nodes: dict[str, Node] = {}
        self.viewers: dict[tuple[str, str], WebRtcViewer | HlsViewer] = {}
        self.stall_s = 0.0
        """How long this process stood still at most, since somebody set it to 0."""

    async def watch_machine(self) -> None:
        """Note how late this process is: as late are the nodes and the cameras."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.stall_s = max(self.stall_s, time.monotonic() - began_s - TICK_S)

    def dropped(self) -> dict[str, int]:
        """Pictures that each node has dropped for viewers that were slow: the machine was, and they with it."""
        found = {}
        for name, node in self.nodes.items():
            with suppress(OSError):
                text = node.fetch("/metrics")[2].decode()
                lines = [line for line in text.splitlines() if line.startswith("liveedge_webrtc_frames_dropped_total")]
                found[name] = sum(int(float(line.rpartition(" ")[2])) for line in lines)
        return found

    def number(self) -> int:
        """Of the newest picture that anybody has seen."""
        return max((each.seen.arrivals[-1][1] for each in self.viewers.values() if each.seen.arrivals), default=0)

    async def join(self, name: str) -> None:
        """Have new viewers at a node."""
        for kind, made, path in (
            ("webrtc", WebRtcViewer(name), f"/whep/{CAMERA}"),
            ("hls", HlsViewer(name), f"/hls/{CAMERA}/live.m3u8"),
        ):
            old = self.viewers.pop((name, kind), None)
            if old is not None:
                await old.close()
            await made.join(self._http, self.nodes[name].url + path)
            self.viewers[name, kind] = made

    async def start(self, name: str) -> None:
        """Start a node that has ended. Its viewers have ended with it: others join."""
        for kind in ("webrtc", "hls"):
            old = self.viewers.pop((name, kind), None)
            if old is not None:
                await old.close()
        await asyncio.to_thread(self.nodes[name].start)

    async def steady(self) -> str:
        """Wait until all nodes agree and all viewers get pictures; returns the owner of the camera."""
        await wait_for_owner(self.nodes, OTHER)
        owner = await wait_for_owner(self.nodes, CAMERA)
        for name in NAMES:
            webrtc = self.viewers.get((name, "webrtc"))
            if not isinstance(webrtc, WebRtcViewer) or not webrtc.is_connected:
                await self.join(name)
        await self.all_watch()
        await asyncio.sleep(STEADY_S)
        return owner

    async def all_watch(self, *without: str) -> None:
        """Wait until each viewer gets new pictures."""
        began = time.monotonic()
        watching = [each for (name, _), each in self.viewers.items() if name not in without]
        await eventually(lambda: all(each.seen.last_s > began for each in watching), "every viewer gets pictures", 120)

    async def close_viewers(self) -> None:
        for viewer in self.viewers.values():
            await viewer.close()

    async def stop(self) -> None:
        """End all nodes when they have uploaded what they recorded."""
        for node in self.nodes.values():
            await eventually(node.is_uploaded, "everything is uploaded", 180)
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes.values()))
