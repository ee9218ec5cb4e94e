"""Transport: sends a viewer's datagrams. The UDP and TCP transports of :mod:`gateway.webrtc.ice` implement it."""

from typing import Protocol

Address = tuple[str, int]


class Transport(Protocol):
    """Sends datagrams to one viewer."""

    @property
    def is_full(self) -> bool:
        """Whether sending would fail now. Senders ask before they encrypt."""
        ...

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        """Send datagrams of ``segment_bytes`` each (the last may be shorter). ``False``: full, nothing was taken."""
        ...


class PeerTransport(Transport, Protocol):
    """A transport to a known address: one candidate pair of ICE."""

    @property
    def remote(self) -> Address:
        """The other end's address and port."""
        ...

    @property
    def protocol(self) -> str:
        """``udp`` or ``tcp``."""
        ...

    def close(self) -> None:
        """Release it: the agent does not need it any more."""
        ...
