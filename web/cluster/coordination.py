"""Coordination: does what the coordinator of this node decides, and asks the database what it wants to know.

Rules:

1. Requests to the database run in two threads (:mod:`web.cluster.database_thread`): renewals of the lease wait for
   nothing else, and claims not for the index. A request that has waited too long is not made any more.
2. An unexpected exception is logged at once, told as a problem, and does not end the task (:mod:`web.cluster.faults`).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from gateway.cluster.actions import Action, Own, Prepare, Renew, Request, Yield
from gateway.cluster.coordinator import Coordinator
from gateway.cluster.model import REQUEST_MAX_S
from gateway.cluster.store import ask
from gateway.errors import LiveedgeError, StorageError
from web.cluster.database_thread import DatabaseThread
from web.cluster.faults import Faults

log = logging.getLogger(__name__)

DRAIN_MAX_S = 30.0
"""How long the end of the process waits for hand-overs. Each takes a GOP of the camera, two begin in a second."""

LEAVE_MAX_S = 2.0


class Coordination:
    """See the module. Lives on the event loop."""

    def __init__(
        self, coordinator: Coordinator, lease_thread: DatabaseThread, claim_thread: DatabaseThread, faults: Faults
    ) -> None:
        self.coordinator = coordinator
        self.has_pictures: Callable[[str], bool] = lambda _: True
        """Whether a camera that is prepared can be seen, or needs not be."""
        self.has_news: Callable[[], bool] = lambda: False
        """Whether another node may have changed something since the last renewal. Asked before each step."""
        self.on_captured: Callable[[str], None] = lambda _: None
        """Called with each camera that this node begins or ends to capture."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called after each answer of the database."""
        self.captured: set[str] = set()
        self.requests_failed = 0
        self.error: str | None = None
        """Why the database does not answer; ``None`` while it does."""
        self.takeovers = 0
        """Cameras that this node began to own."""
        self.handovers = 0
        """Of them, those that it captured before, because their owner handed them over."""
        self._lease_thread = lease_thread
        self._claim_thread = claim_thread
        self._faults = faults
        self._wake = asyncio.Event()
        self._stepped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to take cameras."""
        self._task = asyncio.create_task(self._run(), name="cluster")

    def wake(self) -> None:
        """Step now."""
        self._wake.set()

    async def drain(self) -> None:
        """Hand all cameras over, and take none. Returns when that is done, after :data:`DRAIN_MAX_S` at most."""
        self.coordinator.drain()
        self._wake.set()
        try:
            async with asyncio.timeout(DRAIN_MAX_S):
                while not self.coordinator.is_drained and self._can_hand_over():
                    await self._stepped.wait()
                    self._stepped.clear()
        except TimeoutError:
            log.warning("cluster: %d cameras were not handed over in time", len(self.coordinator.owned))

    def _can_hand_over(self) -> bool:
        """Whether there is anybody, as far as this node knows."""
        others = [node for node in self.coordinator.view.nodes.values() if node.id != self.coordinator.node.id]
        return not self.coordinator.is_provisional(time.monotonic()) and any(not node.is_draining for node in others)

    async def leave(self) -> None:
        """End the ownership of all cameras: the others may take them at once."""
        task, self._task = self._task, None
        if task is None:
            return
        tasks = [task, *self._asking]
        for each in tasks:
            each.cancel()
        await asyncio.wait(tasks)
        try:
            async with asyncio.timeout(LEAVE_MAX_S):
                await self._lease_thread.call(self._lease_thread.store.leave, self.coordinator.node.id)
        except (TimeoutError, LiveedgeError) as error:
            log.warning("cluster: the other nodes wait until the lease has expired: %s", error or "no answer")

    async def _run(self) -> None:
        while True:
            for action in self._step():
                try:
                    self._do(action)
                except Exception as error:
                    self._faults.add("what the coordinator decided could not be done", error)
            self._stepped.set()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.coordinator.wait_s):
                    await self._wake.wait()

    def _step(self) -> list[Action]:
        try:
            if self.has_news():
                self.coordinator.news()
            for camera_id in self.captured - self.coordinator.owned.keys():
                if self.has_pictures(camera_id):
                    self.coordinator.prepared(camera_id)
            return self.coordinator.step(time.monotonic())
        except Exception as error:
            self._faults.add("it could not be decided which cameras to capture", error)
            # The lease is renewed nevertheless, and so the node learns which cameras it does not own any more.
            return self.coordinator.take()

    def _do(self, action: Action) -> None:
        match action:
            case Prepare():
                log.info("camera %s: another node hands it over to this one", action.camera_id)
                self._capture(action.camera_id, is_captured=True)
            case Own():
                log.info("camera %s: owned by this node, epoch %d", action.camera_id, action.epoch)
                self.takeovers += 1
                self.handovers += action.camera_id in self.captured
                self._capture(action.camera_id, is_captured=True)
            case Yield():
                log.info("camera %s: no longer captured by this node: %s", action.camera_id, action.reason)
                self._capture(action.camera_id, is_captured=False)
            case _:
                self._ask(action)

    def _capture(self, camera_id: str, *, is_captured: bool) -> None:
        if is_captured:
            self.captured.add(camera_id)
        else:
            self.captured.discard(camera_id)
        self.on_captured(camera_id)

    def _ask(self, request: Request) -> None:
        asked = asyncio.create_task(self._answer(request, time.monotonic()), name="cluster-request")
        self._asking.add(asked)
        asked.add_done_callback(self._asking.discard)

    async def _answer(self, request: Request, asked_s: float) -> None:
        thread = self._lease_thread if isinstance(request, Renew) else self._claim_thread

        def answer() -> Any:
            if time.monotonic() - asked_s > REQUEST_MAX_S:  # rule 1
                raise StorageError("the request has waited too long")
            return ask(thread.store, request)

        try:
            self.coordinator.answered(request.number, await thread.call(answer), time.monotonic())
        except LiveedgeError as error:
            self.coordinator.failed(request.number)
            self.requests_failed += 1
            if self.error is None:
                log.warning("cluster: %s; what this node captures goes on", error)
            self.error = str(error)
        except Exception as error:
            self.coordinator.failed(request.number)
            self._faults.add("an answer of the database could not be used", error)
        else:
            if self.error is not None:
                log.info("cluster: the database answers again")
            self.error = None
            self.on_answer()
        self._wake.set()
