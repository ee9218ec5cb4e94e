"""CaptureEngine: the port through which cameras come in.

Theory of operation. An engine is one pull of one source. It knows nothing of asyncio: its
:meth:`~CaptureEngine.packets` is a blocking generator that a thread of its own drives, and that either yields
:class:`~gateway.media.Packet` objects by the rules of that module, or raises a :class:`~gateway.errors.CaptureError`.
An engine is used once: whoever wants to try again makes another. Retries, back-off, run numbers and the hand-over to
the event loop are not its business.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.media import Packet

Address = IPv4Address | IPv6Address

CheckAddress = Callable[[Address], None]
"""May a camera be at this address? Raises a :class:`~gateway.errors.CaptureError` where not."""


@dataclass(frozen=True, slots=True)
class CaptureSource:
    """What an engine is told. ``url`` may carry credentials and so is kept out of ``repr``.

    ``timeout_s`` bounds both the opening and each silence between two packets, in seconds. ``buffer_size`` is the
    number of decoded frames that an engine which decodes may hold back (``CAPTURE_BUFFER_SIZE``).

    Where there is a ``check_address``, an engine asks it about every address of the camera's host before each connect,
    and connects to an address that it has asked about; it is called on the engine's thread. With ``tls_verify`` a
    camera on TLS has to prove its name, by a certificate that ``tls_ca_file`` (PEM; ``None``: the system's) vouches
    for.
    """

    camera_id: str
    url: str = field(repr=False)
    timeout_s: float = 5.0
    buffer_size: int = 1
    run: int = 0
    check_address: CheckAddress | None = None
    tls_verify: bool = False
    tls_ca_file: Path | None = None


class CaptureEngine(ABC):
    """One pull of one camera."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        self.source = source
        self.clock = clock

    @abstractmethod
    def packets(self) -> Iterator[Packet]:
        """Open the source and yield packets until it ends. Blocks; runs in a thread of its own.

        Raises a :class:`~gateway.errors.CaptureError` for whatever a camera can do wrong, and
        :class:`~gateway.errors.CameraEndedError` when it hangs up. Returns without an error only after
        :meth:`interrupt`. Closing the generator releases everything.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Make a blocked or coming :meth:`packets` return soon. Any thread may call it, any number of times."""


EngineFactory = Callable[[CaptureSource, Clock], CaptureEngine]
"""What :class:`~gateway.service.CaptureService` is given for each engine name; an engine's class is one."""
