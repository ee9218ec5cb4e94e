"""Namesakes: other processes that run with the name of this node, by mistake or because this one hung for a while.

Two of them would write over each other's rows of the index, and over each other's recordings in the object storage.

Rules:

1. A node whose name is taken does not start. A process that was killed has its name until its lease has expired.
2. Where two run nevertheless, both tell of it as a problem, and one of them drains: that with the lower id.
"""

import time
from collections.abc import Callable

from gateway.cluster.model import EXPIRY_S, HEARTBEAT_S, Node, View
from gateway.errors import SettingsError, redact

GONE_S = EXPIRY_S + HEARTBEAT_S
"""A lease that was there for so long was renewed."""

LOOK_S = 0.2


class Namesakes:
    """See the module."""

    def __init__(self, node: Node) -> None:
        self.message: str | None = None
        """What is wrong and what to do; ``None``: no other process has the name."""
        self._node = node
        self._since_s: dict[str, float] = {}

    def wait(self, find: Callable[[str], Node | None], sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until nobody has the name (rule 1). Blocking. Raises :class:`~gateway.errors.SettingsError`."""
        other = find(self._node.name)
        for _ in range(round(GONE_S / LOOK_S)):
            if other is None:
                return
            sleep(LOOK_S)
            other = find(self._node.name)
        if other is not None:
            raise SettingsError(f"{_why(other)}: give this one another NODE_NAME, or end the other process first")

    def must_drain(self, view: View, now_s: float) -> bool:
        """Rule 2, by what the node sees now."""
        others = [each for each in view.nodes.values() if each.name == self._node.name and each.id != self._node.id]
        self._since_s = {each.id: self._since_s.get(each.id, now_s) for each in others}
        running = [each for each in others if now_s - self._since_s[each.id] > GONE_S]
        self.message = (
            f"{_why(running[0])}: give each node a NODE_NAME of its own; one of the two takes no cameras until then"
            if running
            else None
        )
        return any(self._node.id < each.id for each in running)


def _why(other: Node) -> str:
    where = f" at {redact(other.url)}" if other.url else ""
    return f"another node of the cluster has the name {other.name}{where}"
