"""Misbehaving cameras, kind by kind, without sockets: RTP with chosen times goes in, LL-HLS and recordings come out.

Each kind is a variation of one good camera. Whatever it does, both outputs decode without an error, run at the real
frame rate, and the recording is one file.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest

from gateway.capture.counters import CaptureCounters
from gateway.codec.annexb import nal_units
from gateway.codec.parameter_sets import find_parameter_sets
from tests.support.camera_outputs import Outputs, Received, decode, outputs, receive
from tests.support.pcm_pictures import Layout, recovery_point
from tests.support.rtsp_camera import RtpSender, Sent, audio_section, sdp, video_section

FPS = 25
TICK = 90_000 // FPS

Picture = tuple[bytes, ...]
"""The NAL units of one picture."""

TRAILING_SEI = b"\x06\x05\x11" + bytes(range(1, 17)) + b"\x2a\x80"
"""User data (H.264 §D.1.6), as cameras write their names into."""

HEVC_SUFFIX_SEI = b"\x50\x01\x05\x11" + bytes(range(1, 17)) + b"\x2a\x80"


@cache
def coded(count: int = 100, gop: int = 25, options: str = "", *, hevc: bool = False) -> tuple[Picture, ...]:
    """Pictures of libx264 or libx265, ``options`` in their own syntax."""
    encoder = av.CodecContext.create("libx265" if hevc else "libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 160, 128, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, FPS), Fraction(FPS), gop
    common = f"keyint={gop}:min-keyint={gop}:scenecut=0"
    if hevc:
        own = f"log-level=none:pools=1:frame-threads=1:bframes=0:repeat-headers=1:{common}"
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": f"{own}{options}"}
    else:
        own = f"threads=1:bframes=0:force-cfr=1:{common}"
        encoder.options = {"preset": "ultrafast", "x264-params": f"{own}{options}", "tune": "zerolatency"}
    random = np.random.default_rng(1)
    texture = random.integers(0, 40, (128, 160), np.uint8)
    found: list[Picture] = []
    for number in range(count):
        planes = np.full((192, 160), 128, np.uint8)
        planes[:128] = 60 + np.roll(texture, number, axis=1)
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts = number
        found += [tuple(nal_units(bytes(packet))) for packet in encoder.encode(frame)]
    found += [tuple(nal_units(bytes(packet))) for packet in encoder.encode(None)]
    assert len(found) == count
    return tuple(found)


def is_slice(unit: bytes, *, hevc: bool = False) -> bool:
    return unit[0] >> 1 & 0x3F < 32 if hevc else 1 <= unit[0] & 0x1F <= 5


def is_good(found: Outputs, count: int, rate: float = FPS, *, files: int = 1) -> None:
    """Both outputs decode without an error and run at the real rate; nearly all frames are there."""
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + len(found.files))
    assert len(found.files) == files
    assert len(found.live) == files
    # A picture is only complete with the next one, and the last part is never closed.
    assert sum(len(each.times) for each in found.files) >= count - 2
    assert sum(len(each.times) for each in found.live) >= count - 12
    for each in (*found.live, *found.files):
        assert each.frame_rate == pytest.approx(rate, rel=0.02)


def packets_of(media: list[Sent], encoding: str = "H264", counters: CaptureCounters | None = None) -> list[Received]:
    return receive(sdp(video_section(encoding)), media, counters)[0]


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


# --- pictures

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


@pytest.mark.parametrize("delimiters", ["", ":aud=1"], ids=["bare", "aud"])
@pytest.mark.parametrize(
    "stamp",
    [
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
def test_fields_are_frames(tmp_path: Path, marks: str, is_second_intra: bool, field_times: tuple[int, int]) -> None:
    layout, sender = Layout(is_interlaced=True), RtpSender()
    media: list[Sent] = []
    for number in range(75):
        in_gop = number % 25
        top = layout.picture(in_gop, 2 * in_gop, 40 + number, is_idr=in_gop == 0, is_intra=in_gop == 0, bottom=False)
        intra = is_second_intra and in_gop == 0
        bottom = layout.picture(in_gop, 2 * in_gop + 1, 40 + number, is_idr=False, is_intra=intra, bottom=True)
        head = [layout.sps(), layout.pps()] if in_gop == 0 else []
        for units, time in (([*head, top], field_times[0]), ([bottom], field_times[1])):
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


# --- time


def camera_with_clock(
    times: Callable[[int], int],
    count: int,
    fps: float,
    jitter: Callable[[int], float] = lambda number: 0.0,
    options: str = ":slices=1",
) -> list[Sent]:
    """A camera that sends ``fps`` pictures a second, with these RTP times."""
    sender = RtpSender()
    pictures = coded(100, 25, options)
    media: list[Sent] = []
    at_s = 0.0
    for number in range(count):
        at_s = max(at_s, number / fps + jitter(number))
        media += sender.picture(pictures[number % 100], times(number), at_s)
    return media


@pytest.mark.parametrize(
    ("stamped_fps", "sent_fps"),
    [(2250, 25), (2250, 10), (25, 21), (25, 24), (25, 27), (25, 12.5), (25, 2.5), (2.5, 25), (21, 25), (30, 25)],
    ids=lambda value: str(value),
)
def test_a_clock_that_drifts_is_replaced_by_the_arrival(tmp_path: Path, stamped_fps: float, sent_fps: float) -> None:
    count = int(sent_fps * 40)
    random = Random(1)
    jittered = camera_with_clock(
        lambda number: int(number * 90_000 / stamped_fps),
        count,
        sent_fps,
        lambda number: random.random() * 0.4 / sent_fps,
    )
    found = outputs(packets_of(jittered), tmp_path)
    assert not any(each.errors for each in (*found.live, *found.files))
    # At 2.5 frames a second, the time of capture is led back by more than a second, twice.
    assert len(found.live) <= (2 if sent_fps > 5 else 3)
    (recorded,) = found.files
    # What is measured takes some seconds, and what went wrong until then is led back.
    late = [time for time in recorded.times if time >= recorded.times[-1] * 0.6]
    assert (len(late) - 1) / (late[-1] - late[0]) == pytest.approx(sent_fps, rel=0.02)
    assert recorded.times[-1] - recorded.times[0] == pytest.approx(count / sent_fps, rel=0.05)
    for before, after in pairwise(late):
        assert after - before < 3 / sent_fps


@pytest.mark.parametrize("night_fps", [12, 5, 2, 1])
def test_a_camera_that_sends_fewer_frames_at_night(tmp_path: Path, night_fps: int) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    at_s = 0.0
    pictures = coded(100, 25, ":slices=1")
    for number in range(250 + 30 * night_fps):
        media += sender.picture(pictures[number % 100], int(at_s * 90_000), at_s)
        at_s += 1 / (FPS if number < 250 else night_fps)
    found = outputs(packets_of(media), tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[], []]
    for each in (*found.live, *found.files):
        assert each.times[-1] - each.times[0] > at_s - 5
        assert each.rate_after(12) == pytest.approx(night_fps, rel=0.03)


def test_packets_that_come_twice_are_dropped(tmp_path: Path) -> None:
    media = camera_with_clock(lambda number: number * TICK, 250, FPS, options=":slices=4")
    doubled = [each for sent in media for each in ((sent, sent) if sent.data[3] % 10 == 0 else (sent,))]
    in_pairs = [each for at in range(0, len(media), 5) for each in media[at : at + 5] * 2]
    for name, sent in (("doubled", doubled), ("in-pairs", in_pairs)):
        is_good(outputs(packets_of(sent), tmp_path / name), 250)


def test_one_sequence_number_for_all_packets_is_no_repetition(tmp_path: Path) -> None:
    media = camera_with_clock(lambda number: number * TICK, 250, FPS, options=":slices=4")
    constant = [Sent(sent.at_s, sent.track, sent.data[:2] + b"\0\7" + sent.data[4:]) for sent in media]
    is_good(outputs(packets_of(constant), tmp_path), 250)


def steady(number: int) -> float:
    return 0.0


def noisy(number: int) -> float:
    return Random(number).random() * 0.3


def stalling(number: int) -> float:
    return 1.4 if number % 100 == 50 else 0.0


def in_bursts_of_a_second(number: int) -> float:
    return (-number % 25) / 25


def slowly_worse_and_back(number: int) -> float:
    return 0.0008 * min(number % 500, 500 - number % 500)


@pytest.mark.parametrize("jitter", [steady, noisy, stalling, in_bursts_of_a_second, slowly_worse_and_back])
def test_a_bad_network_is_no_drift(jitter: Callable[[int], float]) -> None:
    media = camera_with_clock(lambda number: number * TICK, 1500, FPS, jitter)
    received = packets_of(media)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


def test_a_backlog_at_the_beginning_is_no_drift() -> None:
    """A proxy sends what it has kept since the last keyframe, as quickly as the line takes it."""
    media = [
        Sent(max(0.0, sent.at_s - 6.0) + 0.15 * min(sent.at_s, 6.0), sent.track, sent.data)
        for sent in camera_with_clock(lambda number: number * TICK, 1000, FPS)
    ]
    received = packets_of(media)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


@pytest.mark.parametrize("first", [0xFFFF_FFFF - 50 * TICK, 0xFFFF_FFFF, 0x7FFF_FFFF - 10 * TICK])
def test_timestamps_wrap(tmp_path: Path, first: int) -> None:
    received = packets_of(camera_with_clock(lambda number: first + number * TICK, 100, FPS))
    is_good(outputs(received, tmp_path), 100)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 2.0, -0.4])
@pytest.mark.parametrize("between_packets", [False, True])
def test_the_ntp_clock_of_reports_steps(tmp_path: Path, step_s: float, between_packets: bool) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    for number, units in enumerate(coded(options=":slices=4")):
        clock_s = 1_795_373_400 + number / FPS + (step_s if number >= 60 else 0)
        picture = sender.picture(units, number * TICK, number / FPS)
        report = sender.report(clock_s, number * TICK, number / FPS)
        place = len(picture) // 2 if between_packets else 0
        media += [*picture[:place], report, *picture[place:]]
    received = packets_of(media)
    is_good(outputs(received, tmp_path), 100)
    assert [each.packet.dts_90k for each in received] == [number * TICK for number in range(len(received))]


@pytest.mark.parametrize("back", [TICK // 2, TICK + 100, 3 * TICK, 5 * 90_000])
@pytest.mark.parametrize("options", [":slices=1", ":slices=1:bframes=0:cabac=1:8x8dct=1"], ids=["baseline", "high"])
def test_a_step_back_is_no_b_frame(tmp_path: Path, back: int, options: str) -> None:
    media = camera_with_clock(lambda n: 900_000 + n * TICK - back * (n >= 40), 100, FPS, options=options)
    received = packets_of(media)
    assert not any(each.packet.info.video.has_b_frames for each in received if each.at_s > 1.5)
    found = outputs(received, tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[], []]


# --- random access


@pytest.mark.parametrize("hevc", [False, True])
def test_parameter_sets_that_change_with_each_keyframe(tmp_path: Path, hevc: bool) -> None:
    sender = RtpSender(hevc=hevc)
    media: list[Sent] = []
    for gop in range(6):
        quality = f":qp={20 + 4 * (gop % 3)}" if not hevc else f":qp={20 + gop}:cbqpoffs={gop}"
        for place, units in enumerate(coded(25, 25, quality, hevc=hevc)):
            number = gop * 25 + place
            media += sender.picture(units, number * TICK, number / FPS)
    received = packets_of(media, "H265" if hevc else "H264")
    keyframes = [each.packet for each in received if each.packet.is_keyframe]
    sets = [find_parameter_sets(packet.info.video.codec, packet.data) for packet in keyframes]
    assert len({each.pps for each in sets if each is not None}) > 1
    found = outputs(received, tmp_path)
    is_good(found, 150)
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist


@pytest.mark.parametrize("change", ["level", "sps_id", "pps_id", "both_ids"])
def test_identifiers_and_levels_that_change_with_each_keyframe(tmp_path: Path, change: str) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    for number in range(150):
        gop, place = divmod(number, 25)
        layout = Layout(
            sps_id=gop % 2 if change in ("sps_id", "both_ids") else 0,
            pps_id=gop % 3 if change in ("pps_id", "both_ids") else 0,
        )
        units = [layout.picture(place, 2 * place, 40 + number % 100, is_idr=place == 0, is_intra=place == 0)]
        if place == 0:
            sps = bytearray(layout.sps())
            sps[3] = 30 + gop % 2 if change == "level" else 30
            units = [bytes(sps), layout.pps(), *units]
        media += sender.picture(units, number * TICK, number / FPS)
    found = outputs(packets_of(media), tmp_path)
    is_good(found, 150)
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist


def idr_once(number: int, in_gop: int) -> Picture:
    layout = Layout()
    head: Picture = (layout.sps(), layout.pps()) if in_gop == 0 else ()
    mark: Picture = (recovery_point(),) if in_gop == 0 and number else ()
    frame_num = number % 256
    picture = layout.picture(frame_num, 2 * number % 256, 40 + number % 100, is_idr=number == 0, is_intra=in_gop == 0)
    return (*head, *mark, picture)


def test_recovery_points_after_one_idr_are_keyframes(tmp_path: Path) -> None:
    sender = RtpSender()
    media = [
        sent
        for number in range(200)
        for sent in sender.picture(idr_once(number, number % 25), number * TICK, number / FPS)
    ]
    received = packets_of(media)
    assert sum(each.packet.is_keyframe for each in received) >= 6
    found = outputs(received, tmp_path, segment_s=4)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (1 + len(found.files))
    assert len(found.files) == 2


@pytest.mark.parametrize("options", [":intra-refresh=1", ""], ids=["intra-refresh", "infinite-gop"])
def test_files_rotate_without_keyframes(tmp_path: Path, options: str) -> None:
    sender = RtpSender()
    gop = 25 if options else 3000
    media: list[Sent] = []
    pictures = coded(1000, gop, f":slices=1{options}")
    for number, units in enumerate(pictures):
        media += sender.picture(units, number * TICK, number / FPS)
    received = packets_of(media)
    found = outputs(received, tmp_path, segment_s=4)
    assert len(found.files) >= 2
    assert [each.errors for each in found.live] == [[]]
    assert sum(segment.frames for segment in found.segments) >= 998


def test_newcomers_of_intra_refresh_get_a_picture() -> None:
    sender = RtpSender()
    pictures = coded(200, 25, ":slices=1:intra-refresh=1")
    media = [
        sent for number, units in enumerate(pictures) for sent in sender.picture(units, number * TICK, number / FPS)
    ]
    late = [each.packet for each in packets_of(media)][-60:]
    start = next(place for place, packet in enumerate(late) if packet.is_keyframe)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = late[0].info.video.parameter_sets
    frames = [frame for packet in late[start:] for frame in decoder.decode(av.Packet(packet.data))]
    assert frames


# --- sound


def good_video(seconds: float = 8.0) -> list[Sent]:
    return camera_with_clock(lambda number: number * TICK, int(seconds * FPS), FPS)


def merged(*tracks: list[Sent]) -> list[Sent]:
    return sorted((sent for track in tracks for sent in track), key=lambda sent: sent.at_s)


@cache
def aac_frames(count: int, rate_hz: int = 16_000) -> tuple[tuple[bytes, ...], str]:
    """AAC-LC frames, and their AudioSpecificConfig in hexadecimal."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate_hz, "mono", "fltp"
    found: list[bytes] = []
    for number in range(count + 4):
        samples = np.sin(np.arange(number * 1024, (number + 1) * 1024) / 20).astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = rate_hz, number * 1024
        found += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(found[:count]), bytes(encoder.extradata or b"").hex()


