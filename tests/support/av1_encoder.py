"""The AV1 encoder of PyAV, whose side effect is taken back."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av


def encode(frames: Iterable[av.VideoFrame], width: int, height: int, fps: int, gop: int, **options: str) -> list[Any]:
    """The packets of pictures, each of which is decoded when it comes."""
    with _same_scheduling():
        encoder: Any = av.CodecContext.create("libsvtav1", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.framerate, encoder.time_base, encoder.gop_size = Fraction(fps), Fraction(1, fps), gop
        encoder.options = {"preset": "12", "svtav1-params": "pred-struct=1:rtc=1:lp=1", **options}
        coded = [packet for frame in frames for packet in encoder.encode(frame)]
        return coded + encoder.encode(None)


@contextmanager
def _same_scheduling() -> Iterator[None]:
    """For root, libsvtav1 gives the thread that opens it the real-time priority 99. All threads and processes that
    this one starts later inherit it, and two that wait in the kernel for a third then stop the machine."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)
