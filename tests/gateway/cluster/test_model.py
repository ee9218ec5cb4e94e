"""Many nodes, bad links, pauses and crashes, in every order that Hypothesis thinks of."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.cluster_world import Link, SimulatedNode, World

NAMES = "abc"
CAMERAS = ("door", "gate", "yard")
SITES = (frozenset[str](), frozenset({"north"}), frozenset({"north", "south"}))

names, cameras = st.sampled_from(NAMES), st.sampled_from(CAMERAS)


class Cluster(RuleBasedStateMachine):
    """The conditions are checked by :meth:`World.check`, after every tick of time."""

    @initialize(seed=st.integers(0, 2**16), ahead_s=st.tuples(*(st.sampled_from((0, -60, 10, -7)) for _ in NAMES)))
    def start(self, seed: int, ahead_s: tuple[int, ...]) -> None:
        self.world = World(seed)
        self.clocks = dict(zip(NAMES, ahead_s, strict=True))
        for name in NAMES:
            self._start(name)
        self.world.set_camera("door")
        self.world.set_camera("gate", SITES[1])

    def _start(self, name: str) -> None:
        sites = {"a": SITES[1], "b": SITES[2]}.get(name, SITES[0])
        self.world.start(name, self.clocks[name], sites)

    def _node(self, name: str) -> SimulatedNode:
        return [each for each in self.world.nodes if each.node.name == name][-1]

    @rule(seconds=st.sampled_from((0.25, 0.5, 1, 2, 5, 12)))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(
        name=names,
        link=st.builds(Link, st.booleans(), st.sampled_from((0, 0.5, 1, 1.5, 2.5, 6)), st.sampled_from((0, 0.2, 0.6))),
    )
    def link_changes(self, name: str, link: Link) -> None:
        self._node(name).link, self._node(name).settled_s = link, self.world.now_s

    @rule(name=names, is_paused=st.booleans())
    def process_is_paused_or_continued(self, name: str, is_paused: bool) -> None:
        self._node(name).is_paused, self._node(name).settled_s = is_paused, self.world.now_s

    @rule(name=names)
    def process_is_killed_and_started(self, name: str) -> None:
        node = self._node(name)
        node.is_dead = True
        node.captured.clear()
        self._start(name)

    @rule(name=names)
    def node_drains(self, name: str) -> None:
        node = self._node(name)
        node.coordinator.drain()
        node.settled_s = self.world.now_s

    @rule(name=names, sees_pictures=st.booleans())
    def cameras_have_pictures_for_a_node_or_not(self, name: str, sees_pictures: bool) -> None:
        self._node(name).sees_pictures = sees_pictures

    @rule(name=names)
    def node_rebalances(self, name: str) -> None:
        self._node(name).coordinator.rebalance()

    @rule(name=names)
    def node_has_news(self, name: str) -> None:
        self._node(name).coordinator.news()

    @rule(camera_id=cameras, sites=st.sampled_from(SITES))
    def camera_is_set(self, camera_id: str, sites: frozenset[str]) -> None:
        self.world.set_camera(camera_id, sites)

    @rule(camera_id=cameras)
    def camera_is_removed(self, camera_id: str) -> None:
        self.world.remove_camera(camera_id)

    def teardown(self) -> None:
        """All heals: each camera has the one owner that the store says, and nobody else captures it."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for node in world.nodes:
            node.link, node.is_paused, node.sees_pictures, node.settled_s = Link(), False, True, world.now_s
        for name in NAMES:
            if self._node(name).node.is_draining:
                self.process_is_killed_and_started(name)
        world.run(20)
        for camera_id in world.store.cameras:
            assert len(world.owners(camera_id)) == 1, camera_id


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=1000, stateful_step_count=20, suppress_health_check=list(HealthCheck), print_blob=True
)
