"""Break a cluster of three nodes in every way that its documentation names, and check the history of each picture.

    make bench NAME=cluster_proof [ARGS='--seed 1 --rounds 3 --away 60 --only kill,drain']

Three nodes are network namespaces, each with its own links to the database, to the other nodes, to the storage and to
cameras and viewers. PostgreSQL, gofakes3 (S3) and two RTSP cameras with numbered pictures and a GOP of 2 s are real;
WebRTC and HLS viewers watch at every node. The faults come in an order that ``--seed`` decides:

kill        the owner is killed with SIGKILL, and started again
pause       the owner is stopped with SIGSTOP for 10 s
wipe        the owner is killed, its disk is emptied, and it is started again after ``--adopt`` seconds
nodatabase  the owner is cut off from the database alone for 15 s
nopeers     the owner is cut off from the other nodes alone for 10 s
drain       the owner is drained by ``liveedge drain``, ended by SIGTERM, and started again
database    the database is stopped for ``--away`` seconds, and started again
storage     all nodes are cut off from the storage for ``--away`` seconds
clock       the owner is killed while the clocks of two nodes are a minute apart. The rows of that come last

Then all nodes end, and the index, the files and the objects are compared with what the cameras sent. The exit code is 1
where a goal is missed. Where a node limited its WebRTC viewers, because this machine was too slow for them, the row
says so, and the HLS viewer of that node decides alone. Needs root, ``ip``, ``libfaketime``, ``.tools/bin/gofakes3``.
"""

import argparse
import asyncio
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import av
from sqlalchemy import create_engine, text

from bench.support import webrtc_load as load
from bench.support.cluster_nodes import wait_for_owner
from bench.support.history import Row, disorder, holes, overlaps
from bench.support.namespaces import Machines, enter, machines
from bench.support.numbered_viewers import HlsViewer, WebRtcViewer
from bench.support.rtsp_cameras import FPS, picture_numbers
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.s3_server import S3Server, s3_server

NAMES = "abc"
DATABASE, PEERS, STORAGE, OUTSIDE = NETWORKS = ("database", "peers", "storage", "outside")

CAMERA, OTHER = "watched", "other"

PREFIX = "site"

PORT = 8000

FAILOVER_GOAL_S = 7.0

STEADY_S = 7.0
"""How long nothing has failed before a fault: a camera is steady after 5 s."""

AFTER_S = 6.0
"""How long is watched after a fault is over: two segments of HLS and more."""

NOTICED_S = 1.0
"""A WebRTC viewer notices pictures that stay out for so long. Three nodes and all viewers share this machine: what it
stands still meanwhile (:meth:`Proof.watch_machine`) comes on top."""

TICK_S = 0.05

PAUSE_S, NO_DATABASE_S, NO_PEERS_S = 10.0, 15.0, 10.0

LOST_GOAL_S = FAILOVER_GOAL_S + 3.0
"""Of a recording, when its owner is killed: the failover, and what was not on the disk yet: a fragment, a GOP."""

SEAM_MAX = 3
"""Pictures that may count twice where one row ends and the next begins: two nodes measure the time of each."""

