"""Awaited: keeps a camera captured for players that ask again and again whether it is live.

A camera that is captured only while it has viewers would stay down for players that do not ask for its media before it
is live. Each question keeps all its streams captured for :data:`AWAITED_S`. No attempt is made before one is due: see
rule 2 of :mod:`gateway.rendition`.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from gateway.camera_settings import RenditionName
from gateway.hold import Hold
from gateway.rendition import Rendition

AWAITED_S = 5.0
"""Longer than between two questions of a player, also over a slow network."""


class _HasRenditions(Protocol):
    @property
    def renditions(self) -> Mapping[RenditionName, Rendition]: ...


class Awaited:
    """See the module. One of a camera; lives on the event loop."""

    def __init__(self, camera: _HasRenditions) -> None:
        self._camera = camera
        self._holds: dict[Rendition, Hold[Rendition]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """A player waits for the camera."""
        for rendition in self._camera.renditions.values():
            if rendition not in self._holds:
                self._holds[rendition] = rendition.hold("")
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(AWAITED_S, self.end)

    def end(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        holds, self._holds = self._holds, {}
        for hold in holds.values():
            hold.release()
