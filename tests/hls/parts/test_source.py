"""Every frame is in exactly one part of the recording, also where the segmenter that makes the parts changes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from gateway.clock import CLOCK_RATE
from gateway.media import Packet
from hls.live.window import LiveWindow
from hls.parts.part import PartSamples
from hls.parts.source import RecordedParts
from tests.support.sources.encoded import EncoderSettings, encode
from tests.support.sources.packets import START_90K, PacketSource, Shape


class Camera:
    """A live window and a recording of the same packets."""

    def __init__(self) -> None:
        self.window = LiveWindow(START_90K)
        self.source = RecordedParts()
        self.parts: list[PartSamples] = []
        self.detach = self.source.attach(self.parts.append, (), 0.0)

    def feed(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            now_s = packet.captured_at_90k / CLOCK_RATE
            self.window.feed(packet, now_s)
            self.source.feed(packet, now_s, self.window.segmenter)

    def finish(self) -> list[PartSamples]:
        rest = self.source.open_samples()
        return [*self.parts, *([rest] if rest is not None else [])]

    @property
    def shares(self) -> bool:
        """Whether the window's parts are recorded."""
        segmenter = self.window.segmenter
        return segmenter is not None and segmenter.on_samples is not None


def frames(parts: Sequence[PartSamples]) -> list[bytes]:
    return [sample.data for part in parts for sample in part.tracks[0].samples]


def video(packets: Sequence[Packet]) -> list[bytes]:
    return [packet.data for packet in packets if packet.is_video]


@pytest.mark.parametrize("gop", [7, 15, 40, 100, 400])
def test_every_frame_is_recorded_once_and_the_windows_parts_are_used_when_it_has_any(gop: int) -> None:
    packets = [
        replace(packet, data=packet.data + bytes((number >> 8, number & 255)))
        for number, packet in enumerate(PacketSource(Shape(gop=gop)).frames(300, START_90K))
    ]
    camera = Camera()
    camera.feed(packets)
    assert frames(camera.finish()) == video(packets)
    assert camera.shares == (gop < 150)
    for before, after in zip(camera.parts, camera.parts[1:], strict=False):
        assert before.end_90k == after.dts_90k


def test_the_data_of_a_recorded_part_are_those_of_the_windows_part() -> None:
    camera = Camera()
    packets = encode(EncoderSettings(seconds=6, fps=25, gop=50, audio=True))
    camera.feed(packets)
    assert camera.shares
    newest = camera.parts[-1]
    edge = camera.window.live_edge
    assert edge is not None
    data = b"".join(piece for track in newest.tracks for piece in track.data)
    name = (
        camera.window.media_playlist()
        .body.decode()
        .rpartition("#EXT-X-PART:")[2]
        .partition('URI="')[2]
        .partition('"')[0]
    )
    part = camera.window.media(name)
    assert part is not None
    assert bytes(part).endswith(data)
    assert newest.audio is not None


def test_sound_goes_on_without_a_gap_where_the_windows_parts_take_over() -> None:
    camera = Camera()
    packets = encode(EncoderSettings(seconds=6, fps=25, gop=50, audio=True))
    camera.feed(packets)
    times = [
        (sample.dts - part.audio_offset, sample.data)
        for part in camera.parts
        if part.audio is not None
        for sample in part.audio.samples
    ]
    assert [at for at, _ in times] == [1024 * number for number in range(len(times))]
    sent = [packet.data for packet in packets if not packet.is_video]
    assert [data for _, data in times] == sent[: len(times)]


def test_a_jump_of_the_cameras_clock_within_a_gop_loses_no_frame() -> None:
    packets = list(PacketSource(Shape(gop=30)).frames(200, START_90K))
    jumped = [
        packet
        if number < 100
        else replace(packet, pts_90k=packet.pts_90k + 5 * CLOCK_RATE, dts_90k=packet.dts_90k + 5 * CLOCK_RATE)
        for number, packet in enumerate(packets)
    ]
    camera = Camera()
    camera.feed(jumped)
    assert len(frames(camera.finish())) == 200
    assert camera.shares


def test_a_new_run_and_a_new_window_lose_no_frame() -> None:
    camera = Camera()
    source = PacketSource(Shape(gop=30))
    first = list(source.frames(100, START_90K))
    second = [
        replace(packet, run=packet.run + 1)
        for packet in PacketSource(Shape(gop=30)).frames(100, START_90K + 9 * CLOCK_RATE)
    ]
    camera.feed(first)
    assert camera.shares
    camera.window = LiveWindow(START_90K + 9 * CLOCK_RATE, after=camera.window)
    camera.feed(second)
    assert camera.shares
    assert len(frames(camera.finish())) == 200
    assert [part.run for part in camera.parts] == sorted(part.run for part in camera.parts)
    (last_of_first,) = (
        before for before, after in zip(camera.parts, camera.parts[1:], strict=False) if before.run != after.run
    )
    assert last_of_first.end_90k - first[-1].dts_90k == first[-1].dts_90k - first[-2].dts_90k


def test_a_recording_that_begins_later_has_the_current_gop() -> None:
    camera = Camera()
    camera.detach()
    packets = list(PacketSource(Shape(gop=30)).frames(200, START_90K))
    camera.feed(packets[:100])
    assert not camera.shares
    camera.source.attach(camera.parts.append, packets[90:100], 0.0)
    camera.feed(packets[100:])
    assert camera.shares
    assert frames(camera.finish()) == video(packets[90:])


def test_a_run_that_ends_completes_its_last_part() -> None:
    for number in (20, 100):
        camera = Camera()
        packets = list(PacketSource(Shape(gop=30)).frames(number, START_90K))
        camera.feed(packets)
        camera.source.end_run()
        camera.window.end_run()
        assert len(frames(camera.parts)) == number
        assert camera.source.open_samples() is None
