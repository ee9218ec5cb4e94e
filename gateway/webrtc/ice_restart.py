"""ICE restarts that a viewer asks for by an SDP fragment (RFC 9725 §4.3.3), of each of its transports."""

from collections.abc import Sequence

from gateway.errors import BadRequestError
from gateway.webrtc.media_transport import MediaTransport
from gateway.webrtc.sdp.fragment import Credentials, Fragment, RestartedTransport


def restart_ice(transports: Sequence[MediaTransport], fragment: Fragment) -> list[RestartedTransport]:
    """Restart the transports for which the fragment has other credentials; returns what is new of each.

    Raises :class:`~gateway.errors.BadRequestError`; then nothing is restarted.
    """
    restarts: list[tuple[MediaTransport, tuple[str, str]]] = []
    for transport in transports:
        username, password = _credentials(fragment, transport, is_alone=len(transports) == 1)
        if username is None or username == transport.agent.remote[0] or transport.is_closing:
            continue
        if password is None:
            raise BadRequestError("an ICE restart needs both ice-ufrag and ice-pwd")
        restarts.append((transport, (username, password)))
    for transport, remote in restarts:
        transport.restart_ice(remote)
    return [_restarted(transport) for transport, _ in restarts]


def _credentials(fragment: Fragment, transport: MediaTransport, *, is_alone: bool) -> Credentials:
    """What a fragment says of a transport. A viewer with only one need not say of which section it speaks."""
    if is_alone:
        return fragment.any_credentials
    negotiated = transport.negotiated
    assert negotiated is not None
    return fragment.credentials({negotiated.tagged.mid, *negotiated.bundle})


def _restarted(transport: MediaTransport) -> RestartedTransport:
    negotiated = transport.negotiated
    assert negotiated is not None
    section = negotiated.tagged
    media_line = f"m={section.kind} 9 {section.protocol} {section.formats[0]}"
    agent = transport.agent
    return RestartedTransport(agent.username, agent.password, media_line, section.mid, negotiated.bundle)