CLOCK_AHEAD_S = 60


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

    def set_clock(self, ahead_s: int) -> None:
        """Of the next start: wall clock alone."""
        for name in ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"):
            self.environment.pop(name, None)
        if ahead_s:
            (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
            self.environment |= {"LD_PRELOAD": str(library), "FAKETIME": f"+{ahead_s}s"}
            self.environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"


@dataclass
class Result:
    """One line of the table."""

    what: str
    figure: str
    goal: str = ""
    is_met: bool = True


class Proof:
    """The cluster, its viewers, and what was found."""

    def __init__(self, options: argparse.Namespace, http: aiohttp.ClientSession) -> None:
        self.options, self.http = options, http
        self.at: Machines
        self.server: PostgresServer
        self.s3: S3Server
        self.nodes: dict[str, Node] = {}
        self.viewers: dict[tuple[str, str], WebRtcViewer | HlsViewer] = {}
        self.results: list[Result] = []
        self.failovers: list[float] = []
        self.spans: list[tuple[str, int, int]] = []
        """Faults, with the numbers of the pictures when each began and when it was over."""
        self.stall_s = 0.0
        """How long this process stood still at most, since the fault began."""
        self.before: dict[str, int] = {}
        """:meth:`dropped` when the fault began."""
        self.wiped = range(0)
        """Pictures that the wiped disk had, and perhaps nothing else."""
        self.clock_from = sys.maxsize
        """The number from which on the clocks were apart."""

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

    # --- viewers

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
            await made.join(self.http, self.nodes[name].url + path)
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

    def add(self, what: str, figure: str, goal: str = "", *, is_met: bool = True) -> None:
        self.results.append(Result(what, figure, goal, is_met))
        print(f"    {what}: {figure}" + ("" if is_met else f"   MISSED: {goal}"), flush=True)

    def judge(self, fault: str, began_s: float, goals: dict[str, str], *, without: str = "") -> None:
        """A line for each viewer. ``goals``: by node, ``nothing``, ``moved``, ``failover`` or none."""
        dropped = {name: count - self.before.get(name, 0) for name, count in self.dropped().items()}
        self.add(f"{fault}: the machine", f"stood still for {self.stall_s:.2f} s at most")
        for (name, kind), viewer in sorted(self.viewers.items()):
            if name in without:
                continue
            slow = max(0, dropped.get(name, 0)) if kind == "webrtc" else 0
            seen = viewer.seen.since(began_s - 4.0)
            goal = goals.get(name, "")
            is_connected = not isinstance(viewer, WebRtcViewer) or viewer.is_connected
            is_met = is_connected
            if goal == "moved":  # the next owner's playlist follows a discontinuity, and may begin with a known segment
                goal = "no loss" if kind == "hls" else "nothing"
            told = {
                "nothing": "no picture lacks or comes twice",
                "no loss": "no picture lacks",
                "failover": f"≤ {FAILOVER_GOAL_S:g} s",
            }.get(goal, "")
            if goal == "no loss":
                is_met &= not seen.missing
            elif goal == "nothing":
                # On a machine that is too slow for its viewers, the congestion control limits them, fault or not.
                is_met &= slow > 0 or not (seen.missing or seen.repeated)
                is_met &= slow > 0 or kind != "webrtc" or seen.longest_gap_s < NOTICED_S + self.stall_s
            elif goal == "failover" and kind == "webrtc":
                self.failovers.append(seen.longest_gap_s)
            figure = (
                f"{seen.missing} pictures lack, {seen.repeated} came twice, thrown back by {seen.back},"
                f" longest pause {seen.longest_gap_s:.2f} s"
                + (f"; dropped for slow viewers: {slow}" if slow else "")
                + ("" if is_connected else ", connection lost")
            )
            self.add(f"{fault}: {kind} at {name}", figure, told, is_met=is_met)

    # --- faults

    async def fault(self, name: str) -> None:
        """One fault, between two steady states."""
        owner = await self.steady()
        print(f"{name}: the owner is {owner}, picture {self.number()}", flush=True)
        first, self.stall_s, self.before = self.number(), 0.0, self.dropped()
        faults: dict[str, Callable[[str], Awaitable[None]]] = {
            "kill": self.kill,
            "pause": self.pause,
            "wipe": self.wipe,
            "nodatabase": self.no_database,
            "nopeers": self.no_peers,
            "drain": self.drain,
            "database": self.database,
            "storage": self.storage,
            "clock": self.clock,
        }
        await faults[name](owner)
        self.spans.append((name, first, self.number()))

    async def failed_over(self, name: str, owner: str, began_s: float) -> None:
        await self.all_watch(owner)
        others = {each: node for each, node in self.nodes.items() if each != owner}
        new = await wait_for_owner(others, CAMERA)
        await asyncio.sleep(AFTER_S)
        self.judge(f"{name} {owner}→{new}", began_s, dict.fromkeys(others, "failover"), without=owner)

    async def kill(self, owner: str, name: str = "kill") -> None:
        began_s = time.monotonic()
        await asyncio.to_thread(self.nodes[owner].kill)
        await asyncio.sleep(0.5)
        await self.failed_over(name, owner, began_s)
        await self.start(owner)

    async def wipe(self, owner: str) -> None:
        await eventually(partial(_has_parts, self.server.url, owner), "a part of what is recorded is uploaded", 180)
        began_s = time.monotonic()
        self.wiped = range(max(0, self.number() - 2 * self.options.segment * FPS), self.number())
        await asyncio.to_thread(self.nodes[owner].kill)
        shutil.rmtree(self.nodes[owner].folder / "data")
        await asyncio.sleep(0.5)
        await self.failed_over("wipe", owner, began_s)
        await asyncio.sleep(self.options.adopt)
        adopted = 0
        for name, node in self.nodes.items():
            if name != owner:
                metrics = (await asyncio.to_thread(node.fetch, "/metrics"))[2].decode()
                found = [line for line in metrics.splitlines() if line.startswith("liveedge_cluster_uploads_adopted_t")]
                adopted += int(float(found[0].split()[1]))
        is_met = adopted > 0 or self.options.adopt < 320
        self.add("wipe: uploads completed by others", f"{adopted}", "1 after 5 minutes", is_met=is_met)
        await self.start(owner)

    async def pause(self, owner: str) -> None:
        began_s = time.monotonic()
        os.kill(self.nodes[owner].pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE_S)
        finally:
            os.kill(self.nodes[owner].pid, signal.SIGCONT)
        await self.failed_over("pause", owner, began_s)

    async def no_database(self, owner: str) -> None:
        began_s = time.monotonic()
        self.at.cut(owner, DATABASE)
        try:
            await asyncio.sleep(NO_DATABASE_S)
        finally:
            self.at.cut(owner, DATABASE, is_cut=False)
        await self.all_watch()
        await wait_for_owner(self.nodes, CAMERA)
        await asyncio.sleep(AFTER_S)
        self.judge(f"nodatabase {owner}", began_s, {owner: "moved"} | self.others(owner, "failover"))

    async def no_peers(self, owner: str) -> None:
        began_s = time.monotonic()
        self.at.cut(owner, PEERS)
        try:
            await asyncio.sleep(NO_PEERS_S)
        finally:
            self.at.cut(owner, PEERS, is_cut=False)
        await self.all_watch()
        await asyncio.sleep(AFTER_S)
        self.judge(f"nopeers {owner}", began_s, {owner: "nothing"})

    async def drain(self, owner: str) -> None:
        began_s = time.monotonic()
        node = self.nodes[owner]
        command = [*node.prefix, sys.executable, "-m", "web", "drain"]
        environment = node.environment | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, cwd=node.folder, capture_output=True, text=True, check=False
        )
        self.add(f"drain {owner}", done.stdout.strip() or done.stderr.strip(), is_met=not done.returncode)
        new = await wait_for_owner(self.nodes, CAMERA)
        await self.all_watch()
        await asyncio.sleep(AFTER_S)
        self.judge(f"drain {owner}→{new}", began_s, dict.fromkeys(NAMES, "moved"))
        await asyncio.to_thread(node.stop)
        await self.start(owner)

    async def database(self, owner: str) -> None:
        began_s = time.monotonic()
        await asyncio.to_thread(self.server.stop)
        await asyncio.sleep(self.options.away)
        await asyncio.to_thread(self.server.start)
        await wait_for_owner(self.nodes, CAMERA)
        await asyncio.sleep(AFTER_S)
        self.judge(f"database {self.options.away:g} s", began_s, dict.fromkeys(NAMES, "nothing"))

    async def storage(self, owner: str) -> None:
        began_s = time.monotonic()
        for name in NAMES:
            self.at.cut(name, STORAGE)
        await asyncio.sleep(self.options.away)
        for name in NAMES:
            self.at.cut(name, STORAGE, is_cut=False)
        await asyncio.sleep(AFTER_S)
        self.judge(f"storage {self.options.away:g} s", began_s, dict.fromkeys(NAMES, "nothing"))

    async def clock(self, owner: str) -> None:
        self.clock_from = min(self.clock_from, self.number())
        for name in NAMES:
            if name != owner:
                await asyncio.to_thread(self.nodes[name].stop)
                self.nodes[name].set_clock(CLOCK_AHEAD_S)
                await self.start(name)
                break
        await self.kill(await self.steady(), "clock")
        await self.kill(await self.steady(), "clock")

    @staticmethod
    def others(owner: str, goal: str) -> dict[str, str]:
        return dict.fromkeys(set(NAMES) - {owner}, goal)

    # --- the end

    async def check(self) -> None:
        """Compare index, files and objects."""
        for viewer in self.viewers.values():
            await viewer.close()
        sent = self.number()
        for node in self.nodes.values():
            await eventually(partial(_is_uploaded, node), "everything is uploaded", 180)
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes.values()))
        rows = _rows(self.server.url)
        found = overlaps(rows)
        counting = [row for row in rows if row.from_90k is not None]
        self.add("index", f"{len(rows)} rows, {len(counting)} count", is_met=bool(counting))
        self.add("index: rows that count for one moment", "; ".join(found) or "none", "none", is_met=not found)
        await asyncio.to_thread(self._check_files, rows, sent)

    def _check_files(self, rows: list[Row], sent: int) -> None:
        keys = set(self.s3.keys(PREFIX))
        wrong, lost, differing, counted = [], [], [], dict[tuple[str, int], int]()
        recorded: dict[str, set[int]] = {CAMERA: set(), OTHER: set()}
        for row in rows:
            paths = list((self.nodes[row.node].folder / "data").rglob(f"{row.camera_id}/*/{row.name}.mp4"))
            (key,) = [
                each
                for each in keys
                if each.startswith(f"{PREFIX}/{row.node}/{row.camera_id}/") and each.endswith(f"/{row.name}.mp4")
            ] or [""]
            data = paths[0].read_bytes() if paths else self.s3.get(key) if key else b""
            if not data:
                lost.append(row.text)
                continue
            if paths and key and self.s3.get(key) != data:
                differing.append(row.text)
            numbers = _pictures(data)
            recorded[row.camera_id] |= {number for _, number in numbers}
            if (why := disorder([number for _, number in numbers])) is not None:
                wrong.append(f"{row.text}: {why}")
            if row.from_90k is None or row.to_90k is None:
                continue
            for at_90k, number in numbers:
                if row.from_90k <= row.start_90k + at_90k < row.to_90k:
                    counted[row.camera_id, number] = counted.get((row.camera_id, number), 0) + 1
        self.add("files: pictures in order, none lacks", "; ".join(wrong) or "all", "all", is_met=not wrong)
        self.add("files that differ from their objects", "; ".join(differing) or "none", "none", is_met=not differing)
        wiped = any(name == "wipe" for name, _, _ in self.spans)
        self.add(
            "rows whose file and object are lost",
            "; ".join(lost) or "none",
            "none" if not wiped else "those that the wiped disk had alone",
            is_met=not lost or wiped,
        )
        twice = sorted(number for (_, number), times in counted.items() if times > 1 and number < self.clock_from)
        seams = _runs(twice)
        most = max((len(each) for each in seams), default=0)
        self.add(
            "pictures that count twice",
            f"{len(twice)} at {len(seams)} seams, at most {most} together",
            f"≤ {SEAM_MAX} at a seam",
            is_met=most <= SEAM_MAX,
        )
        if self.wiped:
            lacking = [number for number in holes(recorded[CAMERA]) if number in self.wiped]
            lost_bytes = len(lacking) / FPS * self.options.bit_rate / 8
            self.add(
                "recording before wipe",
                f"the last {len(lacking) / FPS:.1f} s are lost, about {lost_bytes / 2**20:.1f} MiB",
                "≤ 5 MiB, and half a second",
                is_met=lost_bytes < 5 * 2**20 + self.options.bit_rate / 16,
            )
        for name, first, last in self.spans:
            lacking = [number for number in holes(recorded[CAMERA] | {first, last}) if first <= number <= last]
            lacking = [number for number in lacking if number not in self.wiped]
            longest = max((len(each) for each in _runs(lacking)), default=0)
            limit = LOST_GOAL_S * FPS if name in ("kill", "wipe", "pause", "clock") else 0
            self.add(
                f"recording over {name}",
                f"{len(lacking)} of {last - first} pictures are in no file, at most {longest / FPS:.1f} s together",
                f"≤ {limit / FPS:g} s",
                is_met=longest <= limit,
            )


