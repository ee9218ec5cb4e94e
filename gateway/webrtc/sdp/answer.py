"""Writes the SDP answer to an offer (RFC 8866, 8829, 9429).

The text is written here and not by aiortc, since it is short: each media section has one codec, send-only, or is
declined. All of our candidates are in it, so that none have to be trickled.
"""

from dataclasses import dataclass

from gateway.webrtc.sdp.negotiation import NegotiatedMedia, NegotiatedSession


@dataclass(slots=True, frozen=True)
class LocalDescription:
    """Our side of the answer. ``candidates`` are the values of ``a=candidate`` lines."""

    session_id: int
    stream_name: str
    username: str
    password: str
    fingerprint: tuple[str, str]
    candidates: tuple[str, ...]
    video_ssrc: int
    rtx_ssrc: int
    audio_ssrc: int


def write_answer(negotiated: NegotiatedSession, local: LocalDescription) -> str:
    """The text of the answer."""
    accepted = {media.index: media for media in (negotiated.video, negotiated.audio) if media is not None}
    bundle = [media.mid for _, media in sorted(accepted.items()) if media.mid]
    lines = ["v=0", f"o=- {local.session_id} 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite"]
    if bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
    lines.append(f"a=msid-semantic:WMS {local.stream_name}")
    for section, (kind, profile, formats) in enumerate(negotiated.sections):
        media = accepted.get(section)
        if media is None:
            lines += [f"m={kind} 0 {profile} {formats}", "c=IN IP4 0.0.0.0", "a=inactive"]
            if negotiated.mids[section]:
                lines.append(f"a=mid:{negotiated.mids[section]}")
            continue
        is_video = media is negotiated.video
        lines += _media_lines(kind, profile, media, negotiated, local)
        ssrc = local.video_ssrc if is_video else local.audio_ssrc
        # Chromium takes the first SSRC for the media, whatever the ssrc-group says.
        ssrcs = [ssrc]
        if media.rtx_payload_type is not None:
            ssrcs.append(local.rtx_ssrc)
            lines.append(f"a=ssrc-group:FID {ssrc} {local.rtx_ssrc}")
        lines += [f"a=ssrc:{item} cname:{local.stream_name}" for item in ssrcs]
    return "\r\n".join(lines) + "\r\n"


def _media_lines(
    kind: str, profile: str, media: NegotiatedMedia, negotiated: NegotiatedSession, local: LocalDescription
) -> list[str]:
    payload_types = [media.payload_type]
    if media.rtx_payload_type is not None:
        payload_types.append(media.rtx_payload_type)
    lines = [
        f"m={kind} 9 {profile} {' '.join(map(str, payload_types))}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{local.username}",
        f"a=ice-pwd:{local.password}",
        "a=ice-options:ice2",
        f"a=fingerprint:{local.fingerprint[0]} {local.fingerprint[1]}",
        f"a=setup:{'active' if negotiated.dtls_role == 'client' else 'passive'}",
    ]
    if media.mid:
        lines.append(f"a=mid:{media.mid}")
    lines += [f"a=extmap:{identifier} {uri}" for uri, identifier in media.extensions.items()]
    lines += ["a=sendonly", f"a=msid:{local.stream_name} {kind}", "a=rtcp-mux"]
    lines.append(f"a=rtpmap:{media.payload_type} {media.codec_line}")
    lines += [f"a=rtcp-fb:{media.payload_type} {item}" for item in media.feedback]
    if media.format_parameters:
        lines.append(f"a=fmtp:{media.payload_type} {media.format_parameters}")
    if media.rtx_payload_type is not None:
        lines.append(f"a=rtpmap:{media.rtx_payload_type} rtx/90000")
        lines.append(f"a=fmtp:{media.rtx_payload_type} apt={media.payload_type}")
    lines += [f"a=candidate:{candidate}" for candidate in local.candidates]
    lines.append("a=end-of-candidates")
    return lines
