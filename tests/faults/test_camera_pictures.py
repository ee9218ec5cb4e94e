"""Misbehaving cameras: how pictures are packed. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.camera_media import FPS, TICK, Picture, coded, is_good, is_slice, packets_of
from tests.support.camera_outputs import decode, outputs
from tests.support.pcm_pictures import Layout
from tests.support.rtsp_camera import RtpSender, Sent


def test_a_broken_file_is_noticed(tmp_path: Path) -> None:
    """The measure of all tests here: FFmpeg's complaints are seen."""
    sender = RtpSender()
    media = [
        sent for number, units in enumerate(coded()) for sent in sender.picture(units, number * TICK, number / FPS)
    ]
    outputs(packets_of(media), tmp_path)
    (path,) = tmp_path.rglob("*.mp4")
    data = bytearray(path.read_bytes())
    assert decode(bytes(data)).errors == []
    # In the middle of the first keyframe's slice.
    start = data.index(b"mdat", data.index(b"moof")) + 800
    data[start : start + 20] = bytes(byte ^ 0xFF for byte in data[start : start + 20])
    assert decode(bytes(data)).errors
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    assert decode(bytes(data)).errors


DELIMITER = b"\x09\xf0"

TRAILING_SEI = b"\x06\x05\x11" + bytes(range(1, 17)) + b"\x2a\x80"
"""User data (H.264 §D.1.6), as cameras write their names into."""

HEVC_SUFFIX_SEI = b"\x50\x01\x05\x11" + bytes(range(1, 17)) + b"\x2a\x80"


Stamp = Callable[[RtpSender, int, Picture], list[Sent]]