def _runs(numbers: list[int]) -> list[list[int]]:
    """Numbers that follow each other, in lists."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] + 1 == number:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def _pictures(data: bytes) -> list[tuple[int, int]]:
    """The pictures of a file: 90 kHz since its first, and number."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        found = [
            (round(float((packet.pts or 0) * stream.time_base) * 90_000), picture_numbers(bytes(packet)))
            for packet in packets
            if stream.time_base is not None
        ]
    first = found[0][0] if found else 0
    return [(at_90k - first, numbers[0]) for at_90k, numbers in found if numbers]


def _is_uploaded(node: Node) -> bool:
    return int(node.json("/api/status")["archive"]["storage"]["backlog_bytes"]) == 0


def _has_parts(url: str, node: str) -> bool:
    """Whether the storage has parts of what a node records, and the database knows them."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            query = text("SELECT count(*) FROM cluster_upload WHERE node_name = :node AND parts <> '[]'")
            return bool(connection.scalar(query, {"node": node}))
    finally:
        engine.dispose()


def _rows(url: str) -> list[Row]:
    names = ", ".join(("camera_id", "rendition", "node_name", *list(Row.__dataclass_fields__)[3:]))
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [Row(*row) for row in connection.execute(text(f"SELECT {names} FROM cluster_recording"))]
    finally:
        engine.dispose()


def schedule(options: argparse.Namespace) -> list[str]:
    """The faults, in their order."""
    once = ["wipe", "database", "storage"]
    names = ["kill", "pause", "nodatabase", "nopeers", "drain"] * options.rounds + once
    wanted = options.only.split(",") if options.only else [*names, "clock"]
    names = [name for name in names if name in wanted]
    random.Random(options.seed).shuffle(names)
    return names + (["clock"] if "clock" in wanted else [])


async def run(options: argparse.Namespace, stack: ExitStack) -> list[Result]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    at = stack.enter_context(machines(NAMES, NETWORKS))
    load.gather_on(at.address(OUTSIDE))
    outside = ("--address", at.address(OUTSIDE), "--gop", str(2 * FPS), "--bit-rate", str(options.bit_rate))
    urls = stack.enter_context(load.rtsp_cameras("loop", "--cameras", "2", *outside))
    names = schedule(options)
    print(f"seed {options.seed}: {', '.join(names)}", flush=True)
    async with aiohttp.ClientSession() as http:
        proof = Proof(options, http)
        proof.at = at
        proof.server = stack.enter_context(postgres_server(at.address(DATABASE)))
        proof.s3 = stack.enter_context(s3_server("gofakes3", at.address(STORAGE)))
        storage = {name.upper(): value for name, value in proof.s3.settings(PREFIX).items()}
        for name in NAMES:
            (folder / name).mkdir()
            settings = storage | {"CLUSTER_URL": proof.server.url, "ARCHIVE_SEGMENT_SECONDS": options.segment}
            proof.nodes[name] = Node(name, folder / name, at, **settings)
            stack.enter_context(proof.nodes[name])
        for camera_id, url in zip((CAMERA, OTHER), urls, strict=True):
            proof.nodes["a"].json("/api/cameras", "POST", {"camera_id": camera_id, "url": url, "record": "always"})
        watching = asyncio.create_task(proof.watch_machine())
        try:
            for number, name in enumerate(names):
                print(f"[{number + 1}/{len(names)}] ", end="")
                await proof.fault(name)
            await proof.steady()
            await proof.check()
        finally:
            watching.cancel()
            if options.logs:
                for name, node in proof.nodes.items():
                    (Path(options.logs) / f"{name}.log").write_text(node.log())
            for viewer in proof.viewers.values():
                await viewer.close()
        p50, p95 = (load.percentile(proof.failovers or [0.0], percent) for percent in (50, 95))
        proof.add(
            "failover, WebRTC viewers at other nodes",
            f"{len(proof.failovers)} pauses, p50 {p50:.2f} s, p95 {p95:.2f} s",
            f"p95 ≤ {FAILOVER_GOAL_S:g} s",
            is_met=p95 <= FAILOVER_GOAL_S,
        )
        return proof.results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="of each fault of a node")
    parser.add_argument("--away", type=float, default=600, help="seconds without the database, and without the storage")
    parser.add_argument("--adopt", type=float, default=340, help="seconds that a node with an emptied disk stays away")
    parser.add_argument("--segment", type=int, default=60, help="seconds of a recorded file")
    parser.add_argument("--bit-rate", type=int, default=1_500_000, help="of each camera")
    parser.add_argument("--only", help="the kinds of faults, with commas")
    parser.add_argument("--logs", help="a folder for the logs of the nodes")
    options = parser.parse_args()
    enter()
    with ExitStack() as stack:
        results = asyncio.run(run(options, stack))
    print()
    for each in results:
        load.row(
            f"`bench.cluster_proof` {each.what}",
            each.figure,
            f"{each.goal}: {'met' if each.is_met else 'missed'}" if each.goal or not each.is_met else "",
        )
    missed = [each for each in results if not each.is_met]
    if missed:
        raise SystemExit(f"{len(missed)} goals are missed")


if __name__ == "__main__":
    main()
