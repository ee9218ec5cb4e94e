"""The statistics of one viewer, gathered from what sends to it and chooses for it."""

from collections.abc import Sequence

from gateway.webrtc.media_transport import MediaTransport
from gateway.webrtc.rendition_switch import RenditionSwitch
from gateway.webrtc.rtp.rtcp import RemoteInboundStats
from gateway.webrtc.session import MediaSession
from gateway.webrtc.stats import ViewerState, ViewerStats


def viewer_stats(
    *,
    viewer_id: str,
    camera_id: str,
    state: ViewerState,
    client_address: str,
    transports: Sequence[MediaTransport],
    session: MediaSession | None,
    rendition: RenditionSwitch | None,
    srtp_rejected: int,
) -> ViewerStats:
    """``transports`` with that of its video first. ``session`` is ``None`` before it is connected."""
    path = transports[0].agent.transport
    video, remote_inbound = (
        (session.video, session.remote_inbound) if session is not None else (None, RemoteInboundStats())
    )
    return ViewerStats(
        viewer_id=viewer_id,
        camera_id=camera_id,
        state=state,
        client_address=client_address,
        transport=path.protocol if path else None,
        packets_sent=video.packets_sent if video else 0,
        bytes_sent=video.payload_bytes_sent if video else 0,
        frames_dropped=video.frames_dropped if video else 0,
        replays=video.replays if video else 0,
        retransmitted=video.retransmitter.sent if video else 0,
        retransmissions_refused=video.retransmitter.refused if video else 0,
        fraction_lost=remote_inbound.fraction_lost,
        packets_lost=remote_inbound.packets_lost,
        jitter_s=remote_inbound.jitter_s,
        round_trip_s=remote_inbound.round_trip_s,
        limits=session.bandwidth.limits if session else 0,
        audio_packets_dropped=session.audio.packets_dropped if session and session.audio else 0,
        srtp_rejected=srtp_rejected,
        dtls_dropped=sum(transport.agent.dtls_dropped for transport in transports),
        limit_bps=8 * session.bandwidth.limit_bytes_per_s if session and session.bandwidth.limit_bytes_per_s else None,
        estimate_bps=round(session.estimate_bps) if session and session.estimate_bps is not None else None,
        bandwidth_method=session.bandwidth.method if session else None,
        probe_bytes=video.probe_bytes if video else 0,
        sends_forgotten=session.bandwidth.sent.entries_dropped if session and session.bandwidth.sent else 0,
        degraded=session.bandwidth.reason if session is not None else None,
        rendition=rendition.current.name if rendition is not None else None,
        codec=rendition.codec if rendition is not None else None,
        transcoded=rendition is not None and rendition.is_transcoded,
        pinned=rendition is not None and rendition.request.pinned == rendition.current.name,
        rendition_reason=rendition.reason if rendition is not None else None,
        rendition_switches=rendition.switches if rendition is not None else 0,
    )
