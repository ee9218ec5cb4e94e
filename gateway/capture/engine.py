"""CaptureEngine: the port through which cameras come in.

Theory of operation. An engine is one connection to one source. It knows nothing of asyncio: its
:meth:`~CaptureEngine.packets` is a blocking generator. A thread drives it, and it either yields
:class:`~gateway.media.Packet` objects by the rules of that module, or raises a :class:`~gateway.errors.CaptureError`.
An engine is used once; another attempt makes another engine. Retries, back-off, run numbers and the hand-over to the
event loop happen elsewhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from gateway.capture.counters import CaptureCounters
from gateway.capture.publish_point import PublishPoint
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.media import Metadata, Packet

Address = IPv4Address | IPv6Address

CheckAddress = Callable[[Address], None]
"""Checks whether a camera may be at this address. Raises a :class:`~gateway.errors.CaptureError` where it may not."""


@dataclass(frozen=True, slots=True)
class CaptureSource:
    """What an engine connects to. ``url`` may carry credentials and so is kept out of ``repr``.

    ``timeout_s`` bounds both the opening and each silence between two packets, in seconds. ``buffer_size`` is the
    number of decoded frames that an engine which decodes may hold back (``CAPTURE_BUFFER_SIZE``).

    Where there is a ``check_address``, the engine calls it on its own thread with every address of the camera's host
    before each connect, and connects only to an address that was checked. ``check_referred`` is the same for the hosts
    that a camera refers to (redirects, playlists): no operator has chosen these. With ``tls_verify`` a camera on TLS
    has to prove its name by a certificate that ``tls_ca_file`` (PEM; ``None``: the system's) vouches for.

    ``on_metadata`` takes the camera's metadata documents on the event loop, one call each (engine ``rtsp``). Without it
    the track is not set up. It must not block, and bounds what it keeps itself.

    ``on_keyframe_wanted`` is called on the event loop while a keyframe is awaited, to begin or after a loss, about once
    a second, with how long, in seconds; and with ``None`` when there is one again (engine ``rtsp``).

    ``publish_point`` is where a camera that is pushed comes in (engine ``publish``).

    While ``is_watched`` returns false, an engine may hand packets over later, by up to a tenth of a second, where that
    costs less.
    """

    camera_id: str
    url: str = field(repr=False)
    timeout_s: float = 5.0
    buffer_size: int = 1
    run: int = 0
    check_address: CheckAddress | None = None
    check_referred: CheckAddress | None = None
    tls_verify: bool = False
    tls_ca_file: Path | None = None
    on_metadata: Callable[[Metadata], None] | None = None
    on_keyframe_wanted: Callable[[float | None], None] | None = field(default=None, repr=False, compare=False)
    is_watched: Callable[[], bool] = field(default=lambda: True, repr=False, compare=False)
    publish_point: PublishPoint | None = field(default=None, repr=False, compare=False)


NO_SOURCE = CaptureSource("", "")
"""Of an engine that only says which class is wanted: ``CaptureService(PyAVCaptureEngine(), url)``."""


class CaptureEngine(ABC):
    """One connection to one camera. ``counters`` are what it counts; a camera sums them over its runs."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        self.source = source
        self.clock = clock
        self.counters = CaptureCounters()

    @abstractmethod
    def packets(self) -> Iterator[Packet]:
        """Open the source and yield packets until it ends. Blocks; runs in a thread of its own.

        Raises a :class:`~gateway.errors.CaptureError` for everything that a camera can do wrong, and
        :class:`~gateway.errors.CameraEndedError` when it hangs up. Returns without an error only after
        :meth:`interrupt`. Closing the generator releases everything.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Make :meth:`packets` return soon, also while it blocks. Any thread may call it, any number of times."""


class AsyncCaptureEngine(ABC):
    """One connection to one camera that needs no thread: it lives on the event loop. ``counters`` as above."""

    dropped = 0
    """Packets that were dropped on the way to the loop."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        self.source = source
        self.clock = clock
        self.counters = CaptureCounters()

    @property
    def video_at(self) -> float:
        """When the newest sign of working video came, in monotonic seconds, also of video that cannot be passed on."""
        return 0.0

    @property
    def problem(self) -> str | None:
        """Why there is no video yet although the camera is connected, in a sentence; ``None`` where that is usual."""
        return None

    @abstractmethod
    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        """Open the source and hand over its packets until it ends. Raises as :meth:`CaptureEngine.packets`.

        Cancelling it ends the connection and releases everything. Nothing in it blocks the loop.
        """


EngineFactory = Callable[[CaptureSource, Clock], CaptureEngine | AsyncCaptureEngine]
"""Makes an engine for each run (:class:`~gateway.service.CaptureService`). The class of an engine is such a factory."""
