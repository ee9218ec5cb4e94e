"""Many nodes, bad links, pauses and crashes, in every order that Hypothesis thinks of."""

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.cluster_world import Link, SimulatedNode, World

NAMES = "abc"
CAMERAS = ("door", "gate", "yard")
SITES = (frozenset[str](), frozenset({"north"}), frozenset({"north", "south"}))

names, cameras = st.sampled_from(NAMES), st.sampled_from(CAMERAS)

AFTER_S = st.sampled_from((0, 0, 0.25, 0.75, 2, 5))
"""How long until the next thing happens. Most faults come while others are not over."""

LOSSES = st.sampled_from((0.2, 0.6))


class Cluster(RuleBasedStateMachine):
    """The conditions are checked by :meth:`World.check`, after every tick of time."""

    @initialize(
        seed=st.integers(0, 2**16),
        ahead_s=st.tuples(*(st.sampled_from((0, -60, 10, -7)) for _ in NAMES)),
        after_s=st.sampled_from((0, 1, 4)),
    )
    def start(self, seed: int, ahead_s: tuple[int, ...], after_s: float) -> None:
        self.world = World(seed)
        self.clocks = dict(zip(NAMES, ahead_s, strict=True))
        for name in NAMES:
            self._start(name)
        self.world.set_camera("door")
        self.world.set_camera("gate", SITES[1])
        self.world.run(after_s)

    def _start(self, name: str) -> None:
        sites = {"a": SITES[1], "b": SITES[2]}.get(name, SITES[0])
        self.world.start(name, self.clocks[name], sites)

    def _node(self, name: str) -> SimulatedNode:
        return [each for each in self.world.nodes if each.node.name == name][-1]

    def _change(self, name: str, after_s: float, **values: object) -> None:
        """The state of a node, and then time passes."""
        node = self._node(name)
        for key, value in values.items():
            setattr(node, key, value)
        node.settled_s = self.world.now_s
        self.world.run(after_s)

    @rule(seconds=st.sampled_from((1, 3, 9)))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(
        name=names,
        link=st.builds(Link, st.booleans(), st.sampled_from((0, 0.5, 1, 1.5, 2.5, 6)), st.just(0.0) | LOSSES),
        after_s=AFTER_S,
    )
    def link_changes(self, name: str, link: Link, after_s: float) -> None:
        self._change(name, after_s, link=link)

    @rule(name=names, is_paused=st.booleans(), after_s=AFTER_S)
    def process_is_paused_or_continued(self, name: str, is_paused: bool, after_s: float) -> None:
        self._change(name, after_s, is_paused=is_paused)

    @rule(name=names, after_s=AFTER_S)
    def process_is_killed_and_started(self, name: str, after_s: float) -> None:
        node = self._node(name)
        node.is_dead = True
        node.captured.clear()
        self._start(name)
        self.world.run(after_s)

    @rule(link=st.builds(Link, loss=LOSSES) | st.just(Link(is_up=False)), seconds=st.sampled_from((1, 3, 6)))
    def store_is_away_or_loses_requests_for_a_while(self, link: Link, seconds: float) -> None:
        for name in NAMES:
            self._change(name, 0, link=replace(link))
        self.world.run(seconds)
        for name in NAMES:
            self._change(name, 0, link=Link())
        self.world.run(2)

    @rule(name=names)
    def only_one_node_is_left_for_a_while(self, name: str) -> None:
        self._change(name, 0, is_paused=False, link=Link())
        for other in set(NAMES) - {name}:
            self._change(other, 0, is_paused=True)
        self.world.run(9)
        for other in set(NAMES) - {name}:
            self._change(other, 0, is_paused=False)

    @rule(name=names, after_s=AFTER_S)
    def node_drains(self, name: str, after_s: float) -> None:
        self._node(name).coordinator.drain()
        self._change(name, after_s)

    @rule(name=names, sees_pictures=st.booleans())
    def cameras_have_pictures_for_a_node_or_not(self, name: str, sees_pictures: bool) -> None:
        self._node(name).sees_pictures = sees_pictures

    @rule(name=names, after_s=AFTER_S)
    def node_rebalances_and_has_news(self, name: str, after_s: float) -> None:
        self._node(name).coordinator.rebalance()
        self._node(name).coordinator.news()
        self.world.run(after_s)

    @rule(camera_id=cameras, sites=st.sampled_from(SITES), after_s=AFTER_S)
    def camera_is_set(self, camera_id: str, sites: frozenset[str], after_s: float) -> None:
        self.world.set_camera(camera_id, sites)
        self.world.run(after_s)

    @rule(camera_id=cameras, after_s=AFTER_S)
    def camera_is_removed(self, camera_id: str, after_s: float) -> None:
        self.world.remove_camera(camera_id)
        self.world.run(after_s)

    def teardown(self) -> None:
        """All heals: each camera has the one owner that the store says, and nobody else captures it."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for node in world.nodes:
            node.link, node.is_paused, node.sees_pictures, node.settled_s = Link(), False, True, world.now_s
        for name in NAMES:
            if self._node(name).node.is_draining:
                self.process_is_killed_and_started(name, 0)
        world.run(20)
        for camera_id in world.store.cameras:
            assert len(world.owners(camera_id)) == 1, camera_id


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=1000, stateful_step_count=12, suppress_health_check=list(HealthCheck), print_blob=True
)
