"""FrameWindow: how many frames of one stream may be on their way at once. Sans-IO.

With one frame in flight a peer 200 ms away gets five frames a second. With many, a peer that is slow gets old frames.
The time from sending a frame to its arrival tells the two apart: it is the path's delay, plus a queue where frames
are sent faster than they are taken (the idea of TCP Vegas, Brakmo and Peterson 1995).

Rules:

1. The window begins with one frame. While the queueing delay is small it grows by one for each frame that arrives, if
   it was full meanwhile. After the first shrink it grows by one for each window of frames.
2. When the queueing delay is large, the window shrinks by one, down to one frame.
3. The path's delay is the least of the last :data:`BASE_S` to twice that.
"""

WINDOW_MAX = 16
"""Frames in flight at most: 25 frames a second with a delay of 0.6 s."""

QUEUE_SMALL_S = 0.05
QUEUE_LARGE_S = 0.15
"""A viewer notices about this much. Between the two, the window stays as it is."""

BASE_S = 10.0


class FrameWindow:
    """See the module. All times are monotonic, in seconds."""

    def __init__(self, size_max: int = WINDOW_MAX) -> None:
        self.size = 1
        self._size_max = size_max
        self._sent: dict[int, float] = {}
        self._next = 0
        self._filled_by = -1
        """The newest frame that filled the window."""
        self._has_shrunk = False
        self._grown_after = 0
        self._base: list[float] = []
        """The least delay of this period and of the one before."""
        self._base_since_s = 0.0

    @property
    def in_flight(self) -> int:
        """Frames that were sent and have not arrived."""
        return len(self._sent)

    @property
    def is_open(self) -> bool:
        """Whether another frame may be sent."""
        return len(self._sent) < self.size

    def sent(self, now_s: float) -> int:
        """A frame is sent. Returns the number to give to :meth:`arrived`."""
        number = self._next
        self._next += 1
        self._sent[number] = now_s
        if not self.is_open:
            self._filled_by = number
        return number

    def arrived(self, number: int, now_s: float) -> None:
        """That frame has arrived. Twice is fine."""
        sent_s = self._sent.pop(number, None)
        if sent_s is None:
            return
        delay_s = now_s - sent_s
        queueing_s = delay_s - self._base_delay(delay_s, now_s)
        if queueing_s > QUEUE_LARGE_S:
            self.size = max(1, self.size - 1)
            self._has_shrunk = True
        elif queueing_s < QUEUE_SMALL_S and number <= self._filled_by and number >= self._grown_after:
            self.size = min(self._size_max, self.size + 1)
            self._grown_after = self._next if self._has_shrunk else 0

    def _base_delay(self, delay_s: float, now_s: float) -> float:
        if not self._base or now_s - self._base_since_s > BASE_S:
            self._base = [delay_s, *self._base[:1]]
            self._base_since_s = now_s
        self._base[0] = min(self._base[0], delay_s)
        return min(self._base)
