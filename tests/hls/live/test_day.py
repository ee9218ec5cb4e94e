"""A day of one camera with every kind of disturbance, checked against every rule of LL-HLS, on a simulated clock."""

import random
from dataclasses import dataclass, field

import pytest

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import Packet
from hls.live.window import LiveWindow
from hls.parts.segmenter import STALL_S
from tests.hls.live.llhls_rules import Watch, check_delta, check_media, parse
from tests.support.sources.packets import AAC, START_90K, PacketSource, Shape

pytestmark = pytest.mark.integration


@dataclass
class Day:
    """The camera, the window, and a client that reloads every ``reload_s``."""

    shape: Shape
    reload_s: float
    now_s: float = 1000.0
    wall_step_90k: int = 0
    jitter_90k: int = 0
    run: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self.window = LiveWindow(self.wall_90k)
        stall_s = max(STALL_S, 3 * self.shape.frame_90k / CLOCK_RATE)
        # A client that reloads at intervals sees a part late by up to one of them.
        self.watch = Watch(punctual_s=stall_s + self.reload_s + 0.1)
        self.reload_at_s = self.now_s
        self.seen = self.without_hint = 0
        self.most_bytes = 0
        self.source = PacketSource(self.shape)

    @property
    def wall_90k(self) -> int:
        return START_90K + seconds_90k(self.now_s) + self.wall_step_90k

    def connect(self, shape: Shape | None = None) -> None:
        """The camera connects."""
        self.run += 1
        self.shape = shape or self.shape
        first = self.rng.randrange(0, 1 << 31)
        self.source = PacketSource(self.shape, run=self.run, first_dts_90k=first)

    def play(self, seconds: float) -> None:
        """The camera sends for some seconds."""
        for _ in range(round(seconds * CLOCK_RATE / self.shape.frame_90k)):
            jitter = self.rng.randint(-self.jitter_90k, self.jitter_90k) if self.jitter_90k else 0
            dts = self.source.first_dts_90k + self.source.number * self.shape.frame_90k + jitter
            self.take(self.source.frame(self.wall_90k, dts))
            self.pass_time(self.shape.frame_90k / CLOCK_RATE)

    def take(self, packet: Packet) -> None:
        self.window.feed(packet, self.now_s)

    def pass_time(self, seconds: float) -> None:
        """Let time pass without packets."""
        until_s = self.now_s + seconds
        while self.reload_at_s <= until_s:
            self.now_s = max(self.now_s, self.reload_at_s)
            self.reload_at_s += self.reload_s
            self.window.advance(self.now_s)
            self.reload()
        self.now_s = until_s
        if seconds > self.shape.frame_90k / CLOCK_RATE:
            self.watch.edge_s = self.watch.segment_s = self.now_s

    def reload(self) -> None:
        if self.window.targets is None or not self.window.live_edge:
            return
        full = self.watch.see(self.window.media_playlist().body.decode(), self.now_s)
        self.seen += 1
        self.without_hint += not full.hints
        self.most_bytes = max(self.most_bytes, self.window.media_bytes)
        if self.seen % 50 == 0:
            check_media(full, self.fetch)
            check_delta(full, parse(self.window.media_playlist(delta=True).body.decode()))

    def fetch(self, uri: str) -> bytes | None:
        data = self.window.media(uri)
        return None if data is None else bytes(data)


