"""CameraLinks: what a rendition needs of its camera."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.capture.engine import CheckAddress
from gateway.media import Metadata
from gateway.relay import Relay


@dataclass(frozen=True, slots=True)
class CameraLinks:
    """What a rendition needs of its camera. All functions are called on the event loop and must not block.

    ``is_commanded`` tells whether a client has commanded the capture. ``relay`` returns how
    its packets come from another node, or ``None``. ``on_change`` is called on each change of the
    state or the stream. ``check_address`` and ``check_referred`` are called at the beginning of each run, and return
    the checks of :class:`~gateway.capture.engine.CaptureSource`, whose ``on_keyframe_wanted`` is passed on.
    ``metadata_sink`` returns the one for the next run.
    """

    is_commanded: Callable[[], bool]
    relay: Callable[[], Relay | None]
    on_change: Callable[[], None]
    check_address: Callable[[], CheckAddress | None]
    check_referred: Callable[[], CheckAddress | None]
    on_keyframe_wanted: Callable[[float | None], None]
    metadata_sink: Callable[[], Callable[[Metadata], None] | None]
