"""Each node gives one answer: it is asked, or it is read, whatever happens to it meanwhile; or it is named."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from gateway.cluster.model import Node
from gateway.errors import LiveedgeError, NodeAwayError, NotFoundError, StorageError
from web.cluster.away_recordings import ROWS_MAX, AwayNode, AwayRecordings
from web.cluster.forwarding import Forwarding
from web.cluster.node_answers import NodeAnswers, Span
from web.cluster.nodes import ClusterNodes


class World:
    """Nodes that are alive or away, what they answer, and what is read of those that are away."""

    def __init__(self, *, is_complete: bool = True) -> None:
        self.is_complete = is_complete
        self.alive: set[str] = set()
        self.known_away: set[str] = set()
        self.asked: list[str] = []
        self.read: list[str] = []
        self.on_ask: Callable[[str], Any] = lambda name: {"from": name}
        self.on_read: Callable[[str], Any] = lambda name: cast("AwayNode", f"read {name}")

    # ClusterNodes

    async def known(self) -> None:
        pass

    def others(self) -> list[Node]:
        return [Node(f"{name}#1", name) for name in sorted(self.alive)]

    def named(self, name: str) -> Node | None:
        return Node(f"{name}#1", name) if name in self.alive else None

    def absent(self) -> list[str]:
        return sorted(self.known_away)

    # Forwarding

    async def json(self, node: Node, _: str) -> Any:
        self.asked.append(node.name)
        return self.on_ask(node.name)

    # AwayRecordings

    def away(self) -> list[str]:
        return sorted(self.known_away)

    def is_away(self, name: str) -> bool:
        return name in self.known_away

    async def of_span(self, name: str, *_: object) -> AwayNode | None:
        if name not in self.known_away:
            return None
        self.read.append(name)
        return cast("AwayNode | None", self.on_read(name))

    async def recorded_spans(self, name: str, _: str, spans: Sequence[tuple[int, int]]) -> Sequence[bool] | None:
        return [True] * len(spans) if name in self.known_away else None

    def goes(self, name: str) -> None:
        self.alive.discard(name)
        self.known_away.add(name)

    def comes(self, name: str) -> None:
        self.known_away.discard(name)
        self.alive.add(name)


def answers_of(world: World, *, can_read: bool = True) -> NodeAnswers:
    stored = cast("AwayRecordings", world) if can_read else None
    return NodeAnswers(cast("ClusterNodes", world), cast("Forwarding", world), stored)


async def as_text(node: AwayNode) -> str:
    return str(node)


async def of_all(world: World, read: Callable[[AwayNode], Awaitable[str]] | None = as_text) -> tuple[Any, Any, Any]:
    found = await answers_of(world).of_all("/any", Span("door"), read)
    return found.told, found.read, found.missing


def fails(error: LiveedgeError) -> Any:
    def fail(_: str) -> None:
        raise error

    return fail


async def test_the_living_are_asked_and_the_others_read() -> None:
    world = World()
    world.alive, world.known_away = {"a", "b"}, {"c"}
    assert await of_all(world) == ([{"from": "a"}, {"from": "b"}], ["read c"], [])
    world.on_ask = lambda _: None
    assert await of_all(world) == ([], ["read c"], []), "they have nothing"
    world.on_read = fails(NotFoundError("nothing"))
    assert await of_all(world) == ([], [], []), "neither has that one"


async def test_one_that_is_lost_while_it_is_asked_is_read() -> None:
    world = World()
    world.alive = {"a"}

    def lost(name: str) -> None:
        world.goes(name)
        raise NodeAwayError(name, "lost")

    world.on_ask = lost
    assert await of_all(world) == ([], ["read a"], [])


async def test_one_that_has_answered_and_is_lost_then_is_not_read() -> None:
    world = World()
    world.alive = {"a", "b"}

    def answer(name: str) -> Any:
        world.goes("a")
        return {"from": name}

    world.on_ask = answer
    told, read, missing = await of_all(world)
    assert (len(told), len(read), missing) == (2, 0, []) or (told, read) == ([{"from": "b"}], ["read a"])
    assert sorted([*world.asked, *world.read]) == ["a", "b"], "each once"


async def test_one_that_came_back_before_it_was_read_is_asked() -> None:
    world = World()
    world.known_away = {"a"}

    def back(_: str) -> None:
        world.comes("a")

    world.on_read = back
    assert await of_all(world) == ([{"from": "a"}], [], [])


@pytest.mark.parametrize("is_away", [False, True])
async def test_one_that_neither_answers_nor_can_be_read_is_named(is_away: bool) -> None:
    world = World()
    if is_away:
        world.known_away = {"a"}
        world.on_read = fails(StorageError("the index failed"))
    else:
        world.alive = {"a"}
        world.on_ask = fails(NodeAwayError("a", "silent"))
    assert await of_all(world) == ([], [], ["a"])
    assert len(world.asked) == (not is_away), "it is not asked again and again"


async def test_where_there_may_be_more_than_is_read_nodes_that_are_away_are_named() -> None:
    world = World(is_complete=False)
    world.known_away = {"a"}
    assert await of_all(world) == ([], ["read a"], ["a"])
    assert await of_all(world, None) == ([], [], ["a"])
    nothing = await answers_of(world, can_read=False).of_all("/any", Span("door"), as_text)
    assert (nothing.read, nothing.missing) == ([], ["a"])


async def test_days_and_single_nodes() -> None:
    world = World()
    world.alive, world.known_away = {"a"}, {"b", "c"}
    found = await answers_of(world).spans("/days", "door", [(0, 1), (1, 2)])
    assert (found.told, found.read, found.missing) == ([{"from": "a"}], [[True, True]] * 2, [])
    world.on_read = lambda name: fails(StorageError("failed"))(name) if name == "b" else cast("AwayNode", name)
    assert list(map(str, await answers_of(world).read(Span("door", 0, 1)))) == ["c"]
    assert Span("door").limit == ROWS_MAX