def events(day: Day, stretch_s: float) -> None:
    """Every disturbance once, with ``stretch_s`` of ordinary operation after each."""
    gop = day.shape.gop
    day.connect()
    day.play(stretch_s)
    # The camera restarts: quickly, slowly, and after a long time.
    for outage_s in (0.4, 5.0, 90.0):
        day.pass_time(outage_s)
        day.connect()
        day.play(stretch_s)
    # It stalls, and the same run continues in the middle of a GOP.
    for stall_s in (1.0, 8.0):
        frames = round(stall_s * CLOCK_RATE / day.shape.frame_90k) // gop * gop + gop // 2
        day.source.number += frames
        day.pass_time(frames * day.shape.frame_90k / CLOCK_RATE)
        day.play(stretch_s)
    # The resolution changes, within a run and with a restart.
    day.shape = Shape(320, 240, day.shape.frame_90k, day.shape.gop)
    day.source = PacketSource(day.shape, day.run, day.source.first_dts_90k + day.source.number * day.shape.frame_90k)
    day.play(stretch_s)
    day.connect(Shape(160, 120, day.shape.frame_90k, day.shape.gop))
    day.play(stretch_s)
    # GOPs become long, far beyond the target duration.
    day.connect(Shape(160, 120, day.shape.frame_90k, 10 * gop))
    day.play(max(stretch_s, 25 * gop * day.shape.frame_90k / CLOCK_RATE))
    # The frame rate falls below a frame a part, and comes back.
    day.connect(Shape(160, 120, 2 * day.shape.frame_90k, gop))
    day.play(stretch_s)
    day.connect(Shape(160, 120, day.shape.frame_90k // 2, gop))
    day.play(stretch_s)
    # The wall clock is set back and forth.
    for step_s in (-3600, 7200, -0.3):
        day.wall_step_90k += seconds_90k(step_s)
        day.play(stretch_s)
    # Time stamps have jitter, and then jump.
    day.jitter_90k = day.shape.frame_90k // 3
    day.play(stretch_s)
    day.jitter_90k = 0
    day.source.first_dts_90k += seconds_90k(1000)
    day.play(stretch_s)


def test_a_busy_quarter_of_an_hour_at_15_frames_a_second() -> None:
    day = Day(Shape(gop=15), reload_s=0.333)
    events(day, 40.0)
    assert day.seen > 2000
    # Frames are always shorter than parts.
    assert day.without_hint == 0
    assert day.window.counters.packets_dropped == 0


def test_a_whole_day_of_a_frame_a_second() -> None:
    day = Day(Shape(frame_90k=CLOCK_RATE, gop=2), reload_s=9.7)
    began_s = day.now_s
    while day.now_s < began_s + 86_400:
        events(day, 1200.0)
    assert day.seen > 7000
    # Only while frames are longer than parts are segments whole.
    assert 0 < day.without_hint < day.seen / 5
    # Memory is bounded by the window, not by the day.
    assert day.most_bytes < 2_000_000


@pytest.mark.parametrize("frame_90k", [1500, 3000, 3003, 3600, 6000, 7200, 9000, 18_000, 45_000])
def test_ordinary_frame_rates_fit_exactly(frame_90k: int) -> None:
    """With a steady camera no part needs an exception, and all have the same length."""
    day = Day(Shape(frame_90k=frame_90k, gop=max(2, 2 * CLOCK_RATE // frame_90k)), reload_s=0.2)
    day.connect()
    day.play(30.0)
    playlist = parse(day.window.media_playlist().body.decode())
    for segment in playlist.complete:
        assert len({part.duration for part in segment.parts[:-1]}) <= 1
        assert all(part.duration >= 0.85 * playlist.part_target for part in segment.parts[:-1])
        assert not segment.gap


@pytest.mark.parametrize("step_s", [-3600, -300, -11, -2, -0.7, -0.2, 0.2, 0.7, 2, 30, 86_400 * 30])
def test_dates_follow_a_step_of_the_wall_clock_within_a_gop(step_s: float) -> None:
    day = Day(Shape(gop=30), reload_s=0.3)
    day.connect()
    day.play(31.0)  # in mid GOP
    before = parse(day.window.media_playlist().body.decode())
    day.wall_step_90k += seconds_90k(step_s)
    day.play(6.0)
    after = parse(day.window.media_playlist().body.decode())
    last = after.complete[-1]
    assert last.date is not None
    ends = last.date.timestamp() + last.lasts
    assert 0 <= day.wall_90k / CLOCK_RATE - ends < 2 * after.target, "the newest date is that of the clock"
    assert after.media_sequence > before.media_sequence
    new = [segment for segment in after.segments if segment.msn > before.edge[0]]
    assert sum(segment.starts_discontinuity for segment in new) == (abs(step_s) > 1)
    assert not any(segment.gap for segment in new)


def test_small_steps_that_add_up_are_followed() -> None:
    day = Day(Shape(gop=30), reload_s=0.3)
    day.connect()
    day.play(20.0)
    for _ in range(40):
        day.wall_step_90k -= seconds_90k(0.3)
        day.play(2.0)
    last = parse(day.window.media_playlist().body.decode()).complete[-1]
    assert last.date is not None
    assert abs(day.wall_90k / CLOCK_RATE - last.date.timestamp() - last.lasts) < 3


def test_sound_does_not_change_the_rules() -> None:
    day = Day(Shape(gop=15, audio=AAC), reload_s=0.2)
    day.connect()
    for packet in PacketSource(day.shape, run=1).with_sound(15 * 60):
        day.pass_time(max(0.0, 1000 + packet.dts_90k / CLOCK_RATE - day.now_s))
        day.take(packet)
    assert day.seen > 250