def adts(frame: bytes, rate_index: int = 8) -> bytes:
    """An AAC-LC frame with its ADTS header (ISO/IEC 14496-3 §1.A.2.2)."""
    size = len(frame) + 7
    return (
        bytes(
            (0xFF, 0xF1, 1 << 6 | rate_index << 2, 1 << 6 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)
        )
        + frame
    )


def hbr(frame: bytes) -> bytes:
    """AAC-hbr (RFC 3640 §3.3.6)."""
    return bytes((0, 16)) + (len(frame) << 3).to_bytes(2, "big") + frame


AAC_FMTP = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}"


def aac(clock_rate: int, ticks: int, wrap: Callable[[bytes], bytes]) -> Iterator[tuple[str, list[Sent]]]:
    frames, config = aac_frames(125)
    sender = RtpSender(1, 97, 9)
    media = [
        sender.packet(wrap(frame), number * ticks, number * 0.064, marker=True) for number, frame in enumerate(frames)
    ]
    yield audio_section(f"MPEG4-GENERIC/{clock_rate}/1", fmtp=AAC_FMTP.format(config)), media


def raw(rtpmap: str, size: int, seconds: float, ticks: int, byte: bytes = b"\xd5") -> Iterator[tuple[str, list[Sent]]]:
    """Packets of ``size`` bytes, ``seconds`` and ``ticks`` long."""
    sender = RtpSender(1, 97, 9)
    count = int(8 / seconds)
    yield (
        audio_section(rtpmap),
        [sender.packet(byte * size, number * ticks, number * seconds) for number in range(count)],
    )


