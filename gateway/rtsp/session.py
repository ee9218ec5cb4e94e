"""A client's session with our RTSP server, without I/O: what it has set up, and what it may ask for next.

The states are those of RFC 2326 §A.2. A session belongs to one connection, which ends it; its tracks are the sections
of one :class:`~gateway.rtsp.description.Description`.

Rules:

1. Over TCP the packets are interleaved with the connection that carries the requests (§10.12). Channels that a client
   does not name are chosen for it.
2. Over UDP packets go to the address of the connection, whatever ``destination`` says: the server sends nothing to a
   third party (§16.1).
3. Of several transports in a request the first that is known is taken (§12.39).
"""

import re
from dataclasses import dataclass

from gateway.rtsp.errors import RtspError

PUBLIC = (
    *("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"),
    *("ANNOUNCE", "RECORD"),
)

TIMEOUT_S = 60
"""A session over UDP that is silent for so long has ended (§12.37)."""

REASONS = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option not supported",
}


class RefusedError(RtspError):
    """A request that is refused with ``status``; the text tells the client's user why."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Interleaved:
    """The channels of a track within the connection."""

    rtp: int
    rtcp: int


@dataclass(frozen=True, slots=True)
class UdpPorts:
    """The client's ports for a track."""

    rtp: int
    rtcp: int


Delivery = Interleaved | UdpPorts


class ServerSession:
    """See the module."""

    def __init__(self, identifier: str) -> None:
        self.id = identifier
        self.tracks: dict[int, Delivery] = {}
        """What is set up, by number of the track."""
        self.is_playing = False

    def require(self, session_header: str | None) -> None:
        """Raise :class:`RefusedError` unless a request names this session; parameters after the id do not count."""
        if session_header is not None and session_header.partition(";")[0].strip() != self.id:
            raise RefusedError(454, "there is no such session on this connection; SETUP makes one")

    def set_up(self, track: int, transport: str | None, *, mode: str = "PLAY") -> Delivery:
        """Set up a track, or move it to another transport. Raises :class:`RefusedError`.

        A client that publishes (``mode`` is RECORD) does so over TCP.
        """
        if self.is_playing:
            raise RefusedError(455, "tracks cannot be set up while the session plays; PAUSE or TEARDOWN first")
        delivery = _delivery(transport or "", self._free_channel(), mode)
        others = [each for number, each in self.tracks.items() if number != track]
        if any(type(each) is not type(delivery) for each in others):
            raise RefusedError(461, "all tracks of a session use one transport")
        if isinstance(delivery, Interleaved):
            used = {number for each in others for number in (each.rtp, each.rtcp)}
            if delivery.rtp == delivery.rtcp or used & {delivery.rtp, delivery.rtcp}:
                raise RefusedError(461, "these interleaved channels are in use by another track of the session")
        self.tracks[track] = delivery
        return delivery

    def play(self) -> None:
        """Raise :class:`RefusedError` if nothing is set up."""
        if not self.tracks:
            raise RefusedError(455, "nothing is set up; SETUP comes before PLAY")
        self.is_playing = True

    def pause(self) -> None:
        """Raise :class:`RefusedError` if nothing is set up."""
        if not self.tracks:
            raise RefusedError(455, "nothing is set up; SETUP comes before PAUSE")
        self.is_playing = False

    def _free_channel(self) -> int:
        used = [max(each.rtp, each.rtcp) for each in self.tracks.values() if isinstance(each, Interleaved)]
        return max(used) + 1 if used else 0


def transport_header(delivery: Delivery, ssrc: int | None, server_ports: tuple[int, int] | None) -> str:
    """The ``Transport`` of the answer to SETUP (§12.39). ``ssrc`` ``None``: the client publishes."""
    if isinstance(delivery, Interleaved):
        source = ";mode=record" if ssrc is None else f";ssrc={ssrc:08X}"
        return f"RTP/AVP/TCP;unicast;interleaved={delivery.rtp}-{delivery.rtcp}{source}"
    assert server_ports is not None
    client, server = f"{delivery.rtp}-{delivery.rtcp}", f"{server_ports[0]}-{server_ports[1]}"
    return f"RTP/AVP;unicast;client_port={client};server_port={server};ssrc={ssrc:08X}"


def _delivery(header: str, free_channel: int, wanted_mode: str) -> Delivery:
    is_record = wanted_mode == "RECORD"
    reason = "take RTP/AVP/TCP" if is_record else "take RTP/AVP/TCP, or RTP/AVP with client_port, both unicast"
    for choice in header.split(","):
        profile, *parameters = (part.strip() for part in choice.split(";"))
        names = {name.strip().lower(): value.strip() for name, _, value in (each.partition("=") for each in parameters)}
        mode = names.get("mode", wanted_mode).strip('"').upper().replace("RECEIVE", "RECORD")
        if "multicast" in names or mode != wanted_mode:
            continue
        if profile.upper() == "RTP/AVP/TCP":
            text = names.get("interleaved", f"{free_channel}-{free_channel + 1}")
            if channels := _pair(text, 255):
                return Interleaved(*channels)
        elif profile.upper() in ("RTP/AVP", "RTP/AVP/UDP") and not is_record:
            ports = _pair(names.get("client_port"), 65_535)
            if ports is not None and ports[0] >= 1024:
                return UdpPorts(*ports)
    raise RefusedError(461, reason)


def _pair(text: str | None, largest: int) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text or "")
    if found is None:
        return None
    low = int(found[1])
    high = int(found[2]) if found[2] else low + 1
    return (low, high) if max(low, high) <= largest else None
