"""Run Prometheus itself on /metrics, the alert rules and the dashboard.

    make bench NAME=monitoring ARGS='[--seconds 45]'

It needs Debian's package ``prometheus`` (the server and ``promtool``), which the tests do without: they compare the
names in rules and dashboard with /metrics. This runs, in this order: ``promtool check rules``, ``promtool test rules``
(docs/alerts.test.yml), ``promtool check metrics`` on a gateway with WebRTC, LL-HLS and MJPEG viewers, and then every
expression of docs/grafana.json and docs/alerts.yml on a Prometheus that has scraped it meanwhile. A panel without data
is a fault, and so is a rule that cannot be evaluated or fires.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import m3u8
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import free_port

DOCS = Path(__file__).parents[1] / "docs"


def promtool(*arguments: str | Path, stdin: bytes | None = None) -> None:
    """Run it, and print its output. Raises ``SystemExit`` if it fails."""
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    print(
        f"promtool {' '.join(map(str, arguments))}: {'fine' if done.returncode == 0 else done.stdout.decode()}",
        flush=True,
    )
    if done.returncode:
        raise SystemExit(1)


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A server that scrapes ``target`` each second; yield its address."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DOCS / "alerts.yml")],
        "scrape_configs": [{"job_name": "liveedge", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # which is YAML
    address = f"127.0.0.1:{free_port()}"
    places = f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(["prometheus", *places, f"--web.listen-address={address}"], stderr=log)
    try:
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait(20)


def ask(server: str, path: str, **query: str) -> Any:
    """The ``data`` of an answer of the HTTP API."""
    url = f"{server}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)["data"]


async def watch(gateway: GatewayProcess, seconds: float, evaluate: Callable[[], int]) -> int:
    """Run one viewer of each transport for a while; then return ``evaluate()``, with all of them connected."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession(gateway.url) as session:
        headers = {"Content-Type": "application/sdp"}
        async with session.post("/whep/demo", data=peer.localDescription.sdp, headers=headers) as reply:
            await peer.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
        track = peer.getReceivers()[0].track

        async def webrtc() -> None:
            while True:
                await track.recv()

        async def mjpeg() -> None:
            async with session.get("/mjpeg/demo?width=320") as reply:
                while True:
                    await reply.content.readany()

        async def hls() -> None:
            async with session.get("/hls/demo/index.m3u8") as reply:
                (variant,) = m3u8.loads(await reply.text()).playlists
            while True:
                async with session.get(f"/hls/demo/{variant.uri}") as reply:
                    await reply.text()
                await asyncio.sleep(0.5)

        tasks = [asyncio.create_task(each()) for each in (webrtc, mjpeg, hls)]
        done, _ = await asyncio.wait(tasks, timeout=seconds)
        faults = await asyncio.to_thread(evaluate)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()
    await peer.close()
    return faults


def expressions() -> Iterator[tuple[str, str]]:
    """Title and expression of every panel, for all cameras."""
    for panel in json.loads((DOCS / "grafana.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$camera", ".*")


def evaluate(gateway: GatewayProcess, server: str) -> int:
    """Evaluate and print every expression; return the number of faults."""
    promtool("check", "metrics", stdin=gateway.fetch("/metrics")[2])
    eventually_sync(lambda: ask(server, "query", query="up == 1")["result"], "Prometheus has scraped the gateway")
    faults = 0
    for title, expression in expressions():
        found = ask(server, "query", query=expression)["result"]
        print(f"{'data   ' if found else 'NOTHING'} {title}: {expression}")
        faults += not found
    (group,) = ask(server, "rules", type="alert")["groups"]
    for rule in group["rules"]:
        is_fine = rule["health"] == "ok" and rule["state"] != "firing"
        print(f"{'fine   ' if is_fine else 'WRONG  '} {rule['name']}: {rule.get('lastError', rule['state'])}")
        faults += not is_fine
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45, help="how long the gateway has viewers")
    options = parser.parse_args()
    if not shutil.which("promtool") or not shutil.which("prometheus"):
        print("Prometheus and promtool are missing: apt-get install prometheus", file=sys.stderr)
        return 2
    promtool("check", "rules", DOCS / "alerts.yml")
    promtool("test", "rules", DOCS / "alerts.test.yml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            GatewayProcess(folder, ARCHIVE_SEGMENT_SECONDS=10) as gateway,
            prometheus(folder, gateway.url[7:]) as server,
        ):
            gateway.wait_for_state("live", "demo")
            faults = asyncio.run(watch(gateway, options.seconds, lambda: evaluate(gateway, server)))
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
