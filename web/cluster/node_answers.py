"""NodeAnswers: what all other nodes have of a camera. The living ones are asked, and the recordings of those that are
away are read (:mod:`web.cluster.away_recordings`).

Rules:

1. Each node gives one answer, so nothing is in a list twice while a node goes away or comes back. One that is lost
   while it is asked is read, and one that has come back before it was read is asked.
2. A node that does not answer within :data:`ANSWER_S`, or whose recordings cannot be read, is named: the answer may
   lack what it has. So is one that is away where only what it had uploaded is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gateway.cluster.model import Node
from gateway.errors import LiveedgeError, NotFoundError
from web.cluster.away_recordings import ROWS_MAX, AwayNode, AwayRecordings
from web.cluster.forwarding import Forwarding
from web.cluster.nodes import ClusterNodes

T = TypeVar("T")
F = TypeVar("F")

_SILENT = object()

ANSWER_S = 3.0

TRIES = 2
"""Of rule 1."""


@dataclass(slots=True)
class Answers(Generic[T]):
    """``told``: the JSON of each living node that has something. ``read``: what was read of those that are away.
    ``missing``: the names of rule 2, in order."""

    told: list[Any] = field(default_factory=list)
    read: list[T] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for, for nodes that are away: ``limit`` segments at most."""

    camera_id: str
    start_90k: int | None = None
    end_90k: int | None = None
    limit: int = ROWS_MAX


class NodeAnswers:
    """See the module. Lives on the event loop. ``stored``: of nodes that are away; ``None``: nothing can be read."""

    def __init__(self, nodes: ClusterNodes, forwarding: Forwarding, stored: AwayRecordings | None) -> None:
        self.nodes = nodes
        self.stored = stored
        self._forwarding = forwarding

    @property
    def is_complete(self) -> bool:
        """Whether all is read that a node has recorded which is away."""
        return self.stored is not None and self.stored.is_complete

    async def of_all(
        self, target: str, span: Span, read: Callable[[AwayNode], Awaitable[T | None]] | None
    ) -> Answers[T]:
        """``target`` is the path and query that living nodes are asked for. A ``LiveedgeError`` of ``read`` is rule 2,
        but a ``NotFoundError``, which is an answer. Without ``read``, none is read."""

        async def read_span(name: str) -> AwayNode | None:
            assert self.stored is not None
            return await self.stored.of_span(name, span.camera_id, span.start_90k, span.end_90k, span.limit)

        return await self._of_all(target, read_span, read)

    async def spans(self, target: str, camera_id: str, spans: Sequence[tuple[int, int]]) -> Answers[Sequence[bool]]:
        """As :meth:`of_all`: for each span [start, end), whether a node that is away recorded in it."""

        async def recorded(name: str) -> Sequence[bool] | None:
            assert self.stored is not None
            return await self.stored.recorded_spans(name, camera_id, spans)

        async def as_it_is(found: Sequence[bool]) -> Sequence[bool]:
            return found

        return await self._of_all(target, recorded, as_it_is)

    async def read(self, span: Span) -> list[AwayNode]:
        """The nodes that are away, of which the recordings of a span can be read."""
        found = []
        for name in self.stored.away() if self.stored is not None else ():
            assert self.stored is not None
            try:
                node = await self.stored.of_span(name, span.camera_id, span.start_90k, span.end_90k, span.limit)
            except LiveedgeError:
                continue
            found += [node] if node is not None else []
        return found

    async def _of_all(
        self,
        target: str,
        find: Callable[[str], Awaitable[F | None]],
        read: Callable[[F], Awaitable[T | None]] | None,
    ) -> Answers[T]:
        await self.nodes.known()
        away = self.stored.away() if self.stored is not None else []
        names = sorted({*(node.name for node in self.nodes.others()), *away})
        answers: Answers[T] = Answers()

        async def one(name: str) -> None:
            for _ in range(TRIES):
                node = self.nodes.named(name)
                if node is not None and (told := await self._ask(node, target)) is not _SILENT:
                    answers.told += [told] if told is not None else []
                    return
                if self.stored is None or read is None or (node is not None and not self.stored.is_away(name)):
                    break
                try:
                    there = await find(name)
                    if there is not None:
                        found = await read(there)
                        answers.read += [found] if found is not None else []
                        return
                except NotFoundError:
                    return
                except LiveedgeError:
                    break
            answers.missing.append(name)

        await asyncio.gather(*map(one, names))
        if not self.is_complete:
            answers.missing += self.nodes.absent()
        answers.missing = sorted({*answers.missing})
        return answers

    async def _ask(self, node: Node, target: str) -> Any:
        """``None``: it has nothing."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._forwarding.json(node, target)
        except (LiveedgeError, TimeoutError):
            return _SILENT
