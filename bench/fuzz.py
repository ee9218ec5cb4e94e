"""Fuzz every parser of data from the network, from cameras and from disks.

    make bench NAME=fuzz ARGS='[TARGET …] [--seconds 60]'

libFuzzer, through atheris, changes real samples and keeps those that reach new lines of this code, of aioice's STUN and
of aiortc's SDP and RTCP. Each target runs in its own process, because libFuzzer ends its process. An exception that the
parser documents for bad input is no finding. Every other exception, a broken invariant, 5 s for one input and 1 GB of
memory are. A finding is kept in ``fuzz-findings/``: replay it with ``--replay FILE TARGET``, and add a regression test.
Goal: none.

atheris is not part of the development packages. Where it is missing, uv runs this program again with it.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.support.fuzz_targets import TARGETS

INSTRUMENTED = ("gateway", "hls", "web.api.times", "aioice.stun", "aiortc.rtp", "aiortc.sdp")
FINDINGS = Path("fuzz-findings")
INPUT_MAX_BYTES = 16_384
INPUT_TIMEOUT_S = 5
MEMORY_MAX_MB = 1024

_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r"cov: (\d+)")


def inside(name: str, seconds: int) -> None:
    """Fuzz one target until the time is up or something is found. It does not return."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        samples, run = TARGETS[name]()
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as corpus:
        for number, sample in enumerate(samples):
            (Path(corpus) / str(number)).write_bytes(sample)
        FINDINGS.mkdir(exist_ok=True)
        limits = [
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_MAX_BYTES}",
            f"-timeout={INPUT_TIMEOUT_S}",
            f"-rss_limit_mb={MEMORY_MAX_MB}",
            f"-artifact_prefix={FINDINGS}/{name}-",
        ]
        atheris.Setup([name, *limits, corpus], run, enable_python_coverage=True)
        atheris.Fuzz()


def fuzz(name: str, seconds: int) -> bool:
    """Run one target in its own process and print a row; return whether it found nothing."""
    command = [sys.executable, "-m", "bench.fuzz", "--inside", name, f"--seconds={seconds}"]
    began = time.monotonic()
    process = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    took_s = time.monotonic() - began
    done, covered = _DONE.search(process.stderr), _COVERED.findall(process.stderr)
    runs = int(done[1]) if done else 0
    is_clean = process.returncode == 0 and done is not None
    print(
        f"{name:15} {runs:>10,} runs {runs / max(took_s, 1):>8,.0f}/s {covered[-1] if covered else '-':>6} branches  "
        + ("nothing found" if is_clean else f"FOUND (exit code {process.returncode})"),
        flush=True,
    )
    if not is_clean:
        print((process.stdout + process.stderr)[-3000:])
    return is_clean


def run_with_atheris() -> None:
    """Replace this process by the same command in an environment that has atheris on top of this one."""
    uv = Path(__file__).parents[1] / ".tools" / "bin" / "uv"
    options = ("run", "--quiet", "--no-project", "--python", sys.prefix, "--with", "atheris")
    os.execv(uv, [str(uv), *options, "python", "-m", "bench.fuzz", *sys.argv[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all")
    parser.add_argument("--seconds", type=int, default=60, help="each")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input through one target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if options.replay is not None:
        if len(options.targets) != 1:
            parser.error("--replay wants one target")
        TARGETS[options.targets[0]]()[1](options.replay.read_bytes())
    elif options.inside:
        inside(options.targets[0], options.seconds)
    elif importlib.util.find_spec("atheris") is None:
        run_with_atheris()
    else:
        found = [name for name in options.targets or TARGETS if not fuzz(name, options.seconds)]
        sys.exit(len(found))


if __name__ == "__main__":
    main()
