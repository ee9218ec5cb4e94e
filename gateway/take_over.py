"""TakeOver: where the runs of one stream come from, and the change to another owner.

Rules:

1. What another node of a cluster captures is relayed from there. A run of a node whose lease has expired goes on until
   another node owns the camera.
2. Where another node owns the camera now, its run begins beside the present one and takes over from it
   (:meth:`gateway.capture_runs.CaptureRuns.take_over`). The present one ends where that fails.
"""

import asyncio
import logging
from collections.abc import Callable

from gateway.capture.engine import AsyncCaptureEngine, CaptureEngine, CaptureSource, EngineFactory
from gateway.capture_runs import CaptureRuns
from gateway.clock import Clock
from gateway.errors import CameraEndedError
from gateway.relay import Relay

log = logging.getLogger(__name__)

TAKE_OVER_MAX_S = 10.0
"""How long the next run may take until it has pictures, while viewers get those of the present one. As long as a
hand-over: :data:`gateway.cluster.coordinator.HAND_OVER_MAX_S`."""

OWN_RUN_MAX_S = 5.0
"""The same, where the present run is a connection to the camera that another node wants: there are cameras that permit
one alone."""

_TAKEN_OVER = CameraEndedError("another node of the cluster captures the camera now")


class TakeOver:
    """See the module. Lives on the event loop.

    ``relay`` returns how the packets come from the owner, ``None`` where that is this process. ``camera_engine``
    returns the factory of the engine that pulls the camera itself. ``label`` names the stream in messages.
    """

    def __init__(
        self,
        camera_id: str,
        label: str,
        runs: CaptureRuns,
        relay: Callable[[], Relay | None],
        source_of_run: Callable[[int], CaptureSource],
        camera_engine: Callable[[], EngineFactory],
    ) -> None:
        self._camera_id = camera_id
        self._label = label
        self._runs = runs
        self._relay = relay
        self._source_of_run = source_of_run
        self._camera_engine = camera_engine
        self._run_relay: Relay | None = None
        """Where the packets of the present run come from; ``None``: the camera itself."""
        self._taking_over: asyncio.Task[None] | None = None

    @property
    def is_of_camera(self) -> bool:
        """Whether the packets of the present run come from the camera itself, and not from another node."""
        return self._run_relay is None

    def next_engine(self) -> EngineFactory:
        """The engines of the next run."""
        relay = self._run_relay = self._relay()
        return relay.engine if relay is not None else self._camera_engine()

    def owner_changed(self, *, is_live: bool) -> None:
        """Another node owns the camera now, or this one does, or does no more (rule 2)."""
        self.cancel()
        if not self._runs.is_running or self._is_of_owner():
            return
        if is_live:
            self._taking_over = asyncio.create_task(self._take_over(), name=f"capture-{self._camera_id}-next")
        else:
            self._runs.end(_TAKEN_OVER)

    def cancel(self) -> None:
        """Leave the present run as it is."""
        if self._taking_over is not None:
            self._taking_over.cancel()
            self._taking_over = None

    async def _take_over(self) -> None:
        relay: Relay | None = None

        def engine(source: CaptureSource, clock: Clock) -> CaptureEngine | AsyncCaptureEngine:
            nonlocal relay
            relay = self._relay()
            return (relay.engine if relay is not None else self._camera_engine())(source, clock)

        limit_s = OWN_RUN_MAX_S if self._run_relay is None else TAKE_OVER_MAX_S
        if await self._runs.take_over(self._source_of_run, engine, limit_s):
            self._run_relay = relay
            log.info("camera %s: goes on from %s", self._label, "the camera" if relay is None else "another node")
        elif not self._is_of_owner():
            self._runs.end(_TAKEN_OVER)

    def _is_of_owner(self) -> bool:
        """Whether the present run goes on (rule 1)."""
        present, wanted = self._run_relay, self._relay()
        if present is None or wanted is None:
            return present is wanted
        return wanted.node_id in (None, present.node_id)
