"""What was seen of a camera with numbered pictures: by viewers, in files, in objects; and what must be true of it.

Numbers are those of :func:`bench.support.rtsp_cameras.picture_numbers`: the same picture has the same number wherever
it is, whichever node captured it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class Seen:
    """What one viewer got, in the order of its arrival. Times are of the monotonic clock."""

    node: str
    kind: str
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    def add(self, at_s: float, numbers: Iterable[int]) -> None:
        self.arrivals += ((at_s, number) for number in numbers)

    @property
    def last_s(self) -> float:
        return self.arrivals[-1][0] if self.arrivals else 0.0

    def since(self, from_s: float) -> "Seen":
        """What came from a moment on."""
        return Seen(self.node, self.kind, [each for each in self.arrivals if each[0] >= from_s])

    @property
    def missing(self) -> int:
        """Pictures between the first and the last that never came."""
        return len(holes(number for _, number in self.arrivals))

    @property
    def repeated(self) -> int:
        """Pictures that came more than once."""
        return len(self.arrivals) - len({number for _, number in self.arrivals})

    @property
    def longest_gap_s(self) -> float:
        """The longest time without a new picture."""
        newest, newest_s, longest_s = -1, None, 0.0
        for at_s, number in self.arrivals:
            if number > newest:
                longest_s = max(longest_s, at_s - newest_s if newest_s is not None else 0.0)
                newest, newest_s = number, at_s
        return longest_s

    @property
    def back(self) -> int:
        """By how many pictures the viewer was thrown back, at most."""
        newest, most = -1, 0
        for _, number in self.arrivals:
            most = max(most, newest - number)
            newest = max(newest, number)
        return most


def holes(numbers: Iterable[int]) -> list[int]:
    """The numbers that lack between the lowest and the highest."""
    found = set(numbers)
    return sorted(set(range(min(found), max(found) + 1)) - found) if found else []


@dataclass(frozen=True)
class Row:
    """A row of the index of all recordings. Times are 90 kHz."""

    camera_id: str
    rendition: str
    node: str
    name: str
    epoch: int
    start_90k: int
    end_90k: int
    from_90k: int | None
    to_90k: int | None
    size: int

    @property
    def text(self) -> str:
        return f"{self.node}/{self.camera_id}/{self.name}"


def overlaps(rows: Sequence[Row]) -> list[str]:
    """Rows of a stream that count for the same moment."""
    found = []
    for stream in {(row.camera_id, row.rendition) for row in rows}:
        counting = [row for row in rows if (row.camera_id, row.rendition) == stream and row.from_90k is not None]
        counting.sort(key=lambda row: row.from_90k or 0)
        for before, after in pairwise(counting):
            if (before.to_90k or 0) > (after.from_90k or 0):
                found.append(f"{before.text} and {after.text} count for the same moment")
    return found


def disorder(numbers: Sequence[int]) -> str | None:
    """What is wrong with the pictures of one file: they are one after the other, and none lacks."""
    if not numbers:
        return "no picture"
    wrong = [(before, after) for before, after in pairwise(numbers) if after != before + 1]
    return f"{len(wrong)} places, first {wrong[0][0]} → {wrong[0][1]}" if wrong else None
