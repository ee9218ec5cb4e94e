"""G711Rate: whether G.711 is what ``rtpmap`` says, or 8 kHz with one channel, as nearly all of it. Sans-IO.

Theory of operation. Some cameras write another rate or number of channels into ``rtpmap`` and send plain G.711: 8,000
bytes a second. Timestamps show it where they advance as only one of the two demands. Where they advance by a tick a
byte with one channel, both do, and what is left is how fast the bytes come.

Rules:

1. Timestamps of two packets that go with one of the two alone decide.
2. Otherwise the description is right until :data:`MEASURED_S` were measured in which as many bytes came as of plain
   G.711. The first :data:`SKIPPED_S` do not count: cameras begin with what they have kept.
3. As many bytes as the description demands confirm it. Where neither is so for :data:`TRIAL_MAX_S`, it stays, too.
"""

from gateway.media import AudioInfo

PLAIN_HZ = 8000

SKIPPED_S = 0.5
MEASURED_S = 1.0
TRIAL_MAX_S = 10.0
"""Rules 2 and 3, in seconds."""

EXACT = 0.2
"""Two rates that differ by less are the same: packets last up to a second."""


def may_be_plain(info: AudioInfo) -> bool:
    """Whether sound of this description may be plain G.711, which it does not say."""
    return info.codec in ("pcm_alaw", "pcm_mulaw") and info.sample_rate_hz * info.channels != PLAIN_HZ


class G711Rate:
    """See the module. ``info`` is what the description says."""

    def __init__(self, info: AudioInfo) -> None:
        self.is_plain = False
        """Whether it is 8 kHz with one channel, as far as is known."""
        self._rate_hz = info.sample_rate_hz
        self._channels = info.channels
        self._is_decided = False
        self._began_s: float | None = None
        self._first: tuple[int, int] | None = None
        """Timestamp and bytes of the first packet."""
        self._packet_s = 0.0
        self._since_s: float | None = None
        """The packet after which bytes are counted."""
        self._bytes = 0

    @property
    def is_compared(self) -> bool:
        """Whether there were two packets: before that, nothing is known."""
        return self._began_s is not None and self._first is None

    def note(self, timestamp: int, size: int, now_s: float) -> None:
        """Take a frame. ``timestamp`` is in ticks of the described rate."""
        if self._is_decided:
            return
        if self._began_s is None:
            self._began_s, self._first = now_s, (timestamp, size)
        elif now_s != self._packet_s:
            if self._first is not None:
                self._compare(timestamp - self._first[0], self._first[1])
                self._first = None
            self._measure(self._began_s)
        elif self._first is not None:
            self._first = self._first[0], self._first[1] + size
        self._packet_s = now_s
        self._bytes += size

    def _compare(self, step: int, octets: int) -> None:
        """Rule 1."""
        is_described = step * self._channels == octets
        is_plain = step in (octets, octets * self._rate_hz // PLAIN_HZ)
        self._is_decided = is_described != is_plain
        self.is_plain = self._is_decided and is_plain

    def _measure(self, began_s: float) -> None:
        """Rules 2 and 3, up to the newest packet."""
        at_s = self._packet_s
        if self._since_s is not None and at_s - self._since_s >= MEASURED_S:
            measured_hz = self._bytes / (at_s - self._since_s)
            self.is_plain = abs(measured_hz / PLAIN_HZ - 1) < EXACT
            is_described = abs(measured_hz / (self._rate_hz * self._channels) - 1) < EXACT
            self._is_decided = self.is_plain or is_described or at_s - began_s >= TRIAL_MAX_S
            self._since_s = None
        if self._since_s is None and at_s - began_s >= SKIPPED_S:
            self._since_s, self._bytes = at_s, 0
