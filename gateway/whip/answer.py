"""Writes the SDP answer to a publisher (RFC 9725 §4.2): what is taken is received only, the rest is declined.

Sections that are declined are written as in :mod:`gateway.webrtc.sdp.answer`.
"""

from collections.abc import Mapping
from typing import Protocol

from gateway.webrtc.sdp.answer import LocalDescription, candidate_lines, session_lines, transport_lines, unused_lines
from gateway.webrtc.sdp.negotiation import TRANSPORT_CC, NegotiatedTransport
from gateway.webrtc.sdp.offer import OfferedCodec, OfferedSection
from gateway.whip.negotiation import H264_LEVEL, ReceivedMedia


class ReceivedSession(Protocol):
    """What is taken of an offer: of a publisher, or of a talker."""

    @property
    def sections(self) -> tuple[OfferedSection, ...]: ...

    @property
    def transport(self) -> NegotiatedTransport: ...

    @property
    def accepted(self) -> Mapping[int, ReceivedMedia]: ...


def write_publisher_answer(negotiated: ReceivedSession, local: LocalDescription) -> str:
    """The text of the answer."""
    transport = transport_lines(local, "active" if negotiated.transport.dtls_role == "client" else "passive")
    lines = session_lines(local, negotiated.transport.bundle)
    accepted = negotiated.accepted
    for index, section in enumerate(negotiated.sections):
        media = accepted.get(index)
        if media is not None:
            lines += _received_lines(section, media, transport) + candidate_lines(local)
        elif section.mid in negotiated.transport.bundle:
            lines += [*unused_lines(section, 9, transport), *candidate_lines(local)]
        else:
            lines += unused_lines(section, 0, transport)
    return "\r\n".join(lines) + "\r\n"


def _received_lines(section: OfferedSection, media: ReceivedMedia, transport: list[str]) -> list[str]:
    codec = media.codec
    number = codec.payload_type
    numbers = [number] if media.rtx_payload_type is None else [number, media.rtx_payload_type]
    lines = [
        f"m={section.kind} 9 {section.protocol} {' '.join(map(str, numbers))}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *transport,
        *([f"a=mid:{section.mid}"] if section.mid else []),
    ]
    if media.transport_sequence is not None:
        lines.append(f"a=extmap:{media.transport_sequence} {TRANSPORT_CC}")
    lines += ["a=recvonly", f"a=rtpmap:{codec.rtpmap}"]
    lines += [f"a=rtcp-fb:{number} {item}" for item in media.feedback]
    if parameters := _parameters(codec):
        lines.append(f"a=fmtp:{number} {parameters}")
    if media.rtx_payload_type is not None:
        lines += [f"a=rtpmap:{media.rtx_payload_type} rtx/90000", f"a=fmtp:{media.rtx_payload_type} apt={number}"]
    return lines


def _parameters(codec: OfferedCodec) -> str:
    """What is received: the format as it is offered, and H.264 of any level where the offer allows another one."""
    parameters = {name: value for name, value in codec.parameters.items() if not name.startswith("sprop-")}
    level = parameters.get("profile-level-id") or ""
    if parameters.get("level-asymmetry-allowed") == "1" and len(level) == 6:
        parameters["profile-level-id"] = level[:4] + H264_LEVEL
    return ";".join(name if value is None else f"{name}={value}" for name, value in parameters.items())
