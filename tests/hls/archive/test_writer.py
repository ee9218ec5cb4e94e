"""Recorded files contain exactly the packets that were recorded, while they grow and when they are closed."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import pytest

from gateway.clock import CLOCK_RATE
from gateway.codec.parameter_sets import find_parameter_sets, video_info
from gateway.media import MediaKind, Packet, StreamInfo
from hls.archive.check import check_archive
from hls.archive.identity import IDENTITY_KEY, identity
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import Recording
from hls.archive.recovery import recover
from hls.archive.scan import scan
from hls.archive.segment import EndReason, Segment, SegmentState
from hls.archive.segment_files import SegmentFiles
from hls.archive.writer import SegmentWriter
from hls.mp4.fragments import declare_streams, sample_data
from hls.parts.fragment_borders import FRAGMENT_MAX_90K
from hls.playback.clip import make_clip
from hls.settings import FsyncMode
from tests.support.ffprobe import decode, ffprobe
from tests.support.manual_clock import ManualClock
from tests.support.recording import index_of, parts_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.settings import load_settings

pytestmark = pytest.mark.integration

LONG_GOP = EncoderSettings(seconds=5, fps=25, gop=60, audio=True)


def b_frames() -> tuple[Packet, ...]:
    """Four seconds of H.264 whose decoding order is not the order of presentation."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 160, 120, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, 25), Fraction(25), 30
    encoder.options = {"preset": "fast", "bf": "3", "b_strategy": "0", "threads": "1"}
    frames = [av.VideoFrame(160, 120, "yuv420p") for _ in range(100)]
    coded: list[av.Packet[Any]] = []
    for number, frame in enumerate(frames):
        frame.pts = number
        coded += encoder.encode(frame)
    coded += encoder.encode(None)
    sets = find_parameter_sets("h264", bytes(coded[0]))
    assert sets is not None
    info = StreamInfo(replace(video_info("h264", sets, Fraction(25))[0], has_b_frames=True))
    first = coded[0].dts
    assert first is not None
    packets = []
    for packet in coded:
        assert packet.pts is not None
        assert packet.dts is not None
        pts_90k, dts_90k = (packet.pts - first) * 3600, (packet.dts - first) * 3600
        packets.append(
            Packet(
                MediaKind.VIDEO, bytes(packet), pts_90k, dts_90k, 3600, packet.is_keyframe, START_90K + dts_90k, info, 1
            )
        )
    return tuple(packets)


def streams() -> dict[str, Sequence[Packet]]:
    return {
        "h264": encode(EncoderSettings(seconds=3)),
        "h265 with audio": encode(EncoderSettings(seconds=3, hevc=True, audio=True)),
        "long GOP with audio": encode(LONG_GOP),
        "B-frames": b_frames(),
    }


@pytest.fixture(params=["h264", "h265 with audio", "long GOP with audio", "B-frames"])
def packets(request: pytest.FixtureRequest) -> Sequence[Packet]:
    return streams()[request.param]


def demux(path: Path) -> Iterator[tuple[str, int, int, int, bool, bytes]]:
    """Kind, pts, dts, duration, whether it is a keyframe, and data; times in the track's time scale."""
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.dts is not None:
                assert packet.pts is not None
                assert packet.duration is not None
                data = bytes(packet)
                yield packet.stream.type, packet.pts, packet.dts, packet.duration, packet.is_keyframe, data


