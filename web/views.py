"""How things look in JSON: one function a resource."""

from typing import Any

from aiohttp import web

from gateway.camera import Camera
from gateway.status import CaptureStatus
from web import keys


def camera_view(app: web.Application, camera: Camera) -> dict[str, Any]:
    """A camera with its state, viewers and live edge, as ``GET /api/cameras/{camera}`` shows it."""
    view = status_view(camera.status())
    view["record"] = camera.settings.record.value
    view["start"] = camera.settings.start.value
    view["live_edge"] = app[keys.HOUSE].live_edge(camera.id)
    return view


def status_view(status: CaptureStatus) -> dict[str, Any]:
    """What is known of the capture. Times are RFC 3339 UTC, rates are measured."""
    return {
        "camera_id": status.camera_id,
        "state": status.state.value,
        "is_active": status.is_active,
        "rtsp_url": status.rtsp_url,
        "error_message": status.error_message,
        "clients": status.clients,
        "viewers": dict(status.viewers),
        "codec": status.codec,
        "width": status.width,
        "height": status.height,
        "audio_codec": status.audio_codec,
        "fps": status.fps,
        "bitrate_bps": status.bitrate_bps,
        "keyframe_age_s": status.keyframe_age_s,
        "keyframe_interval_s": status.keyframe_interval_s,
        "reconnects": status.reconnects,
        "packets_dropped": status.packets_dropped,
    }
