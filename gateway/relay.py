"""Relay: a camera that another node of a cluster captures, and how its packets come from there."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.camera_settings import RenditionName
from gateway.capture.engine import EngineFactory
from gateway.session import RetryPolicy


@dataclass(slots=True)
class Relay:
    """Where the packets of one run come from. ``engine`` makes its engine.

    ``node_id`` is the node that captures the camera, ``None`` where no node is known to. Where the stream comes from
    another one, because the camera is just handed over, the engine sets it to that.
    """

    node_id: str | None
    engine: EngineFactory


RelayOf = Callable[[str, RenditionName], Relay | None]
"""Returns the relay of a camera's stream; ``None`` where this process captures the camera itself."""

RELAY_POLICY = RetryPolicy(attempts=20, delay_s=0.5)
"""A new owner is there after 4 to 7 s, and is tried as soon as it is known. The others are tried so often because a
handed over camera has a new owner some time before this node knows."""
