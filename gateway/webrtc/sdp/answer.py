"""Writes the SDP answer to an offer (RFC 8866, 8829, 9429).

The text is written here and not by aiortc, since it is short: each media section has one codec (video: one or two),
send-only, or is declined. Where the viewer may talk, the section has the codec of the voice first, since a client sends
the first one (RFC 3264 §6.1), and then that of the camera's sound. All of our candidates are in it, so that none have
to be trickled.

Two kinds of sections carry nothing. A section that is not needed, and is bundled with one that is, is *idle*: it keeps
a port and its place in the BUNDLE group. Audio and video are inactive; data channels are accepted, and nothing is sent
on them. If it were rejected, and it is the tagged one (the first of the group), the transport would move to another
section (RFC 9143 §7.3), which webrtcbin cannot follow; and aiortc with max-bundle connects with the candidates of the
last section. Any other section is *rejected* with port zero, also one that would have a transport of its own. Both have
one format with its rtpmap (data channels: the SCTP port), and the transport's attributes. RFC 3264 §6 asks for less,
but Pion, aiortc, werift and webrtcbin cannot use an answer without them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.webrtc.sdp.negotiation import NegotiatedMedia, NegotiatedSession
from gateway.webrtc.sdp.offer import OfferedSection


@dataclass(slots=True, frozen=True)
class LocalDescription:
    """Our side of the answer. ``candidates`` are the values of ``a=candidate`` lines."""

    session_id: int
    stream_name: str
    credentials: tuple[tuple[str, str], ...]
    """User fragment and password of each transport, the video's first."""
    fingerprint: tuple[str, str]
    candidates: tuple[str, ...]
    video_ssrc: int = 0
    rtx_ssrc: int = 0
    audio_ssrc: int = 0
    """What is sent, if anything is."""

    def ssrcs(self, kind: str, *, with_rtx: bool) -> list[str]:
        """The lines that name the SSRCs of a section (RFC 5576)."""
        ssrcs = [self.video_ssrc if kind == "video" else self.audio_ssrc]
        lines = []
        # Chromium takes the first SSRC for the media, whatever the ssrc-group says.
        if with_rtx:
            ssrcs.append(self.rtx_ssrc)
            lines.append(f"a=ssrc-group:FID {ssrcs[0]} {self.rtx_ssrc}")
        return lines + [f"a=ssrc:{item} cname:{self.stream_name}" for item in ssrcs]


SCTP_PORT = 5000
MAX_MESSAGE_SIZE = 65_536
"""In bytes: what an answer without the line would mean (RFC 8841 §6.1)."""

ICE_OPTIONS = "a=ice-options:trickle ice2"
"""Candidates may be trickled to the gateway (RFC 8840), and it nominates nothing itself (RFC 8445 §10)."""


def write_answer(negotiated: NegotiatedSession, local: LocalDescription) -> str:
    """The text of the answer."""
    accepted = {media.index: media for media in negotiated.accepted}
    transports = [
        transport_lines(local, "active" if transport.dtls_role == "client" else "passive", place)
        for place, transport in enumerate(negotiated.transports)
    ]
    lines = session_lines(local, *(transport.bundle for transport in negotiated.transports))
    voice = negotiated.voice
    for index, section in enumerate(negotiated.sections):
        media, place = accepted.get(index), negotiated.place_of(index)
        if place is None:
            lines += unused_lines(section, 0, transports[0])
        elif voice is not None and voice.index == index:
            lines += _voice_lines(section, voice, media, transports[place], local)
        elif media is None:
            lines += [*unused_lines(section, 9, transports[place]), *candidate_lines(local)]
        else:
            formats = tuple(negotiated.video_formats.values()) if media is negotiated.video else (media,)
            lines += _accepted_lines(section, formats, transports[place], local)
            with_rtx = any(each.rtx_payload_type is not None for each in formats)
            lines += local.ssrcs(section.kind, with_rtx=with_rtx)
    return "\r\n".join(lines) + "\r\n"


def session_lines(local: LocalDescription, *bundles: Sequence[str]) -> list[str]:
    """The lines before the first media section, with the BUNDLE groups that are not empty."""
    lines = ["v=0", f"o=- {local.session_id} 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {' '.join(bundle)}" for bundle in bundles if bundle]
    return [*lines, "a=ice-lite", f"a=msid-semantic:WMS {local.stream_name}"]


