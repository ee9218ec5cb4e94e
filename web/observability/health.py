"""What is wrong in a gateway now, in sentences: ``problems`` of ``GET /api/status``.

Each component reports its own problems. A camera that is not captured, or that is connecting, is not a problem, unless
it is connected and its video cannot be used.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel

from gateway.camera_settings import RenditionName
from gateway.session import SessionState
from web.gateway import Gateway

LAG_MAX_S = 5.0
"""A disk that spins up takes as long. Packets are lost from about 20 s on."""


Component = Literal["settings", "capture", "archive", "clock", "messaging"]


class Problem(BaseModel):
    """One problem of one component; ``camera_id`` is ``null`` if it concerns no single camera."""

    component: Component
    camera_id: str | None
    message: str


Finding = tuple[Component, str | None, str]
"""Component, camera id, message."""


def problems(gateway: Gateway) -> list[Problem]:
    """Everything that is wrong now; empty while everything works."""
    return [
        Problem(component=component, camera_id=camera_id, message=message)
        for component, camera_id, message in _findings(gateway)
    ]


def _findings(gateway: Gateway) -> Iterator[Finding]:
    if gateway.reload_error is not None:
        yield ("settings", None, f"the changed settings are not applied: {gateway.reload_error}")
    for camera_id, why in gateway.camera_store.faults.items():
        yield ("settings", camera_id, f"the camera is left out: {why}")
    for camera in gateway.service.cameras.values():
        for name, rendition in camera.renditions.items():
            state = rendition.session.state
            is_stuck = state is SessionState.CONNECTING and rendition.runs.problem is not None
            if is_stuck or state in (SessionState.RETRYING, SessionState.FAILED):
                why = rendition.error_message or "it sends no video"
                what = "the camera" if name is RenditionName.MAIN else "the camera's sub stream"
                yield ("capture", camera.id, f"{what} is {state}: {why}")
    yield from _archive(gateway)
    messaging = gateway.messaging.status()
    if messaging.adapter != "none" and not messaging.connected:
        why = messaging.error or "no connection yet"
        yield ("messaging", None, f"the event service is not connected: {why}")


def _archive(gateway: Gateway) -> Iterator[Finding]:
    status = gateway.archive.status()
    for (camera_id, name), recorder in gateway.archive.streams():
        is_main = name is RenditionName.MAIN
        if recorder.error is not None and recorder.error != status.index_error:
            what = "the camera" if is_main else "the camera's sub stream"
            yield ("archive", camera_id, f"{what} is not recorded: {recorder.error}")
        elif recorder.lag_s > LAG_MAX_S:
            what = "the recording" if is_main else "the recording of the sub stream"
            late = f"{what} is {recorder.lag_s:.0f} s behind the camera"
            yield ("archive", camera_id, f"{late}: the disk of DATA_DIR is slow or hangs")
    if status.index_error is not None:
        yield ("archive", None, f"the index cannot be written, recording goes on: {status.index_error}")
    elif status.index_is_incomplete:
        why = "the index was damaged or missing and is being rebuilt from the recordings"
        yield ("archive", None, f"{why}: those that are not in it yet cannot be found")
    if status.clock is not None and status.clock.error is not None:
        yield ("clock", None, status.clock.error)
    if status.retention_error is not None:
        yield ("archive", None, f"old recordings cannot be deleted: {status.retention_error}")
