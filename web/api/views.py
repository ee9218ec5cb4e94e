"""How things look in JSON: one function a resource."""

from dataclasses import asdict
from statistics import fmean
from typing import Any

from aiohttp import web

from gateway.camera import Camera
from gateway.status import CaptureStatus
from gateway.webrtc.stats import ViewerStats
from web.api import keys

DEGRADED_MAX = 16
"""Sentences about viewers in one answer; how many there are is a number."""


def camera_view(app: web.Application, camera: Camera) -> dict[str, Any]:
    """A camera with its state, viewers and live edge, as ``GET /api/cameras/{camera}`` shows it."""
    return {
        **status_view(camera.status()),
        "record": camera.settings.record.value,
        "start": camera.settings.start.value,
        "live_edge": app[keys.GATEWAY].live_edge(camera.id),
        "webrtc": webrtc_view([viewer.stats() for viewer in app[keys.WEBRTC].viewers_of(camera.id)]),
    }


def status_view(status: CaptureStatus) -> dict[str, Any]:
    """What is known of the capture. Times are RFC 3339 UTC, rates are measured."""
    view = asdict(status)
    del view["live_edge_90k"]
    view["state"] = status.state.value
    view["viewers"] = dict(status.viewers)
    return view


def webrtc_view(viewers: list[ViewerStats]) -> dict[str, Any]:
    """All WebRTC viewers of one camera together: sums, and means over those that have reported."""
    round_trips = [viewer.round_trip_s for viewer in viewers if viewer.round_trip_s is not None]
    return {
        "viewers": len(viewers),
        "packets_sent": sum(viewer.packets_sent for viewer in viewers),
        "bytes_sent": sum(viewer.bytes_sent for viewer in viewers),
        "frames_dropped": sum(viewer.frames_dropped for viewer in viewers),
        "packets_lost": sum(viewer.packets_lost for viewer in viewers),
        "retransmitted": sum(viewer.retransmitted for viewer in viewers),
        "limited": sum(viewer.limit_bps is not None for viewer in viewers),
        "degraded": [viewer.degraded for viewer in viewers if viewer.degraded is not None][:DEGRADED_MAX],
        "fraction_lost": round(fmean(viewer.fraction_lost for viewer in viewers), 4) if viewers else None,
        "jitter_s": round(fmean(viewer.jitter_s for viewer in viewers), 5) if viewers else None,
        "round_trip_s": round(fmean(round_trips), 5) if round_trips else None,
    }