def transport_lines(local: LocalDescription, setup: str, place: int = 0) -> list[str]:
    """The ICE and DTLS attributes of a media section. ``place``: of which transport.

    ``rtcp-mux-only`` is there because the WHEP draft requires it.
    """
    username, password = local.credentials[place]
    return [
        f"a=ice-ufrag:{username}",
        f"a=ice-pwd:{password}",
        ICE_OPTIONS,
        f"a=fingerprint:{local.fingerprint[0]} {local.fingerprint[1]}",
        f"a=setup:{setup}",
        "a=rtcp-mux",
        "a=rtcp-mux-only",
    ]


def candidate_lines(local: LocalDescription) -> list[str]:
    """All candidates."""
    return [*(f"a=candidate:{candidate}" for candidate in local.candidates), "a=end-of-candidates"]


def unused_lines(section: OfferedSection, port: int, transport: list[str]) -> list[str]:
    """An idle or rejected section; see the module."""
    payload, formats = " ".join(section.formats), []
    if section.codecs:
        codec = section.codecs[0]
        payload, formats = str(codec.payload_type), [f"a=rtpmap:{codec.rtpmap}"]
        parameters = ";".join(name if value is None else f"{name}={value}" for name, value in codec.parameters.items())
        if parameters:
            formats.append(f"a=fmtp:{codec.payload_type} {parameters}")
    mid = [f"a=mid:{section.mid}"] if section.mid else []
    head = f"m={section.kind} {port} {section.protocol} {payload}"
    if section.is_data_channel:
        return [head, "c=IN IP4 0.0.0.0", *mid, *transport, *_sctp_lines(section)]
    return [head, "c=IN IP4 0.0.0.0", *mid, "a=inactive", *transport, *formats]


def _sctp_lines(section: OfferedSection) -> list[str]:
    """The SCTP port: RFC 8841, or a draft of it, whose format is the port."""
    port = section.formats[0]
    if port.isdigit():
        return [f"a=sctpmap:{port} webrtc-datachannel 1"]
    return [f"a=sctp-port:{SCTP_PORT}", f"a=max-message-size:{MAX_MESSAGE_SIZE}"]


def _voice_lines(
    section: OfferedSection,
    voice: NegotiatedMedia,
    sound: NegotiatedMedia | None,
    transport: list[str],
    local: LocalDescription,
) -> list[str]:
    """A section in which the viewer talks. ``sound`` is what it gets in it."""
    if sound is None:
        lines = _accepted_lines(section, (voice,), transport, local, "recvonly")
        return [line for line in lines if not line.startswith("a=msid:")]
    is_same = sound.payload_type == voice.payload_type
    formats = (sound,) if is_same else (voice, sound)
    lines = _accepted_lines(section, formats, transport, local, "sendrecv", sound.extensions)
    return lines + local.ssrcs("audio", with_rtx=False)


def _accepted_lines(
    section: OfferedSection,
    formats: Sequence[NegotiatedMedia],
    transport: list[str],
    local: LocalDescription,
    direction: str = "sendonly",
    extensions: Mapping[str, int] | None = None,
) -> list[str]:
    """``formats`` are those that may be sent, the present one first."""
    media = formats[0]
    numbers = [number for each in formats for number in (each.payload_type, each.rtx_payload_type)]
    lines = [
        f"m={section.kind} 9 {section.protocol} {' '.join(str(each) for each in numbers if each is not None)}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *transport,
    ]
    if media.mid:
        lines.append(f"a=mid:{media.mid}")
    for uri, identifier in (media.extensions if extensions is None else extensions).items():
        lines.append(f"a=extmap:{identifier}{'/sendonly' * (uri in media.sendonly_extensions)} {uri}")
    lines += [f"a={direction}", f"a=msid:{local.stream_name} {section.kind}"]
    for each in formats:
        lines += _format_lines(each)
    return lines + candidate_lines(local)


def _format_lines(media: NegotiatedMedia) -> list[str]:
    lines = [f"a=rtpmap:{media.rtpmap}"]
    lines += [f"a=rtcp-fb:{media.payload_type} {item}" for item in media.feedback]
    if media.format_parameters:
        lines.append(f"a=fmtp:{media.payload_type} {media.format_parameters}")
    if media.rtx_payload_type is not None:
        lines.append(f"a=rtpmap:{media.rtx_payload_type} rtx/90000")
        lines.append(f"a=fmtp:{media.rtx_payload_type} apt={media.payload_type}")
    return lines
