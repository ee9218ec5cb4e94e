"""One node's camera at another node: what a relay begins with, what it drops, and what follows its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from gateway import capture_runs
from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.capture.engine import CaptureSource
from gateway.capture.engines.relay import RelayCaptureEngine
from gateway.errors import CameraUnreachableError
from gateway.hub import Subscription
from gateway.media import Packet
from gateway.relay import Relay
from gateway.service import CaptureService
from gateway.session import SessionState
from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.sources.scripted import ScriptedEngine
from web.cluster import relay_sender
from web.cluster.relay_sender import RelayCounters, RelaySender

ENGINE = "tests.support.sources.scripted:ScriptedEngine"


class TwoNodes:
    """An owner, and a node whose relay reads from it without a network. ``is_read`` may be cleared to make it slow."""

    def __init__(self) -> None:
        ScriptedEngine.runs.clear()
        settings = load_settings()
        table: dict[str, Any] = {"url": "scripted://owner", "engine": ENGINE, "start": "on-demand", "record": "never"}
        table |= {"connection_retry_delay": 0.1, "capture_linger": 0}
        self.owner = CaptureService({"door": settings.camera("door", table)})
        here = table | {"url": "scripted://here", "start": "always"}
        self.node = CaptureService({"door": settings.camera("door", here)}, relay_of=self._relay_of)
        self.counters = RelayCounters()
        self.owner_id: str | None = "owner"
        self.is_own = False
        """Whether the node captures the camera itself."""
        self.is_read = asyncio.Event()
        self.is_read.set()

    @property
    def camera(self) -> Camera:
        """At the node."""
        return self.node.camera("door")

    def engine(self, where: str = "owner") -> ScriptedEngine:
        """The newest of a camera."""
        return ScriptedEngine.runs[f"scripted://{where}"][-1]

    def runs(self, where: str = "owner") -> int:
        return len(ScriptedEngine.runs.get(f"scripted://{where}", []))

    def _relay_of(self, _: str, __: RenditionName) -> Relay | None:
        return None if self.is_own else Relay(self.owner_id, partial(RelayCaptureEngine, connect=self._connect))

    @asynccontextmanager
    async def _connect(self, _: CaptureSource) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.owner_id is None:
            raise CameraUnreachableError("no node of the cluster captures it at present")
        camera = self.owner.camera("door")
        pipe: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def write(data: bytes) -> None:
            await self.is_read.wait()
            pipe.put_nowait(data)

        async def send() -> None:
            sender = RelaySender(camera, camera.main, lambda: self.owner_id == "owner", self.counters)
            await sender.send("a", 1, write, lambda: False)
            pipe.put_nowait(None)

        async def read() -> AsyncIterator[bytes]:
            while (data := await pipe.get()) is not None:
                yield data

        task = asyncio.create_task(send())
        try:
            yield read()
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def nodes() -> AsyncIterator[TwoNodes]:
    made = TwoNodes()
    async with made.owner, made.node:
        yield made


async def live(nodes: TwoNodes) -> Subscription:
    """A viewer at the node that has seen a keyframe."""
    nodes.camera.hold("webrtc")
    await eventually(lambda: nodes.runs() > 0, "the owner captures the camera")
    nodes.engine().send(key=True)
    await eventually(lambda: nodes.camera.session.state is SessionState.LIVE, "it is live at the node")
    queue = nodes.camera.hub.subscribe(max_packets=5000)
    assert (await next_of(queue)).is_keyframe
    return queue


async def next_of(queue: Subscription) -> Packet:
    async with asyncio.timeout(60):
        return await queue.get()


async def test_a_relay_is_opened_for_viewers_alone_and_keeps_the_camera_captured(nodes: TwoNodes) -> None:
    assert nodes.runs() == nodes.runs("here") == 0, "start = always is for the owner alone"
    hold = nodes.camera.hold("webrtc")
    await eventually(lambda: nodes.runs() > 0, "the owner captures the camera")
    assert nodes.owner.camera("door").viewers == {"relay": 1}
    assert nodes.counters.streams == 1
    hold.release()
    await eventually(lambda: nodes.owner.camera("door").session.state is SessionState.STOPPED, "nobody wants it")
    assert (nodes.owner.camera("door").viewers, nodes.counters.streams) == ({}, 0)


async def test_a_relay_begins_with_the_current_gop(nodes: TwoNodes) -> None:
    owner = nodes.owner.camera("door")
    owner.hold("webrtc")
    await eventually(lambda: nodes.runs() > 0, "the owner captures the camera")
    for number in range(5):
        nodes.engine().send(key=number % 3 == 0)
    nodes.engine().send(key=True)
    for _ in range(3):
        nodes.engine().send()
    await eventually(lambda: len(owner.hub.gop) == 4, "the owner has a GOP")
    nodes.camera.hold("webrtc")
    await eventually(lambda: len(nodes.camera.hub.gop) == 4, "the node has the GOP")
    assert [packet.dts_90k for packet in nodes.camera.hub.gop] == [packet.dts_90k for packet in owner.hub.gop]
    assert [packet.captured_at_90k for packet in nodes.camera.hub.gop] == [p.captured_at_90k for p in owner.hub.gop]


async def test_viewers_go_on_after_the_owner_has_lost_the_camera(nodes: TwoNodes) -> None:
    queue = await live(nodes)
    nodes.engine().fail()
    await eventually(lambda: nodes.camera.session.state is SessionState.RETRYING, "the node says so")
    await eventually(lambda: nodes.runs() == 2, "the owner tries again")
    nodes.engine().send(key=True)
    packet = await next_of(queue)
    assert (packet.run > 1, packet.is_keyframe) == (True, True)
    assert nodes.camera.viewers == {"webrtc": 1}


async def test_why_the_owner_has_no_video_is_told_at_the_node(nodes: TwoNodes) -> None:
    nodes.camera.hold("webrtc")
    await eventually(lambda: nodes.runs() == 1, "the owner tries")
    nodes.engine().fail()
    await eventually(lambda: nodes.runs() == 2, "the owner tries again")
    nodes.engine().fail()
    await eventually(lambda: nodes.camera.status().error_message == "the camera is gone", "the status says so")


async def test_viewers_go_on_when_this_node_is_the_owner_now(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two captures have no picture in common: the next run is one of its own."""
    monkeypatch.setattr(capture_runs, "SAME_S", 0.02)
    queue = await live(nodes)
    assert (nodes.camera.main.has_pictures, nodes.camera.main.has_own_pictures) == (True, False)
    nodes.is_own = True
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs("here") == 1, "the node captures the camera")
    assert not nodes.camera.main.has_own_pictures, "it is not handed over yet"
    nodes.engine().send(data=b"still relayed")
    assert (await next_of(queue)).data == b"still relayed"
    nodes.engine("here").send(key=True, data=b"own")
    packet = await next_of(queue)
    assert nodes.camera.main.has_own_pictures
    assert (packet.is_keyframe, packet.data, nodes.camera.viewers) == (True, b"own", {"webrtc": 1})
    await eventually(lambda: nodes.owner.camera("door").viewers == {}, "the relay has ended")
    nodes.is_own = False
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs() == 2, "the owner captures the camera again")
    assert not nodes.engine("here").closed
    nodes.engine().send(key=True, data=b"relayed again")
    assert (await next_of(queue)).data == b"relayed again"
    await eventually(lambda: nodes.engine("here").closed, "its own capture has ended")
    await eventually(lambda: nodes.owner.camera("door").viewers == {"relay": 1}, "it relays again")