def parameter_sets_with_the_previous_time(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    times = [number * TICK if is_slice(unit) else max(0, number - 1) * TICK for unit in units]
    return sender.picture(units, times, number / FPS)


def every_unit_with_its_own_time(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, [number * TICK + 90 * place for place in range(len(units))], number / FPS)


def sei_after_the_slices(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture([*units, TRAILING_SEI], number * TICK, number / FPS)


def sei_after_the_marker(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    sent = sender.picture(units, number * TICK, number / FPS)
    return sent + sender.picture([TRAILING_SEI], number * TICK, number / FPS, marks="never")


def one_time_for_all(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, 4711, number / FPS)


def one_time_for_all_and_no_marker(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, 4711, number / FPS, marks="never")


def two_pictures_share_a_time(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, number // 2 * 2 * TICK, number / FPS)


def now_and_then_a_time_repeats(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, (number - (number % 7 == 3)) * TICK, number / FPS)


def a_marker_on_every_packet(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, number * TICK, number / FPS, marks="every")


def a_marker_on_parameter_sets(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    sent: list[Sent] = []
    for place, unit in enumerate(units):
        is_last = place == len(units) - 1
        marks = "last" if is_last or not is_slice(unit) else "never"
        sent += sender.picture([unit], number * TICK, number / FPS, marks=marks)
    return sent


def no_marker(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture(units, number * TICK, number / FPS, marks="never")


def filler_and_unknown_units(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture([*units, b"\x0c\xff\xff\xff\x80", b"\x1e\x01"], number * TICK, number / FPS)


def parameter_sets_and_a_delimiter_before_every_slice(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    sets = [unit for unit in coded(options=":slices=4")[0] if unit[0] & 0x1F in (7, 8)]
    found = [part for unit in units for part in ((DELIMITER, *sets, unit) if is_slice(unit) else (unit,))]
    return sender.picture(found, number * TICK, number / FPS)


@pytest.mark.parametrize("delimiters", ["", ":aud=1"], ids=["bare", "aud"])
@pytest.mark.parametrize(
    "stamp",
    [
        parameter_sets_and_a_delimiter_before_every_slice,
        parameter_sets_with_the_previous_time,
        every_unit_with_its_own_time,
        sei_after_the_slices,
        sei_after_the_marker,
        one_time_for_all,
        one_time_for_all_and_no_marker,
        two_pictures_share_a_time,
        now_and_then_a_time_repeats,
        a_marker_on_every_packet,
        a_marker_on_parameter_sets,
        no_marker,
        filler_and_unknown_units,
    ],
)
def test_pictures_of_h264(tmp_path: Path, stamp: Stamp, delimiters: str) -> None:
    sender = RtpSender()
    pictures = coded(options=f":slices=4{delimiters}")
    media = [sent for number, units in enumerate(pictures) for sent in stamp(sender, number, units)]
    is_good(outputs(packets_of(media), tmp_path), len(pictures))


@pytest.mark.parametrize(
    "stamp", [every_unit_with_its_own_time, one_time_for_all, two_pictures_share_a_time, no_marker]
)
@pytest.mark.parametrize("tail", [(), (HEVC_SUFFIX_SEI,)], ids=["bare", "suffix-sei"])
def test_pictures_of_h265(tmp_path: Path, stamp: Stamp, tail: Picture) -> None:
    sender = RtpSender(hevc=True)
    pictures = coded(options=":slices=2", hevc=True)
    media = [sent for number, units in enumerate(pictures) for sent in stamp(sender, number, (*units, *tail))]
    is_good(outputs(packets_of(media, "H265"), tmp_path), len(pictures))


def start_codes_before_units(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture([b"\0\0\0\1" + unit for unit in units], number * TICK, number / FPS)


def a_picture_as_one_unit_with_start_codes(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    return sender.picture([b"\0\0\1".join(units)], number * TICK, number / FPS)


def no_end_of_fragments(sender: RtpSender, number: int, units: Picture) -> list[Sent]:
    flags = 14 if sender.is_hevc else 13
    found = sender.picture(units, number * TICK, number / FPS)
    is_part = [(sent.data[12] >> 1 & 0x3F == 49) if sender.is_hevc else sent.data[12] & 0x1F == 28 for sent in found]
    return [
        replace(sent, data=sent.data[:flags] + bytes((sent.data[flags] & ~0x40,)) + sent.data[flags + 1 :])
        if part
        else sent
        for sent, part in zip(found, is_part, strict=True)
    ]


@pytest.mark.parametrize("hevc", [False, True])
@pytest.mark.parametrize(
    "stamp", [start_codes_before_units, a_picture_as_one_unit_with_start_codes, no_end_of_fragments]
)
def test_units_that_are_not_as_rtp_has_them(tmp_path: Path, stamp: Stamp, hevc: bool) -> None:
    sender = RtpSender(hevc=hevc)
    pictures = coded(options=":slices=2", hevc=hevc)
    media = [sent for number, units in enumerate(pictures) for sent in stamp(sender, number, units)]
    is_good(outputs(packets_of(media, "H265" if hevc else "H264"), tmp_path), len(pictures))


@pytest.mark.parametrize("marks", ["last", "never"])
@pytest.mark.parametrize("is_second_intra", [True, False])
@pytest.mark.parametrize("field_times", [(0, 0), (0, TICK // 2)], ids=["one-time", "a-time-each"])
@pytest.mark.parametrize("between", ["nothing", "sets"])
def test_fields_are_frames(
    tmp_path: Path, marks: str, is_second_intra: bool, field_times: tuple[int, int], between: str
) -> None:
    layout, sender = Layout(is_interlaced=True), RtpSender()
    media: list[Sent] = []
    for number in range(75):
        in_gop = number % 25
        top = layout.picture(in_gop, 2 * in_gop, 40 + number, is_idr=in_gop == 0, is_intra=in_gop == 0, bottom=False)
        intra = is_second_intra and in_gop == 0
        bottom = layout.picture(in_gop, 2 * in_gop + 1, 40 + number, is_idr=False, is_intra=intra, bottom=True)
        head = [layout.sps(), layout.pps()] if in_gop == 0 else []
        middle = [DELIMITER, layout.sps(), layout.pps()] if between == "sets" else []
        for units, time in (([*head, top], field_times[0]), ([*middle, bottom], field_times[1])):
            media += sender.picture(units, number * TICK + time, number / FPS, marks=marks)
    found = outputs(packets_of(media), tmp_path)
    is_good(found, 75)


@pytest.mark.parametrize("active", [0, 1])
@pytest.mark.parametrize("is_active_last", [True, False])
def test_the_active_sps_says_the_size(tmp_path: Path, active: int, is_active_last: bool) -> None:
    other = Layout(sps_id=1 - active, pps_id=1 - active, width_mbs=20, height_mbs=15, profile=66)
    used, sender = Layout(sps_id=active, pps_id=active), RtpSender()
    media: list[Sent] = []
    for number in range(75):
        in_gop = number % 25
        slices = used.picture(in_gop, 2 * in_gop, 40 + number, is_idr=in_gop == 0, is_intra=in_gop == 0)
        both = [(other, used), (used, other)][not is_active_last]
        head = [each.sps() for each in both] + [each.pps() for each in both] if in_gop == 0 else []
        media += sender.picture([*head, slices], number * TICK, number / FPS)
    received = packets_of(media)
    video = received[0].packet.info.video
    assert (video.width, video.height, video.codec_string) == (64, 64, "avc1.4d001e")
    found = outputs(received, tmp_path)
    is_good(found, 75)
    assert found.files[0].sizes == found.live[0].sizes == {(64, 64)}


@pytest.mark.parametrize(("every", "padding"), [(1, 0), (3, 0), (1, 4)])
def test_the_padding_bit_with_and_without_padding(tmp_path: Path, every: int, padding: int) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    for number, units in enumerate(coded()):
        for sent in sender.picture(units, number * TICK, number / FPS):
            tail = bytes(padding - 1) + bytes((padding,)) if padding else b""
            is_padded = len(media) % every == 0
            data = bytes((sent.data[0] | 0x20,)) + sent.data[1:] + tail if is_padded else sent.data
            media.append(replace(sent, data=data))
    is_good(outputs(packets_of(media), tmp_path), len(coded()))
