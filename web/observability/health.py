"""What is wrong in a gateway now, in sentences: ``problems`` of ``GET /api/status``.

Each component reports its own problems. A camera that is not captured, or that is connecting, is not a problem, unless
it is connected and its video cannot be used.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, Field

from gateway.camera_settings import RenditionName
from gateway.session import SessionState
from web.gateway import Gateway

CAMERA_DOWN = "camera_down"
"""The code of the problem of a camera that should send video and does not."""

NODE_AWAY = "cluster_node_away"
"""The code of the problem that each node of a cluster has while another one is away."""

LAG_MAX_S = 5.0
"""A disk that spins up takes as long. Packets are lost from about 20 s on."""


Component = Literal[
    "settings", "capture", "archive", "clock", "messaging", "onvif", "webhooks", "push", "mqtt", "detector", "cluster"
]


class Problem(BaseModel):
    """One problem of one component; ``camera_id`` is ``null`` if it concerns no single camera.

    A component has at most one problem of a code and a camera. Its message may change while it lasts.
    """

    component: Component
    code: str = Field(description="what is wrong; stable, for programs")
    camera_id: str | None
    message: str


Finding = tuple[Component, str, str | None, str]
"""Component, code, camera id, message."""


def problems(gateway: Gateway) -> list[Problem]:
    """Everything that is wrong now; empty while everything works."""
    return [
        Problem(component=component, code=code, camera_id=camera_id, message=message)
        for component, code, camera_id, message in _findings(gateway)
    ]


def _findings(gateway: Gateway) -> Iterator[Finding]:
    if gateway.reload_error is not None:
        yield ("settings", "settings_refused", None, f"the changed settings are not applied: {gateway.reload_error}")
    for camera_id, why in gateway.camera_store.faults.items():
        yield ("settings", "camera_left_out", camera_id, f"the camera is left out: {why}")
    for camera in gateway.service.cameras.values():
        for name, rendition in camera.renditions.items():
            state = rendition.session.state
            is_stuck = state is SessionState.CONNECTING and rendition.runs.problem is not None
            if is_stuck or state in (SessionState.RETRYING, SessionState.FAILED):
                why = rendition.error_message or "it sends no video"
                is_main = name is RenditionName.MAIN
                what = "the camera" if is_main else "the camera's sub stream"
                code = CAMERA_DOWN if is_main else "sub_stream_down"
                yield ("capture", code, camera.id, f"{what} is {state}: {why}")
    limit = gateway.service.transcode_limit
    for camera_id in limit.refused_cameras(gateway.clock.monotonic()):
        why = f"it is refused to viewers who need it: as many are as may be ({limit.maximum}, TRANSCODE_MAX)"
        yield ("capture", "transcode_limit", camera_id, f"the camera is not transcoded, {why}")
    for camera_id, forwards in gateway.forward.forwards.items():
        for each in forwards:
            if each.error is not None:
                why = f"the camera is not pushed to {each.target.name}: {each.error}"
                yield ("capture", "forward_failed", camera_id, why)
    for camera_id, detection in gateway.detections.cameras.items():
        if detection.error is not None:
            yield ("detector", "detector_failed", camera_id, detection.error)
    if gateway.cluster is not None and gateway.cluster.coordination.error is not None:
        why = "cameras that are captured here go on, and others are not taken over"
        yield ("cluster", "cluster_database_away", None, f"{gateway.cluster.coordination.error}: {why}")
    if gateway.cluster is not None and gateway.cluster.faults.message is not None:
        yield ("cluster", "cluster_fault", None, gateway.cluster.faults.message)
    if gateway.cluster is not None:
        if gateway.cluster.namesakes.message is not None:
            yield ("cluster", "cluster_name_taken", None, gateway.cluster.namesakes.message)
        for node in gateway.cluster.absent:
            if not node.has_left and gateway.cluster.has_own_cameras:  # of workers, their routing tells
                why = "it ended without leaving the cluster, and other nodes capture its cameras"
                yield ("cluster", NODE_AWAY, None, f"the node {node.name} is away: {why}")
    yield from _archive(gateway)
    for find in gateway.problem_sources:
        yield from find()
    messaging = gateway.messaging.status()
    own_name = gateway.cluster.coordinator.node.name if gateway.cluster is not None else None
    is_ours = messaging.node in (None, own_name)  # in a cluster, one node has the connection
    if messaging.adapter != "none" and not messaging.connected and is_ours:
        why = messaging.error or "no connection yet"
        yield ("messaging", "event_service_away", None, f"the event service is not connected: {why}")
    for camera_id in messaging.frames_blocked:
        why = "its smallest picture is larger than the event service accepts (maxHttpBufferSize there)"
        yield ("messaging", "frames_too_large", camera_id, f"no frames go to the event service: {why}")


def _archive(gateway: Gateway) -> Iterator[Finding]:
    status = gateway.archive.status(with_cameras=False)
    for (camera_id, name), recorder in gateway.archive.streams():
        is_main = name is RenditionName.MAIN
        if recorder.error is not None and recorder.error != status.index_error:
            what = "the camera" if is_main else "the camera's sub stream"
            code = "not_recorded" if is_main else "sub_not_recorded"
            yield ("archive", code, camera_id, f"{what} is not recorded: {recorder.error}")
        elif recorder.lag_s > LAG_MAX_S:
            what = "the recording" if is_main else "the recording of the sub stream"
            late = f"{what} is {recorder.lag_s:.0f} s behind the camera"
            code = "recording_late" if is_main else "sub_recording_late"
            yield ("archive", code, camera_id, f"{late}: the disk of DATA_DIR is slow or hangs")
    if status.index_error is not None:
        yield ("archive", "index_failed", None, f"the index cannot be written, recording goes on: {status.index_error}")
    elif status.index_is_incomplete:
        why = "the index was damaged or missing and is being rebuilt from the recordings"
        yield ("archive", "index_incomplete", None, f"{why}: those that are not in it yet cannot be found")
    if status.clock is not None and status.clock.error is not None:
        yield ("clock", "clock_untrusted", None, status.clock.error)
    if status.storage is not None and status.storage.error is not None:
        yield ("archive", "storage_failed", None, f"recordings are not uploaded: {status.storage.error}")
    if gateway.evidence.fault is not None:
        yield ("archive", "not_signed", None, f"finished recordings are not signed: {gateway.evidence.fault}")
    if status.retention_error is not None:
        yield ("archive", "retention_failed", None, f"old recordings cannot be deleted: {status.retention_error}")