async def test_a_hand_over_loses_no_picture(nodes: TwoNodes) -> None:
    """Both nodes capture the camera for a moment, and get the same pictures at other times."""
    queue = await live(nodes)
    number = 0

    def both(*engines: ScriptedEngine, key: bool = False) -> None:
        nonlocal number
        number += 1
        for engine in engines:
            engine.send(key=key, data=b"%d" % number)

    both(nodes.engine())
    nodes.is_own = True
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs("here") == 1, "the node captures the camera")
    both(nodes.engine())
    both(nodes.engine("here"), nodes.engine(), key=True)
    await eventually(lambda: nodes.camera.main.has_own_pictures, "its own pictures are shown")
    for _ in range(3):
        both(nodes.engine("here"))
    packets = [await next_of(queue) for _ in range(number)]
    assert [int(packet.data) for packet in packets] == list(range(1, number + 1))
    assert len({packet.run for packet in packets}) == 1
    assert all(before.dts_90k < after.dts_90k for before, after in pairwise(packets))
    assert nodes.camera.main.session.reconnects == 0


async def test_a_hand_over_that_is_called_off_or_fails_changes_nothing_for_viewers(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_runs, "AGAIN_S", 0.0)
    queue = await live(nodes)
    nodes.is_own = True
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs("here") == 1, "the node captures the camera")
    nodes.engine("here").fail()
    await eventually(lambda: nodes.runs("here") == 2, "it is tried again")
    nodes.is_own = False
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.engine("here").closed, "its capture has ended")
    nodes.engine().send(data=b"still relayed")
    packet = await next_of(queue)
    assert (packet.data, packet.run, nodes.runs()) == (b"still relayed", 1, 1)
    # Where the present run ends first, the next one is there.
    nodes.is_own = True
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs("here") == 3, "the node captures the camera again")
    nodes.engine("here").send(key=True, data=b"own")
    await eventually(
        lambda: nodes.camera.main.runs._next and nodes.camera.main.runs._next.splice.has_keyframe, "it has"
    )
    nodes.engine().fail()
    assert (await next_of(queue)).data == b"own"
    await eventually(lambda: nodes.camera.main.has_own_pictures, "its own pictures are shown")


