"""Misbehaving cameras: how NAL units are put into RTP packets. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from struct import pack

import pytest

from tests.support.camera_media import FPS, TICK, Picture, coded, is_good, is_slice, packets_of
from tests.support.camera_outputs import outputs
from tests.support.rtp import aggregate, payloads
from tests.support.rtsp_camera import RtpSender, Sent

Pack = Callable[[RtpSender, int, Picture], list[Sent]]


def single_aggregated_and_fragmented_without_a_marker(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    parts: list[bytes] = []
    waiting = list(units)
    while waiting:
        unit = waiting.pop(0)
        if waiting and len(unit) + len(waiting[0]) < 1200:
            parts.append(aggregate([unit, waiting.pop(0)], 0, hevc=sender.is_hevc).data)
        elif len(waiting) % 2:
            parts += [part.data for part in payloads(unit, 0, hevc=sender.is_hevc, mtu=150)]
        else:
            parts.append(unit)
    return [sender.packet(part, number * TICK, number / FPS) for part in parts]


def an_empty_unit_in_each_aggregate(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    head = b"\x60\x01" if sender.is_hevc else b"\x78"
    first = head + b"\0\0" + len(units[0]).to_bytes(2, "big") + units[0]
    sent = [sender.packet(first, number * TICK, number / FPS, marker=len(units) == 1)]
    return sent + sender.picture(units[1:], number * TICK, number / FPS)


def fragments_that_are_start_and_end(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    def fragment(unit: bytes) -> bytes:
        if sender.is_hevc:
            return bytes((unit[0] & 0x81 | 49 << 1, unit[1], 0xC0 | unit[0] >> 1 & 0x3F)) + unit[2:]
        return bytes((unit[0] & 0xE0 | 28, 0xC0 | unit[0] & 0x1F)) + unit[1:]

    return [sender.packet(fragment(unit), number * TICK, number / FPS, marker=unit is units[-1]) for unit in units]


def flagged(sender: RtpSender, sent: list[Sent], change: Callable[[int], int]) -> list[Sent]:
    """With other flags of its fragments."""
    at = 14 if sender.is_hevc else 13
    return [
        replace(each, data=each.data[:at] + bytes((change(each.data[at]),)) + each.data[at + 1 :])
        if (each.data[12] >> 1 & 0x3F == 49 if sender.is_hevc else each.data[12] & 0x1F == 28)
        else each
        for each in sent
    ]


def a_start_on_every_fragment_but_the_last(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    sent = sender.picture(units, number * TICK, number / FPS)
    return flagged(sender, sent, lambda flags: flags if flags & 0x40 else flags | 0x80)


def a_start_on_every_fragment(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return flagged(sender, sender.picture(units, number * TICK, number / FPS), lambda flags: flags | 0x80)


def no_start_of_fragments(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return flagged(sender, sender.picture(units, number * TICK, number / FPS), lambda flags: flags & ~0x80)


def csrcs_extension_and_padding(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    found: list[Sent] = []
    for each in sender.picture(units, number * TICK, number / FPS):
        head = bytes((0x80 | 0x20 | 0x10 | 3,)) + each.data[1:12] + bytes(12) + b"\xbe\xde\0\1\x10\xaa\0\0"
        is_dressed = len(found) % 2 == 0
        found.append(replace(each, data=head + each.data[12:] + b"\0\0\0\4") if is_dressed else each)
    return found


def an_ssrc_for_every_picture(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    sent = sender.picture(units, number * TICK, number / FPS)
    return [replace(each, data=each.data[:8] + pack("!I", 1000 + number) + each.data[12:]) for each in sent]


@pytest.mark.parametrize("hevc", [False, True], ids=["H264", "H265"])
@pytest.mark.parametrize("slices", [1, 4])
@pytest.mark.parametrize(
    ("packing", "lost"),
    [
        (single_aggregated_and_fragmented_without_a_marker, 0),
        (an_empty_unit_in_each_aggregate, 0),
        (fragments_that_are_start_and_end, 0),
        (a_start_on_every_fragment_but_the_last, 0),
        (a_start_on_every_fragment, 0),
        # The first GOP shows it.
        (no_start_of_fragments, 25),
        (csrcs_extension_and_padding, 0),
        (an_ssrc_for_every_picture, 0),
    ],
)
def test_packing(tmp_path: Path, packing: Pack, lost: int, slices: int, hevc: bool) -> None:
    sender = RtpSender(hevc=hevc)
    pictures = coded(100, 25, f":slices={slices}", hevc=hevc)
    media = [sent for number, units in enumerate(pictures) for sent in packing(sender, number, units)]
    is_good(outputs(packets_of(media, "H265" if hevc else "H264"), tmp_path), len(pictures) - lost)


@pytest.mark.parametrize("hevc", [False, True], ids=["H264", "H265"])
@pytest.mark.parametrize("marks", ["last", "never", "every"])
def test_a_delimiter_and_a_time_of_its_own_for_every_slice(tmp_path: Path, marks: str, hevc: bool) -> None:
    sender, media = RtpSender(hevc=hevc), list[Sent]()
    delimiter = b"\x46\x01\x50" if hevc else b"\x09\xf0"
    for number, units in enumerate(coded(100, 25, ":slices=4", hevc=hevc)):
        parts = [part for unit in units for part in ((delimiter, unit) if is_slice(unit, hevc=hevc) else (unit,))]
        times = [number * TICK + 200 * place for place in range(len(parts))]
        media += sender.picture(parts, times, number / FPS, marks=marks)
    is_good(outputs(packets_of(media, "H265" if hevc else "H264"), tmp_path), 100)


@pytest.mark.parametrize("seed", range(3))
def test_several_faults_at_once(tmp_path: Path, seed: int) -> None:
    """Packing, markers, sequence numbers, sources, times and arrival, in combinations."""
    random = Random(seed)
    packings = [
        single_aggregated_and_fragmented_without_a_marker,
        an_empty_unit_in_each_aggregate,
        fragments_that_are_start_and_end,
        a_start_on_every_fragment_but_the_last,
        csrcs_extension_and_padding,
    ]
    numbers = [lambda n: n, lambda n: Random(n).randrange(1 << 16), lambda n: 2 * n, lambda n: -n]
    times = [
        lambda n: n * TICK,
        lambda n: n * TICK + Random(n).randrange(1800),
        lambda n: n * TICK + (1 << 32) - 99_999,
    ]
    for case in range(5):
        hevc, slices = random.random() < 0.5, random.choice((1, 2, 4))
        packing, marks = random.choice(packings), random.choice(("last", "never", "every"))
        renumber, stamp, sources = random.choice(numbers), random.choice(times), random.choice((1, 3))
        sender, media = RtpSender(hevc=hevc), list[Sent]()
        for number, units in enumerate(coded(100, 25, f":slices={slices}", hevc=hevc)):
            sent = packing(sender, number, units)
            for each in sent:
                is_marked = marks == "every" or (marks == "last" and each is sent[-1])
                kind = each.data[1] & 0x7F | (0x80 if is_marked else 0)
                header = pack(
                    "!BHII", kind, renumber(len(media)) & 0xFFFF, stamp(number) & 0xFFFFFFFF, number // 25 % sources
                )
                media.append(replace(each, data=each.data[:1] + header + each.data[12:]))
        is_good(outputs(packets_of(media, "H265" if hevc else "H264"), tmp_path / str(case)), 100)
