"""Writes transport-wide feedback as receivers do: draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1."""

from collections.abc import Sequence
from itertools import groupby

RTPFB = 205


def write_feedback(
    base_sequence: int, reference: int, number: int, arrivals: Sequence[int | None], *, chunks: str = "mixed"
) -> bytes:
    """An RTCP packet. ``arrivals`` are in ticks of 250 us since the reference time, which is in 64 ms.

    ``chunks`` says how the statuses are written: ``runs``, ``vectors``, or ``mixed``: runs of seven and more.
    """
    symbols, deltas = [], b""
    time = 0
    for arrival in arrivals:
        if arrival is None:
            symbols.append(0)
            continue
        delta = arrival - time
        time = arrival
        is_small = 0 <= delta <= 255
        symbols.append(1 if is_small else 2)
        deltas += delta.to_bytes(1, "big") if is_small else delta.to_bytes(2, "big", signed=True)
    control = (base_sequence & 0xFFFF).to_bytes(2, "big") + len(arrivals).to_bytes(2, "big")
    control += (reference & 0xFFFFFF).to_bytes(3, "big") + bytes((number & 0xFF,)) + _chunks(symbols, chunks) + deltas
    padding = -len(control) % 4
    if padding:
        control += bytes(padding - 1) + bytes((padding,))
    head = bytes((0x80 | bool(padding) << 5 | 15, RTPFB)) + (2 + len(control) // 4).to_bytes(2, "big")
    return head + (9).to_bytes(4, "big") + (1).to_bytes(4, "big") + control


def _chunks(symbols: list[int], kind: str) -> bytes:
    written = b""
    at = 0
    while at < len(symbols):
        run = len(list(next(groupby(symbols[at:]))[1]))
        if kind == "runs" or (kind == "mixed" and run >= 7):
            run = min(run, 0x1FFF)
            written += (symbols[at] << 13 | run).to_bytes(2, "big")
            at += run
        elif max(symbols[at : at + 14]) < 2:
            written += (0x8000 | _bits(symbols[at : at + 14], 14, 1)).to_bytes(2, "big")
            at += 14
        else:
            written += (0xC000 | _bits(symbols[at : at + 7], 7, 2)).to_bytes(2, "big")
            at += 7
    return written


def _bits(symbols: list[int], count: int, width: int) -> int:
    value = 0
    for symbol in symbols + [0] * (count - len(symbols)):
        value = value << width | symbol
    return value
