"""The status of one stream of a camera, gathered from what captures and measures it."""

from gateway.capture_runs import CaptureRuns
from gateway.clock import CLOCK_RATE, Clock, to_rfc3339
from gateway.hub import PacketHub
from gateway.session import CaptureSession, SessionState
from gateway.status import StreamStatus
from gateway.stream_meter import StreamMeter


def stream_status(
    session: CaptureSession,
    runs: CaptureRuns,
    hub: PacketHub,
    meter: StreamMeter,
    clock: Clock,
    *,
    viewers: dict[str, int],
    error_message: str | None,
    error_code: str | None,
    last_keyframe_s: float | None,
) -> StreamStatus:
    """The stream now. ``last_keyframe_s`` is monotonic seconds."""
    info, now = hub.info, clock.monotonic()
    is_live, since_s = session.state is SessionState.LIVE, session.down_since_s
    return StreamStatus(
        state=session.state,
        is_active=session.is_active,
        rtsp_url=session.rtsp_url,
        error_message=error_message,
        error_code=error_code,
        down_since=to_rfc3339(clock.wall_90k() - round((now - since_s) * CLOCK_RATE)) if since_s is not None else None,
        viewers=viewers,
        codec=info.video.codec if info else None,
        width=info.video.width if info else None,
        height=info.video.height if info else None,
        audio_codec=info.audio.codec if info and info.audio else None,
        fps=meter.fps if is_live else None,
        bitrate_bps=meter.bitrate_bps if is_live else None,
        keyframe_age_s=round(now - last_keyframe_s, 3) if last_keyframe_s is not None else None,
        keyframe_interval_s=meter.keyframe_interval_s,
        reconnects=session.reconnects,
        packets_dropped=runs.handover_dropped + hub.packets_dropped,
    )