@pytest.mark.parametrize(
    "sound",
    [
        lambda: aac(16_000, 1024, hbr),
        lambda: aac(16_000, 1024, adts),
        lambda: aac(16_000, 1024, lambda frame: hbr(adts(frame))),
        lambda: aac(8_000, 512, hbr),
        lambda: aac(90_000, 5760, hbr),
        lambda: aac(48_000, 1024, hbr),
        lambda: raw("PCMA/8000", 160, 0.02, 160),
        lambda: raw("PCMU/8000", 2048, 0.256, 2048),
        lambda: raw("G726-16/8000", 40, 0.02, 160),
        lambda: raw("G726-24/8000", 60, 0.02, 160),
        lambda: raw("G726-32/8000", 80, 0.02, 160),
        lambda: raw("G726-40/8000", 100, 0.02, 160),
        lambda: raw("AAL2-G726-16/8000", 40, 0.02, 160),
        lambda: raw("AAL2-G726-32/8000", 80, 0.02, 160),
        lambda: raw("G722/8000", 160, 0.02, 160),
        lambda: raw("L16/16000/1", 640, 0.02, 320, b"\x01"),
    ],
    ids=[
        "aac",
        "adts",
        "adts-in-hbr",
        "aac-clock-half",
        "aac-clock-90k",
        "aac-clock-wrong",
        "g711",
        "g711-2kb",
        "g726-16",
        "g726-24",
        "g726-32",
        "g726-40",
        "aal2-g726-16",
        "aal2-g726-32",
        "g722",
        "l16",
    ],
)
def test_sound(tmp_path: Path, sound: Callable[[], Iterator[tuple[str, list[Sent]]]]) -> None:
    section, media = next(sound())
    received, _ = receive(sdp(video_section(), section), merged(good_video(), media))
    found = outputs(received, tmp_path)
    is_good(found, 200)
    assert found.files[0].audio_tracks == found.live[0].audio_tracks == 1
    assert found.files[0].audio_s == pytest.approx(8, abs=0.8)
    assert found.live[0].audio_s == pytest.approx(8, abs=1.2)


