"""EngineRunner: from the engine's thread to the event loop, bounded, in order, and to its end."""

import asyncio
import itertools
import threading
from collections.abc import Iterator

import pytest

from gateway.capture import runner as runner_module
from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.runner import EngineRunner
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import CameraEndedError, CaptureError
from gateway.media import MediaKind, Packet
from tests.support.sources.scripted import INFO

GOP = 10


def packet(number: int) -> Packet:
    return Packet(MediaKind.VIDEO, b"\0", number, number, 0, number % GOP == 0, 0, INFO, 1)


class FiniteEngine(CaptureEngine):
    """Yields ``count`` packets as fast as it can, then ends or raises."""

    count = 0
    error: Exception | None = None
    done: threading.Event

    def packets(self) -> Iterator[Packet]:
        for number in range(self.count):
            yield packet(number)
        self.done.set()
        if self.error is not None:
            raise self.error

    def interrupt(self) -> None:
        self.done.set()


def finite_engine(count: int, error: Exception | None = None) -> FiniteEngine:
    engine = FiniteEngine(CaptureSource("door", "finite://", run=1), SYSTEM_CLOCK)
    engine.count, engine.error, engine.done = count, error, threading.Event()
    return engine


async def test_packets_arrive_in_order_and_then_the_end() -> None:
    seen: list[int] = []
    runner = EngineRunner(finite_engine(100), lambda item: seen.append(item.dts_90k))
    runner.start()
    await runner.ended()
    assert seen == list(range(100))
    assert not runner.is_running


async def test_a_slow_loop_loses_packets_up_to_a_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "HANDOVER_MAX_PACKETS", 25)
    seen: list[int] = []
    engine = finite_engine(1000)
    runner = EngineRunner(engine, lambda item: seen.append(item.dts_90k))
    runner.start()
    engine.done.wait()  # the loop is blocked, as by a bad consumer
    await runner.ended()
    assert seen[:25] == list(range(25))
    assert len(seen) == 25
    assert runner.dropped == 975


async def test_the_first_packet_after_a_gap_is_a_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "HANDOVER_MAX_PACKETS", 25)
    seen: list[int] = []
    runner = EngineRunner(finite_engine(20_000), lambda item: seen.append(item.dts_90k))
    runner.start()
    await runner.ended()
    assert len(seen) + runner.dropped == 20_000
    for before, after in itertools.pairwise(seen):
        assert after == before + 1 or after % GOP == 0


async def test_the_error_of_the_engine_is_raised() -> None:
    runner = EngineRunner(finite_engine(1, CameraEndedError("hung up")), lambda _: None)
    runner.start()
    with pytest.raises(CameraEndedError, match="hung up"):
        await runner.ended()


async def test_another_error_becomes_a_capture_error_without_secrets() -> None:
    runner = EngineRunner(finite_engine(1, ValueError("rtsp://viewer:s3cret@camera")), lambda _: None)
    runner.start()
    with pytest.raises(CaptureError, match="ValueError") as caught:
        await runner.ended()
    assert "s3cret" not in str(caught.value)


async def test_nothing_is_delivered_after_an_interrupt() -> None:
    seen: list[int] = []
    engine = finite_engine(50)
    runner = EngineRunner(engine, lambda item: seen.append(item.dts_90k))
    runner.start()
    engine.done.wait()
    runner.interrupt()
    await asyncio.wait_for(runner.ended(), 60)
    assert not seen
