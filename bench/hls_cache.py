"""Compare many LL-HLS players of one camera at the gateway itself and behind nginx's cache.

    make bench NAME=hls_cache ARGS='[--players 500] [--seconds 20]'

nginx runs the recipe of the documentation (``docs/nginx-cache.conf``), without TLS. Players request as much as hls.js,
see :mod:`bench.hls_load`; one more is ours in Chromium, whose picture tells its latency. It prints the CPU of both, how
many requests of playlists and parts the gateway had, and how long after the first player the others got a part.
"""

import argparse
import asyncio
import re
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from bench.hls_latency import MEASURE, report
from bench.hls_load import load, quantile
from tests.support.browser import chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.player import embed, plays
from tests.support.reverse_proxies import NginxCache

FOLDER = "/hls/default/"
CAMERA = "fake://demo?width=1280&height=720&fps=15&gop=2"


class PlainCache(NginxCache):
    """The cache without TLS, and with room for all players."""

    def _configure(self, upstream: str) -> None:
        super()._configure(upstream)
        path = self.folder / "nginx.conf"
        text = re.sub(
            r" ssl http2;|ssl_[a-z_]+ [^;]*;", lambda match: ";" if "http2" in match[0] else "", path.read_text()
        )
        path.write_text(text.replace("worker_connections 256", "worker_connections 8192"))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid


async def watch(url: str, seconds: float) -> dict[str, Any]:
    """The latencies of our player."""
    async with chromium() as browser:
        page = await browser.new_page()
        await embed(page, url, 'transports="hls"', "default")
        await plays(page, "hls")
        seen: dict[str, Any] = await page.evaluate(MEASURE, seconds)
    return seen


async def play(url: str, players: int, seconds: float) -> tuple[list[tuple[str, float]], list[int], dict[str, Any]]:
    """All players at the same time."""
    (arrivals, refusals), seen = await asyncio.gather(
        load(url, players, seconds, FOLDER), watch(url, max(1.0, seconds - 8))
    )
    return arrivals, refusals, seen


def measure(name: str, url: str, pids: dict[str, int], players: int, seconds: float) -> None:
    """Run the players at ``url`` and print what it costs the processes."""
    watched = {each: psutil.Process(pid) for each, pid in pids.items()}
    before = {each: sum(process.cpu_times()[:2]) for each, process in watched.items()}
    arrivals, refusals, seen = asyncio.run(play(url, players, seconds))
    costs = {each: (sum(process.cpu_times()[:2]) - before[each]) / seconds for each, process in watched.items()}
    first: dict[str, float] = {}
    for part, at_s in arrivals:
        first[part] = min(at_s, first.get(part, at_s))
    late_ms = sorted((at_s - first[part]) * 1000 for part, at_s in arrivals)
    print(
        f"{name}: {players} players, {len(arrivals)} parts; "
        + ", ".join(f"{each} {cost:.0%} of a core" for each, cost in costs.items())
        + f"; {len(refusals)} answers were not 200 {set(refusals)}\n    after the first player: "
        + ", ".join(f"p{p * 100:g} {quantile(late_ms, p):.0f} ms" for p in (0.5, 0.95, 0.99)),
        flush=True,
    )
    report("    our player", seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        settings = {"RTSP_URL": CAMERA, "CAPTURE_ENGINE": "fake", "RECORD": "never", "START": "always"}
        settings["TRUSTED_PROXIES"] = "127.0.0.1"
        settings["CONNECTIONS_PER_ADDRESS"] = str(4 * options.players)
        gateway = stack.enter_context(GatewayProcess(folder, **settings))
        gateway.wait_for_state("live", "default")
        cache = stack.enter_context(PlainCache(folder, gateway.url.removeprefix("http://"), "none"))
        measure("direct", gateway.url, {"gateway": gateway.pid}, options.players, options.seconds)
        both = {"gateway": gateway.pid, "nginx": cache.pid}
        measure("cached", f"http://127.0.0.1:{cache.port}", both, options.players, options.seconds)
        lines = [line.split() for line in cache.log.read_text().splitlines()]
        for kind, mark in (("playlists", "_HLS_msn"), ("parts", ".m4s")):
            asked = [(path, how) for path, how, _ in lines if mark in path]
            missed = Counter(path for path, how in asked if how == "MISS")
            print(
                f"{kind}: players asked the cache {len(asked)} times, and it asked the gateway {sum(missed.values())}"
                f" times, at most {max(missed.values())} time(s) for the same one"
            )


if __name__ == "__main__":
    main()