async def test_a_stream_goes_on_for_a_while_when_its_node_does_not_own_the_camera_any_more(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await live(nodes)
    nodes.owner_id = None
    nodes.engine().send(data=b"of the next owner")
    assert (await next_of(queue)).data == b"of the next owner"
    assert nodes.counters.streams == 1
    monkeypatch.setattr(relay_sender, "HANDED_OVER_S", 0.0)
    await eventually(lambda: nodes.counters.streams == 0, "it has ended")
    await nodes.counters.all_left(20)


async def test_the_camera_is_stopped_where_another_node_takes_it_and_nobody_watches(nodes: TwoNodes) -> None:
    nodes.is_own = True
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs("here") == 1, "start = always")
    nodes.is_own = False
    await nodes.camera.owner_changed()
    assert nodes.camera.session.state is SessionState.STOPPED
    assert nodes.runs() == 0


async def test_viewers_wait_while_nobody_captures_the_camera(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_sender, "HANDED_OVER_S", 0.0)
    queue = await live(nodes)
    nodes.owner_id = None
    nodes.engine().send()  # the owner finds that it is none any more
    await eventually(
        lambda: nodes.camera.status().error_message == "no node of the cluster captures it at present",
        "the status says so",
    )
    nodes.owner_id = "owner"
    await nodes.camera.owner_changed()
    await eventually(lambda: nodes.runs() == 2, "the owner captures the camera again")
    nodes.engine().send(key=True)
    await eventually(lambda: nodes.camera.session.state is SessionState.LIVE, "it is live again")
    while not (packet := await next_of(queue)).is_keyframe:
        pass
    assert (packet.run > 1, nodes.camera.viewers) == (True, {"webrtc": 1})


async def test_a_run_from_the_owner_goes_on_while_no_other_node_is_known_to_own_the_camera(nodes: TwoNodes) -> None:
    """The owner may have lost the database alone: its lease has expired, and it goes on."""
    queue = await live(nodes)
    relay = nodes.owner_id
    nodes.owner_id = None
    await nodes.camera.owner_changed()
    nodes.owner_id = relay
    nodes.engine().send()
    assert (await next_of(queue)).run == 1


async def test_a_node_that_reads_slowly_gets_whole_gops_and_what_it_lacks_is_counted(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_sender, "QUEUE_MAX_PACKETS", 20)
    queue = await live(nodes)
    hub = nodes.owner.camera("door").hub
    nodes.is_read.clear()
    for number in range(100):
        nodes.engine().send(key=number % 10 == 0)
        while hub.packets_published < number + 2:
            await asyncio.sleep(0)
    nodes.is_read.set()
    nodes.engine().send(key=True)
    last = 100 * 3000 + 3000
    got: list[Packet] = []
    while not got or got[-1].dts_90k < last:
        got.append(await next_of(queue))
    assert nodes.counters.dropped > 50
    for before, after in pairwise(got):
        assert after.dts_90k == before.dts_90k + 3000 or after.is_keyframe
