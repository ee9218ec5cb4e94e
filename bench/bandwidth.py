"""Simulate viewers behind narrow and changing links, and compare the ways to judge their bandwidth.

    make bench NAME=bandwidth ARGS='[--only NAME,…] [--plot bandwidth.svg]'

Each scenario is a camera of 4 Mbit/s, 15 fps and a keyframe every 2 s, and a link of
:mod:`tests.support.link_simulation`: no clock and no network, so every run gives the same figures. Three ways are
compared: receiver reports (the viewer sends no transport-wide feedback), transport-wide feedback, and that with a sub
stream of 250 kbit/s. Pictures are those that could be decoded. ``--plot`` draws the estimate, the link's capacity and
the queue's delay over time. A real Chromium behind the kernel's own narrow link is in ``bench.network``.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.link_simulation import Link, Sample, Simulation, steps

GOOD_BPS = 10e6
SECONDS = 60.0
WAYS: dict[str, dict[str, Any]] = {
    "receiver reports": {"judge": "receiver reports"},
    "transport-cc": {},
    "transport-cc, sub stream": {"sub_bps": 250_000},
}


@dataclass(frozen=True)
class Scenario:
    """A link, and from when on it is good."""

    link: Callable[[], Link]
    good_from_s: float = 0


SCENARIOS = {
    "300 kbit/s, good after 30 s": Scenario(lambda: Link(steps((0, 300e3), (30, GOOD_BPS))), 30),
    "1 Mbit/s with steps": Scenario(
        lambda: Link(steps((0, 1e6), (15, 500e3), (30, 1e6), (45, GOOD_BPS)), queue_bytes=40_000), 45
    ),
    "5 % loss": Scenario(lambda: Link(steps((0, GOOD_BPS)), loss=0.05)),
    "200 ms, jitter 30 ms": Scenario(lambda: Link(steps((0, GOOD_BPS)), delay_s=0.1, jitter_s=0.03)),
    "bufferbloat: 1, 3, 10 Mbit/s": Scenario(
        lambda: Link(steps((0, 1e6), (20, 3e6), (40, GOOD_BPS)), queue_bytes=1e6), 40
    ),
}

WIDTH, HEIGHT, MARGIN = 900, 220, 46
COLOURS = {"capacity": "#888", "estimate": "#06c", "limit": "#c60", "queue": "#c03"}


def row(name: str, way: str, good_from_s: float, sim: Simulation) -> str:
    """One row of the table."""
    is_narrow = good_from_s > 3
    narrow = f"{sim.pictures_per_s(3, good_from_s):.1f}" if is_narrow else "-"
    good = f"{sim.pictures_per_s(good_from_s + 10, SECONDS):.1f}"
    full = [at - good_from_s for at, rendition in sim.shown if at >= good_from_s and rendition == "main"]
    back = f"{full[0]:.1f} s" if is_narrow and full else "-"
    wait_ms = [1000 * sim.queue_s(3, SECONDS, share) for share in (0.5, 0.95)]
    probes = 100 * sim.probe_bytes / max(1, sim.probe_bytes + sim.media_bytes)
    return (
        f"| {name} | {way} | {narrow} | {good} | {back} | {wait_ms[0]:.0f} / {wait_ms[1]:.0f} |"
        f" {probes:.1f} % | {sim.chooser.switches} |"
    )


def line(samples: list[Sample], value: Callable[[Sample], float | None], most: float, colour: str) -> str:
    """A line of the plot; it is broken where there is no value."""
    parts, is_drawing = [], False
    for sample in samples:
        found = value(sample)
        if found is None:
            is_drawing = False
            continue
        x = MARGIN + sample.at_s / SECONDS * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN - min(found / most, 1) * (HEIGHT - 2 * MARGIN)
        parts.append(f"{'L' if is_drawing else 'M'}{x:.1f} {y:.1f}")
        is_drawing = True
    return f'<path d="{" ".join(parts)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def plot(title: str, sim: Simulation, top: int) -> str:
    """One run as a part of an SVG."""
    most_bps = 1.1 * max(sample.capacity_bps for sample in sim.samples)
    most_s = max(0.5, *(sample.queue_s for sample in sim.samples))
    lines = [
        line(sim.samples, lambda sample: sample.capacity_bps, most_bps, COLOURS["capacity"]),
        line(sim.samples, lambda sample: sample.estimate_bps, most_bps, COLOURS["estimate"]),
        line(sim.samples, lambda sample: sample.limit_bps, most_bps, COLOURS["limit"]),
        line(sim.samples, lambda sample: sample.queue_s, most_s, COLOURS["queue"]),
    ]
    legend = f"rates to {most_bps / 1e6:.1f} Mbit/s, queue to {most_s:.1f} s; {SECONDS:.0f} s"
    names = "".join(
        f'<text x="{WIDTH - MARGIN - 90 * (4 - place)}" y="34" fill="{colour}">{name}</text>'
        for place, (name, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<g transform="translate(0 {top})"><text x="{MARGIN}" y="18" font-weight="bold">{title}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 16}">{legend}</text>{names}'
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{WIDTH - 2 * MARGIN}" height="{HEIGHT - 2 * MARGIN}"'
        f' fill="none" stroke="#ccc"/>{"".join(lines)}</g>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"scenarios whose names begin so, of: {'; '.join(SCENARIOS)}")
    parser.add_argument("--plot", type=Path, metavar="FILE", default=Path("bandwidth.svg"), help="an SVG")
    options = parser.parse_args()
    print("| link | judged by | pictures/s: narrow | good | main back after | queue p50 / p95 ms | probes | switches |")
    print("|---|---|---|---|---|---|---|---|")
    plots: list[str] = []
    for name, scenario in SCENARIOS.items():
        if not any(name.startswith(each) for each in options.only.split(",")):
            continue
        for way, arguments in WAYS.items():
            sim = Simulation(scenario.link(), **arguments).run(SECONDS)
            print(row(name, way, scenario.good_from_s, sim), flush=True)
            plots.append(plot(f"{name}: {way}", sim, len(plots) * HEIGHT))
    size = f'width="{WIDTH}" height="{len(plots) * HEIGHT}"'
    head = '<style>text{font:13px sans-serif}</style><rect width="100%" height="100%" fill="#fff"/>'
    options.plot.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{head}{"".join(plots)}</svg>\n')
    print(f"plot: {options.plot}")


if __name__ == "__main__":
    main()
