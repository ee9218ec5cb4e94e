"""The RTP header of a negotiated track: its payload type, and the header extensions of all of its packets."""

from gateway.webrtc.rtp.packets import HEADER_EXTENSIONS_MAX_BYTES, PacketTemplate, header_extensions, packet_template
from gateway.webrtc.sdp.negotiation import MID, PLAYOUT_DELAY, TRANSPORT_CC, NegotiatedMedia

_MID_MAX_BYTES = 16
"""What a head of one byte can say (RFC 8285 §4.2)."""

PLAYOUT_AT_ONCE = bytes(3)
"""Minimum and maximum playout delay of zero: show each picture as soon as it is decoded."""


def track_template(
    track: NegotiatedMedia, payload_type: int, auth_tag_bytes: int, *, has_log: bool = True
) -> PacketTemplate:
    """The template of a track's packets. Without ``has_log`` they have no transport-wide sequence numbers."""
    values: dict[int, bytes] = {}
    has_sequence = has_log and TRANSPORT_CC in track.extensions
    if has_sequence:
        # The first one: the fan-out writes it for each packet.
        values[track.extensions[TRANSPORT_CC]] = bytes(2)
    if PLAYOUT_DELAY in track.extensions:
        values[track.extensions[PLAYOUT_DELAY]] = PLAYOUT_AT_ONCE
    block, mid = header_extensions(values), track.mid.encode()
    if MID in track.extensions and 1 <= len(mid) <= _MID_MAX_BYTES:
        # Without it, the SSRCs of the answer name the section, too.
        with_mid = header_extensions(values | {track.extensions[MID]: mid})
        block = with_mid if len(with_mid) <= HEADER_EXTENSIONS_MAX_BYTES else block
    return packet_template(payload_type, block, auth_tag_bytes, has_transport_sequence=has_sequence)
