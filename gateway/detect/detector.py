"""Detector: the port for code that finds things in pictures.

Rules:

1. A detector is one object a camera. It gets pictures in their order, one at a time, each in a thread of low priority,
   and may be slow: pictures that come meanwhile are left out.
2. What it raises is logged, and counts as nothing found. The next picture is given to it nevertheless.
3. What it finds becomes an event, which goes on while the same label is found. See :mod:`hls.events.detection`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import av

Zone = tuple[float, float, float, float]
"""Left, top, width and height, as shares of the picture."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """The camera, and its settings ``detector_sensitivity`` (from 0 to 1) and ``detector_zones``; none: all of it."""

    camera_id: str
    sensitivity: float = 0.5
    zones: tuple[Zone, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """Something in a picture. ``label`` is that of the event, ``score`` how sure it is, from 0 to 1.

    ``data`` is JSON for the event, such as ``{"box": [left, top, width, height]}``; 8 KiB at most.
    """

    label: str
    score: float
    data: Mapping[str, Any] = field(default_factory=dict)


class Detector(Protocol):
    """See the module. It is made with :class:`DetectorOptions`, in the same thread."""

    def detect(self, frame: av.VideoFrame) -> Sequence[Detection]:
        """What is in a picture of the camera, which is a keyframe of its smallest stream."""
        ...


DetectorFactory = Callable[[DetectorOptions], Detector]