def expected(packets: Sequence[Packet]) -> list[tuple[str, int, int, int, bool, bytes]]:
    """What :func:`demux` finds in a closed recording of these packets, video first."""
    tracks = []
    for kind in (MediaKind.VIDEO, MediaKind.AUDIO):
        track = [packet for packet in packets if packet.kind is kind]
        for packet, after in zip_longest(track, track[1:]):
            data, times = packet.data, [packet.pts_90k, packet.dts_90k]
            times.append(after.dts_90k - packet.dts_90k if after else packet.duration_90k)
            if kind is MediaKind.VIDEO:
                data = sample_data(data, packet.info.video.codec, keeps_sets=not packet.is_keyframe)
            else:
                assert packet.info.audio is not None
                times = [time * packet.info.audio.sample_rate_hz // CLOCK_RATE for time in times]
            tracks.append((str(kind), times[0], times[1], times[2], packet.is_keyframe, data))
    return tracks


def test_a_closed_file_has_the_packets_as_they_came(tmp_path: Path, packets: Sequence[Packet]) -> None:
    [(segment, _)] = record(tmp_path, packets)
    path = segment.path(tmp_path)
    found = sorted(demux(path), key=lambda packet: packet[0] == "audio")
    assert found == expected(packets)
    assert decode(path) == ""
    assert segment.size == path.stat().st_size
    assert b"edts" not in path.read_bytes()


def test_a_growing_file_has_the_packets_of_its_complete_fragments(tmp_path: Path, packets: Sequence[Packet]) -> None:
    [(segment, fragments)] = record(tmp_path, packets, finish=False)
    path = segment.path(tmp_path)
    found = [packet for packet in demux(path) if packet[0] == "video"]
    frames = sum(fragment.frames for fragment in fragments)
    assert found == expected(packets)[:frames]
    assert decode(path) == ""
    video = [packet for packet in packets if packet.is_video]
    assert video[-1].dts_90k - segment.duration_90k <= FRAGMENT_MAX_90K, "the rest is less than a fragment"


def test_a_fragment_ends_at_a_keyframe_or_after_its_usual_duration(tmp_path: Path) -> None:
    [(_, fragments)] = record(tmp_path, encode(replace(LONG_GOP, gop=55)))
    assert [fragment.frames for fragment in fragments] == [10, 10, 10, 10, 10, 5] * 2 + [10, 5]
    assert [fragment.is_keyframe for fragment in fragments] == [number % 6 == 0 for number in range(14)]


def test_a_frame_before_a_gap_lasts_until_the_next_one_and_silence_fills_the_gap_of_the_sound(tmp_path: Path) -> None:
    """Also across fragments, whose own durations cannot know it."""
    kept = [
        packet
        for packet in encode(LONG_GOP)
        if not (1.3 if packet.is_video else 0.9) * CLOCK_RATE < packet.dts_90k < 2.4 * CLOCK_RATE
    ]
    [(segment, fragments)] = record(tmp_path, kept)
    path = segment.path(tmp_path)
    found = list(demux(path))
    assert [packet for packet in found if packet[0] == "video"] == expected(kept)[: segment.frames]
    sound = [packet for packet in found if packet[0] == "audio"]
    until = round(1.3 * 48_000) // 1024
    assert [packet[2] for packet in sound][:until] == [1024 * number for number in range(until)]
    recorded = {packet[5]: packet[2] for packet in sound}
    for packet in kept:
        if not packet.is_video:
            assert abs(recorded[packet.data] - packet.dts_90k * 48_000 // CLOCK_RATE) <= 512
    assert scan(path).fragments == fragments
    assert sum(fragment.duration_90k for fragment in fragments) == segment.duration_90k == 5 * CLOCK_RATE


def sound_from(seconds: float) -> list[Packet]:
    """Pictures of five seconds, and sound that begins later."""
    return [packet for packet in encode(LONG_GOP) if packet.is_video or packet.dts_90k >= seconds * CLOCK_RATE]


def test_sound_that_is_heard_late_is_in_the_segment_from_the_next_keyframe_on(tmp_path: Path) -> None:
    kept = sound_from(1.5)
    [(segment, fragments)] = record(tmp_path, kept)
    path = segment.path(tmp_path)
    assert segment.audio_codec == "aac"
    found = list(demux(path))
    assert [packet for packet in found if packet[0] == "video"] == expected(kept)[: segment.frames]
    sound = {packet[5]: packet[2] for packet in found if packet[0] == "audio"}
    heard = [packet for packet in kept if not packet.is_video and packet.dts_90k > 2.5 * CLOCK_RATE]
    assert len(heard) > 100
    for packet in heard:
        assert abs(sound[packet.data] - packet.dts_90k * 48_000 // CLOCK_RATE) <= 512
    assert decode(path) == ""
    # What is not closed has it, too, and so have its parts: silence reaches back to the beginning.
    assert scan(path).fragments == fragments
    assert scan(path).init_id == segment.init_id


def test_a_file_whose_sound_began_late_is_recovered_with_it(tmp_path: Path) -> None:
    """Its row is from before."""
    recording = Recording("door", tmp_path, 600, FsyncMode.NEVER)
    before: Segment | None = None
    for part in parts_of(sound_from(1.5)):
        growing = recording.write([QueuedPart(part)]).growing
        if growing is not None and growing.segment.audio_codec is None:
            before = growing.segment
            assert decode(before.path(tmp_path)) == ""
    assert before is not None
    assert growing is not None
    assert growing.segment.audio_codec == "aac"
    index = index_of(tmp_path, [(before, ())])
    recover(tmp_path, index)
    [recovered] = index.page("door", None, None, 100)
    assert recovered.state is SegmentState.TRUNCATED
    assert (recovered.init_id, recovered.audio_codec) == (growing.segment.init_id, "aac")
    assert decode(before.path(tmp_path)) == ""
    assert {packet[0] for packet in demux(before.path(tmp_path))} == {"video", "audio"}


def test_sound_that_comes_a_little_after_the_first_frame_is_in_the_first_segment(tmp_path: Path) -> None:
    kept = [packet for packet in encode(LONG_GOP) if packet.is_video or packet.dts_90k >= CLOCK_RATE]
    [(segment, _)] = record(tmp_path, kept)
    sound = [packet for packet in demux(segment.path(tmp_path)) if packet[0] == "audio"]
    first, *_ = (packet for packet in kept if not packet.is_video)
    (at,) = (packet[2] for packet in sound if packet[5] == first.data)
    assert abs(at - first.dts_90k * 48_000 // CLOCK_RATE) <= 512
    assert decode(segment.path(tmp_path)) == ""


def test_sound_that_is_declared_and_never_heard_makes_no_track(tmp_path: Path) -> None:
    [(segment, _)] = record(tmp_path, [packet for packet in encode(LONG_GOP) if packet.is_video])
    assert segment.audio_codec is None
    assert {packet[0] for packet in demux(segment.path(tmp_path))} == {"video"}


def test_broken_audio_is_dropped(tmp_path: Path) -> None:
    packets = encode(EncoderSettings(seconds=1, audio=True))
    audio = [packet for packet in packets if not packet.is_video]
    broken = [replace(audio[5], data=b""), audio[3], replace(audio[5], dts_90k=-5, pts_90k=-5)]
    [(segment, _)] = record(tmp_path, [*packets, *broken])
    assert segment.frames == 10
    assert len([packet for packet in demux(segment.path(tmp_path)) if packet[0] == "audio"]) == len(audio)
    assert decode(segment.path(tmp_path)) == ""


@pytest.mark.parametrize(("step_90k", "shown_90k"), [(0, 0), (-9000, 0), (2**31, 0), (9000, -1), (9000, 2**31)])
def test_a_frame_out_of_order_is_an_error(tmp_path: Path, step_90k: int, shown_90k: int) -> None:
    [first] = parts_of(encode()[:1])
    writer = SegmentWriter(tmp_path / "a.mp4", _segment(), first.info, FsyncMode.NEVER)
    writer.write(first)
    second = replace(first, is_keyframe=False, dts_90k=first.dts_90k + step_90k, offset_90k=first.offset_90k - step_90k)
    with pytest.raises(ValueError, match="ticks after"):
        writer.write(replace(second, offset_90k=second.offset_90k - shown_90k))
    writer.abandon()
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("call", "failing"), [("pwritev", 1), ("pwritev", 2), ("pwritev", 3), ("fdatasync", 2), ("fdatasync", 3)]
)
def test_a_close_that_fails_keeps_what_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failing: int, code: int
) -> None:
    """The last fragment, the index and the header, each with its write and its sync."""
    recording = Recording("door", tmp_path, 600, FsyncMode.ALWAYS)
    packets = encode(EncoderSettings(seconds=2, fps=25, gop=25))
    growing = recording.write([QueuedPart(part) for part in parts_of(packets)[:-2]]).growing
    assert growing is not None
    real, calls = getattr(os, call), []

    def fails_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == failing:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(os, call, fails_once)
    result = recording.finish(EndReason.STOPPED)
    assert len(calls) >= failing
    assert result.error is not None
    assert os.strerror(code) in result.error
    ((segment, _),) = result.closed
    assert segment.frames >= growing[0].frames
    (path,) = tmp_path.rglob("*.mp4")
    assert not decode(path)
    assert len(list(demux(path))) == segment.frames


@pytest.mark.parametrize("what", ["file", "folder", "moved"])
def test_a_file_that_is_removed_while_it_grows_is_told_and_another_begins(tmp_path: Path, what: str) -> None:
    clock = ManualClock()
    recording = Recording("door", tmp_path, 600, FsyncMode.NEVER, clock=clock)
    errors: list[str] = []
    closed: list[Segment] = []
    for number, part in enumerate(parts_of(encode(EncoderSettings(seconds=20)))):
        result = recording.write([QueuedPart(part)])
        closed += [segment for segment, _ in result.closed]
        errors += [result.error] if result.error is not None else []
        if number == 4:
            [path] = tmp_path.rglob("*.mp4")
            if what == "file":
                path.unlink()
            elif what == "folder":
                shutil.rmtree(tmp_path / "door")
            else:
                path.rename(tmp_path / "aside")
        clock.now += part.end_90k / CLOCK_RATE - part.dts_90k / CLOCK_RATE
    assert result.error is None
    assert "removed or moved" in errors[0]
    assert [segment.state for segment in closed] == [SegmentState.DELETING]
    [(segment, _)] = recording.finish(EndReason.STOPPED).closed
    assert decode(segment.path(tmp_path)) == ""
    assert segment.duration_90k > 10 * CLOCK_RATE


def test_the_file_says_which_segment_it_is(tmp_path: Path) -> None:
    for finish in (True, False):
        [(segment, _)] = record(tmp_path / str(finish), encode(), finish=finish)
        tags: dict[str, Any] = ffprobe(segment.path(tmp_path / str(finish)))["format"]["tags"]
        assert json.loads(tags["comment"]) == identity(segment)


def _segment() -> Segment:
    info = encode()[0].info.video
    return Segment(
        camera_id="door",
        name="segment_20261122T185000Z",
        state=SegmentState.GROWING,
        start_90k=START_90K,
        duration_90k=0,
        size=0,
        codec=info.codec,
        codec_string=info.codec_string,
        width=info.width,
        height=info.height,
        head=b"",
        init_size=0,
        run=1,
    )


def write_with_ffmpeg(path: Path, segment: Segment, packets: Sequence[Packet]) -> bytes:
    """A recording as versions up to 1.x wrote it, with FFmpeg's muxer. Returns the file as it was while it grew."""
    options = {
        "movflags": "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof",
        "frag_duration": "500000",
        "use_editlist": "0",
        "max_interleave_delta": "1",
        "flush_packets": "1",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata[IDENTITY_KEY] = json.dumps(identity(segment), separators=(",", ":"))
        video, audio = declare_streams(container, packets[0].info)
        for packet in packets:
            stream = video if packet.is_video else audio
            assert stream is not None
            coded = av.Packet(packet.data)
            coded.stream, coded.time_base = stream, Fraction(1, CLOCK_RATE)
            coded.pts, coded.dts, coded.duration = packet.pts_90k, packet.dts_90k, packet.duration_90k
            coded.is_keyframe = packet.is_keyframe
            container.mux_one(coded)
        return path.read_bytes()


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_file_of_an_earlier_version_is_recovered_checked_and_cut(tmp_path: Path, *, is_closed: bool) -> None:
    packets = encode(LONG_GOP)
    [(ours, our_fragments)] = record(tmp_path / "ours", packets, finish=is_closed)
    path = ours.path(tmp_path)
    growing = write_with_ffmpeg(path, ours, packets)
    if not is_closed:
        path.write_bytes(growing + growing[-100:])
    index = index_of(tmp_path)
    assert recover(tmp_path, index).added == 1
    found = index.get("door", ours.name)
    assert found is not None
    segment, fragments = found
    index.close()
    assert segment.state is (SegmentState.CLOSED if is_closed else SegmentState.TRUNCATED)
    assert (segment.start_90k, segment.run, segment.init_id) == (ours.start_90k, ours.run, ours.init_id)
    # The earlier version's fragments lasted half a second.
    starts, our_starts = (
        [each.start_90k for each in found if each.is_keyframe] for found in (fragments, our_fragments)
    )
    assert starts == our_starts[: len(starts)]
    assert len(starts) >= 2
    assert decode(path) == ""
    assert not check_archive(load_settings(data_dir=tmp_path))
    clip = make_clip(SegmentFiles(tmp_path), [found], START_90K + CLOCK_RATE, START_90K + 3 * CLOCK_RATE)
    (tmp_path / "clip.mp4").write_bytes(b"".join(clip.read(0, clip.length)))
    assert decode(tmp_path / "clip.mp4") == ""
    assert clip.duration_90k == 2 * CLOCK_RATE
