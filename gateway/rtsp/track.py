"""A track of an RTSP session: what SETUP and PLAY say of it, in Transport and RTP-Info (RFC 2326 §12.39, §12.33)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from gateway.rtsp.formats import AudioFormat, MetadataFormat, VideoFormat
from gateway.rtsp.sdp import Media


class TransportKind(StrEnum):
    """How RTP travels."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(slots=True)
class Track:
    """A track that the client wants, and what SETUP agreed on.

    ``format`` is what the caller makes of it. ``otherwise`` is set up in its place where the server refuses it.

    Over TCP ``channels`` are the interleaved channels of RTP and RTCP; over UDP ``server_ports`` are where receiver
    reports go, and ``source`` is the address that sends, where the server names one. ``first_sequence`` and
    ``first_timestamp`` come from RTP-Info.
    """

    media: Media
    is_required: bool = False
    format: VideoFormat | AudioFormat | MetadataFormat | None = None
    otherwise: "Track | None" = None
    channels: tuple[int, int] | None = None
    client_ports: tuple[int, int] | None = None
    server_ports: tuple[int, int] | None = None
    source: str | None = None
    ssrc: int | None = None
    refused: int | None = None
    first_sequence: int | None = None
    first_timestamp: int | None = None

    def offer(self, kind: TransportKind, number: int) -> str:
        """The Transport header of its SETUP, as the ``number``-th track. Over UDP it has ``client_ports``."""
        if kind is TransportKind.UDP:
            assert self.client_ports is not None
            return f"RTP/AVP;unicast;client_port={self.client_ports[0]}-{self.client_ports[1]}"
        return f"RTP/AVP/TCP;unicast;interleaved={2 * number}-{2 * number + 1}"

    def read_transport(self, kind: TransportKind, number: int, header: str) -> None:
        """Take the Transport header of the answer; what it leaves out is as it was offered."""
        options = _options(header)
        if kind is TransportKind.TCP:
            self.channels = _pair(options.get("interleaved", ""), 255) or (2 * number, 2 * number + 1)
        else:
            ports = _pair(options.get("server_port", ""), 65535)
            # Nothing can be sent to port 0, where some cameras have no RTCP.
            self.server_ports = ports if ports is not None and all(ports) else None
            self.source = options.get("source") or None
        ssrc = options.get("ssrc", "")
        if re.fullmatch(r"[0-9A-Fa-f]{1,8}", ssrc):
            self.ssrc = int(ssrc, 16)


def read_rtp_info(tracks: list[Track], header: str) -> None:
    """Take the RTP-Info header of the answer to PLAY, for the tracks that were set up."""
    entries = [_options(entry) for entry in header.split(",")][: len(tracks)]
    for place, entry in enumerate(entries):
        url = entry.get("url", "")
        track = next((track for track in tracks if url and track.media.control.endswith(url)), tracks[place])
        if re.fullmatch(r"[0-9]{1,5}", entry.get("seq", "")):
            track.first_sequence = int(entry["seq"]) & 0xFFFF
        if re.fullmatch(r"[0-9]{1,10}", entry.get("rtptime", "")):
            track.first_timestamp = int(entry["rtptime"]) & 0xFFFFFFFF


def _options(text: str) -> dict[str, str]:
    """``name=value`` parts between semicolons; names in lower case."""
    options: dict[str, str] = {}
    for part in text.split(",")[0].split(";"):
        name, _, value = part.strip().partition("=")
        options.setdefault(name.strip().lower(), value.strip().strip('"'))
    return options


def _pair(text: str, most: int) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    if not found:
        return None
    first = int(found[1])
    second = int(found[2]) if found[2] else first + 1
    return (first, second) if first <= most and second <= most else None
