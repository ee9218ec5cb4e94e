"""Run :mod:`hls.evidence.burn_in` for one clip. Blocking.

Rule: a process that reports nothing for :data:`STALL_S`, or whose export was cancelled, is killed. One runs at a time.
"""

import contextlib
import json
import re
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.child_environment import child_environment
from gateway.errors import StorageError
from hls.playback.clip import ClipSpan

WORKER = Path(__file__).with_name("burn_in.py")

STALL_S = 120.0
"""A busy machine gives a process of the lowest priority little."""

POLL_S = 0.5

OUTPUT_MAX_BYTES = 4096

_LEFT_OUT = re.compile(rb"left out (\d+)")


def burn(
    clip: Path,
    result: Path,
    spans: Sequence[ClipSpan],
    label: str,
    report: Callable[[int], None],
    is_cancelled: Callable[[], bool],
) -> int | None:
    """Write ``result`` from ``clip``, and return how many pictures could not be decoded and are left out.

    ``report`` is called with the clip's time, in 90 kHz ticks. ``None`` if it was cancelled. Raises
    :class:`~gateway.errors.StorageError` if the process fails.
    """
    given = json.dumps({"label": label, "spans": [(span.offset_90k, span.start_90k) for span in spans]})
    with subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, str(WORKER), str(clip), str(result)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=child_environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(given.encode())
                process.stdin.close()
            silent_s, last, left_out = 0.0, b"", 0
            while True:
                if is_cancelled():
                    return None
                if not select.select([process.stdout], [], [], POLL_S)[0]:
                    silent_s += POLL_S
                    if silent_s >= STALL_S:
                        raise StorageError("the process that burns in the time does not answer")
                    continue
                silent_s = 0.0
                data = process.stdout.read1(OUTPUT_MAX_BYTES)  # type: ignore[attr-defined]
                if not data:
                    break
                *lines, rest = (last + data).split(b"\n")
                last = rest[-OUTPUT_MAX_BYTES:]
                for line in lines:
                    if line.isdigit():
                        report(int(line))
                    elif found := _LEFT_OUT.fullmatch(line):
                        left_out = int(found[1])
            if process.wait() != 0:
                raise StorageError("the time could not be burned into the pictures of a clip: try it without").because(
                    "burn_in_failed"
                )
            return left_out
        finally:
            process.kill()