@pytest.mark.parametrize("rtpmap", ["PCMA/8000", "G726-32/8000"])
def test_sound_that_is_declared_and_never_sent_is_no_track(tmp_path: Path, rtpmap: str) -> None:
    received, _ = receive(sdp(video_section(), audio_section(rtpmap)), good_video())
    found = outputs(received, tmp_path)
    is_good(found, 200)
    assert found.files[0].audio_tracks == found.live[0].audio_tracks == 0


def test_sound_that_comes_late_gets_a_track_with_the_next_keyframe(tmp_path: Path) -> None:
    section, media = next(raw("PCMA/8000", 160, 0.02, 160))
    late = [sent for sent in media if sent.at_s >= 3.5]
    received, _ = receive(sdp(video_section(), section), merged(good_video(), late))
    found = outputs(received, tmp_path)
    assert [each.audio_tracks for each in found.files] == [0, 1]
    assert [each.audio_tracks for each in found.live] == [0, 1]
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * 4


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff", bytes(2000), b"\xff\xf1" + bytes(30), b"\x00\x10\xff\xff", b"\x07\xff" + bytes(300)]
)
@pytest.mark.parametrize("rtpmap", ["PCMA/8000", "MPEG4-GENERIC/16000/1", "G726-32/8000"])
def test_broken_sound_costs_no_video(tmp_path: Path, rtpmap: str, garbage: bytes) -> None:
    sender = RtpSender(1, 97, 9)
    media = [sender.packet(garbage, 7 * number, number * 0.02) for number in range(400)]
    section = audio_section(rtpmap, fmtp=AAC_FMTP.format("1408") if "MPEG4" in rtpmap else "")
    received, _ = receive(sdp(video_section(), section), merged(good_video(), media))
    video = [each for each in received if each.packet.is_video]
    assert len(video) >= 199
    found = outputs(received, tmp_path)
    assert all(len(each.times) >= 188 for each in (*found.live, *found.files))
