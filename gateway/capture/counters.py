"""CaptureCounters: what a capture counts while it repairs, skips and drops. All are totals that only grow.

Engines expose them (:attr:`gateway.capture.engine.CaptureEngine.counters`), a camera sums them over its runs
(:attr:`gateway.camera.Camera.counters`), and ``/metrics`` exports every field as ``liveedge_camera_<field>_total`` with
the help text of the field.
"""

from dataclasses import dataclass, field, fields


def _counter(help_text: str) -> int:
    return field(default=0, metadata={"help": help_text})


@dataclass(slots=True)
class CaptureCounters:
    """See the module. Each field is written by one thread of the engine; any thread may read."""

    packets_unreadable: int = _counter("Packets or frames of the camera that could not be read and were skipped")
    frames_dropped: int = _counter("Decoded frames that a newer one replaced before it was encoded (engine opencv)")
    frames_incomplete: int = _counter("Frames passed on before their last RTP packet (engine pyav)")
    rtp_packets_lost: int = _counter("RTP packets of the camera that did not arrive (engine rtsp)")
    rtp_packets_invalid: int = _counter("RTP packets of the camera that were not valid and were dropped (engine rtsp)")
    udp_datagrams_refused: int = _counter("Datagrams from another address than the camera's (engine rtsp)")
    rtsp_bytes_skipped: int = _counter("Bytes of the camera between RTSP messages that were not RTSP (engine rtsp)")
    frames_damaged: int = _counter("Frames dropped because a part of them was lost, or for their size (engine rtsp)")
    frames_dropped_after_loss: int = _counter("Frames dropped from a lost packet to the next keyframe (engine rtsp)")
    keyframes_requested: int = _counter("Requests for a keyframe that the camera was sent by RTCP (engine rtsp)")
    rtp_packets_requested: int = _counter("RTP packets of the camera that were asked for once more (published by WHIP)")
    metadata_documents_dropped: int = _counter(
        "Metadata documents of the camera that were incomplete, too large or not readable (engine rtsp)"
    )
    timestamps_repaired: int = _counter("Packets whose timestamp could not be used as the camera sent it")
    timestamp_jumps: int = _counter("Times that the timestamps of a track jumped")

    def add(self, other: "CaptureCounters") -> None:
        """Add another run's totals to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
