"""Fragments contain exactly their samples."""

from dataclasses import dataclass, replace
from io import BytesIO

import av
import pytest

from gateway.codec import av1
from gateway.media import StreamInfo, VideoInfo
from hls.mp4.fragments import FragmentMuxer, Sample, sample_data
from tests.hls.live.llhls_rules import boxes, video_duration_90k
from tests.support.coded_rtp import encoded
from tests.support.sources.packets import AAC, PacketSource, Shape


def samples(count: int, at: int = 0, cts: int = 0) -> list[Sample]:
    return [
        Sample(each.data, at + each.dts_90k, at + each.dts_90k + cts, 6000, each.is_keyframe)
        for each in PacketSource(Shape(gop=5)).frames(count)
    ]


@dataclass(frozen=True)
class Seen:
    kind: str
    dts: int | None
    pts: int | None
    data: bytes


def demux(muxer: FragmentMuxer, *fragments: bytes) -> list[Seen]:
    with av.open(BytesIO(muxer.init + b"".join(fragments)), "r") as container:
        return [
            Seen(packet.stream.type, packet.dts, packet.pts, bytes(packet))
            for packet in container.demux()
            if packet.size
        ]


def test_init_segment_and_fragments_are_apart() -> None:
    muxer = FragmentMuxer(Shape().info)
    assert [name for name, _ in boxes(muxer.init)] == [b"ftyp", b"moov"]
    assert [name for name, _ in boxes(muxer.fragment(samples(3), (), 1))] == [b"moof", b"mdat"]


def test_the_same_stream_has_the_same_init_and_name_in_any_process() -> None:
    one, two, other = (FragmentMuxer(shape.info) for shape in (Shape(gop=5), Shape(gop=5), Shape(320, 240)))
    assert (one.init, one.init_id) == (two.init, two.init_id)
    assert one.init_id != other.init_id


@pytest.mark.parametrize("at_90k", [0, 1, 90_000 * 3600, 2**33, 2**40])
def test_decode_times_are_absolute_and_durations_true(at_90k: int) -> None:
    muxer = FragmentMuxer(Shape(gop=5).info)
    fragment = muxer.fragment(samples(4, at_90k, cts=4500), (), 7)
    packets = demux(muxer, fragment)
    assert [packet.dts for packet in packets] == [at_90k + n * 6000 for n in range(4)]
    assert [packet.pts for packet in packets] == [at_90k + n * 6000 + 4500 for n in range(4)]
    assert video_duration_90k(fragment) == 4 * 6000


def test_fragments_follow_each_other_without_a_seam_and_decode() -> None:
    muxer = FragmentMuxer(Shape(gop=5).info)
    every = samples(10)
    data = muxer.init + muxer.fragment(every[:3], (), 1) + muxer.fragment(every[3:], (), 2)
    with av.open(BytesIO(data), "r") as container:
        assert [frame.pts for frame in container.decode(video=0)] == [n * 6000 for n in range(10)]


def test_a_fragment_alone_decodes_from_its_keyframe() -> None:
    muxer = FragmentMuxer(Shape(gop=5).info)
    with av.open(BytesIO(muxer.init + muxer.fragment(samples(10)[5:], (), 2)), "r") as container:
        assert len(list(container.decode(video=0))) == 5


def test_parameter_sets_stand_in_the_sample_entry_alone() -> None:
    shape = Shape(gop=5)
    muxer = FragmentMuxer(shape.info)
    (packet,) = demux(muxer, muxer.fragment(samples(1), (), 1))
    data, at, types = packet.data, 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        types.append(data[at + 4] & 0x1F)
        at += 4 + size
    assert 5 in types
    assert not {7, 8} & set(types)
    assert b"avcC" in muxer.init


@pytest.mark.parametrize(
    ("codec", "data", "kept"),
    [
        ("h264", b"\0\0\0\1\x09\xf0\0\0\0\1\x67\x42\0\0\0\1\x68\xce\0\0\1\x65\x88\0\0\1\x67", [0x09, 0x65]),
        ("h264", b"\0\0\1\x06\x01\0\0\1\x65\x88", [0x06, 0x65]),
        ("h264", b"\0\0\1\x67\x42\0\0\1\x68", [0x67, 0x68]),
        ("h264", b"", []),
        ("hevc", b"\0\0\1\x40\1\0\0\1\x42\1\0\0\1\x44\1\0\0\1\x4e\1\0\0\1\x26\1", [0x4E, 0x26]),
    ],
)
def test_parameter_sets_are_taken_out(codec: str, data: bytes, kept: list[int]) -> None:
    left = sample_data(data, codec, keeps_sets=False)
    units = []
    while left:
        size = int.from_bytes(left[:4], "big")
        units.append(left[4])
        left = left[4 + size :]
    assert units == kept


def test_av1_decodes_and_its_sample_entry_says_what_it_is() -> None:
    pictures = encoded("av1", 320, 240, frames=8, gop=4)
    header = av1.sequence_header(pictures[0][0])
    assert header is not None
    muxer = FragmentMuxer(StreamInfo(VideoInfo("av1", header.codec_string, 320, 240, header.obu)))
    every = [Sample(data, n * 3600, n * 3600, 3600, is_key) for n, (data, is_key) in enumerate(pictures)]
    data = muxer.init + muxer.fragment(every[:4], (), 1) + muxer.fragment(every[4:], (), 2)
    with av.open(BytesIO(data), "r") as container:
        assert [frame.pts for frame in container.decode(video=0)] == [n * 3600 for n in range(8)]
        extradata = container.streams.video[0].codec_context.extradata or b""
    assert av1.codec_string_of_av1c(extradata) == header.codec_string
    at = muxer.init.index(b"av1C") + 4
    assert av1.codec_string_of_av1c(muxer.init[at : at + 4]) == header.codec_string


def test_sound_lies_beside_the_picture_on_its_own_clock() -> None:
    info = replace(Shape(gop=5).info, audio=AAC)
    muxer = FragmentMuxer(info)
    sound = [Sample(bytes(20), 48_000 + n * 1024, 48_000 + n * 1024, 1024) for n in range(3)]
    fragment = muxer.fragment(samples(3, 90_000), sound, 1)
    packets = demux(muxer, fragment)
    assert [packet.dts for packet in packets if packet.kind == "audio"] == [48_000, 49_024, 50_048]
    assert [packet.dts for packet in packets if packet.kind == "video"] == [90_000, 96_000, 102_000]
    silent = muxer.fragment(samples(3, 90_000), (), 1)
    assert {packet.kind for packet in demux(muxer, silent)} == {"video"}
