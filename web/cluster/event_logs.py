"""EventLogs: places in the logs of changes of all nodes, and the newest changes of other nodes. Sans-IO.

Each node has a log of the changes of its events (:mod:`hls.events.service`). A place in all of them is a text that has
the place in each, by the name of its node: ``a=4f0c…-17,b=99ab…-3``.

Rules:

1. What a place says of a node that is away stays: it goes on there when the node is back.
2. A place that says nothing of a node that has a log is behind it: its client reads the list of events again.
3. The newest :data:`RECENT_MAX` changes of each other node are kept. Older ones are asked of the node itself.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from gateway.event import EventChange
from hls.events.service import READ_MAX, RECENT_MAX

POSITION_MAX = 4096
"""Characters of a place: 40 nodes with the longest names."""


def read_positions(text: str) -> dict[str, str]:
    """The place in the log of each node, by its name. What cannot be read is left out."""
    positions = {}
    for part in text[:POSITION_MAX].split(","):
        name, equals, position = part.partition("=")
        if equals and name:
            positions[name] = position
    return positions


def write_positions(positions: Mapping[str, str]) -> str:
    """The inverse of :func:`read_positions`."""
    return ",".join(f"{name}={position}" for name, position in sorted(positions.items()))


class NodeLog:
    """The newest changes of another node, up to the place ``position`` in its log."""

    def __init__(self, position: str) -> None:
        self.position = position
        self._recent: deque[EventChange] = deque()
        self._epoch, self._newest = _parts(position)
        self._before = self._newest
        """The changes after this one are here."""

    def add(self, position: str, changes: Sequence[EventChange] | None) -> None:
        """What follows, up to ``position``. ``None``: the log does not go back so far, or is another one."""
        if changes is None:
            self.__init__(position)  # type: ignore[misc]
            return
        self._recent.extend(changes)
        while len(self._recent) > RECENT_MAX:
            self._before = self._recent.popleft().number
        self.position = position
        self._epoch, self._newest = _parts(position)

    def is_ahead_of(self, position: str) -> bool:
        """Whether there are changes after a place, as far as is known here."""
        epoch, number = _parts(position)
        return epoch != self._epoch or number < self._newest

    def after(self, position: str) -> list[EventChange] | None:
        """The next changes after a place; ``None``: they are not here, and the node has to be asked.

        A place that is ahead of what is known here has none yet.
        """
        epoch, number = _parts(position)
        if epoch != self._epoch or number < self._before:
            return None
        return [change for change in self._recent if change.number > number][:READ_MAX]


class EventLogs:
    """The logs of the other nodes. ``own_name`` is the name of this one."""

    def __init__(self, own_name: str) -> None:
        self.own_name = own_name
        self.of: dict[str, NodeLog] = {}
        """By the name of the node, once it has been heard. Those of nodes that are away stay."""

    def position(self, own: str) -> str:
        """The place where all logs end, as far as is known here. ``own`` is that of this node."""
        return write_positions({name: log.position for name, log in self.of.items()} | {self.own_name: own})

    def position_after(self, position: str, change: EventChange) -> str:
        """The place after the next change of one of the logs. Its number is the place in its own log."""
        positions = read_positions(position)
        log = self.of.get(change.node)
        epoch = _parts(positions.get(change.node) or (log.position if log is not None else ""))[0]
        return write_positions(positions | {change.node: f"{epoch}-{change.number}"})

    def is_ahead_of(self, position: str) -> bool:
        """Whether another node has changes after a place."""
        positions = read_positions(position)
        return any(log.is_ahead_of(positions.get(name, "")) for name, log in self.of.items())


def _parts(position: str) -> tuple[str, int]:
    epoch, _, text = position.partition("-")
    return epoch, int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
