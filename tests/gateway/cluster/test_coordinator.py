"""Decisions of coordinators, one by one. Their combinations are in test_model."""

from collections import Counter

from gateway.cluster.actions import Renew
from gateway.cluster.coordinator import Coordinator
from gateway.cluster.model import Node, View
from gateway.cluster.placement import ranked
from tests.support.cluster_world import World

CAMERAS = [f"camera-{number}" for number in range(30)]


def world_of(*names: str, cameras: int = len(CAMERAS)) -> World:
    world = World()
    for name in names:
        world.start(name)
    for camera_id in CAMERAS[:cameras]:
        world.set_camera(camera_id)
    world.run(5)
    return world


def share(world: World) -> Counter[str]:
    return Counter(name for camera_id in CAMERAS for name in world.owners(camera_id))


def test_nodes_have_cameras_in_proportion_to_their_weights() -> None:
    nodes = [Node("1", "one"), Node("2", "two"), Node("3", "big", weight=2.0)]
    first = Counter(ranked(nodes, f"camera-{number}", frozenset())[0].name for number in range(4000))
    assert 0.45 < first["big"] / 4000 < 0.55
    assert 0.2 < first["one"] / 4000 < 0.3


def test_a_node_that_leaves_moves_its_own_cameras_only() -> None:
    nodes = [Node(name, name) for name in "abcd"]
    for camera_id in CAMERAS:
        order = ranked(nodes, camera_id, frozenset())
        assert ranked([node for node in nodes if node is not order[2]], camera_id, frozenset())[0] is order[0]


def test_a_node_of_another_site_takes_nothing() -> None:
    nodes = [Node("1", "a", sites=frozenset({"north"})), Node("2", "b", sites=frozenset({"south"})), Node("3", "c")]
    assert [node.name for node in ranked(nodes, "door", frozenset({"south", "west"}))] == ["b"]
    assert len(ranked(nodes, "door", frozenset())) == 3


def test_a_node_that_joins_takes_new_cameras_only() -> None:
    world = world_of("a", cameras=20)
    world.start("b")
    world.run(3)
    for camera_id in CAMERAS:
        world.set_camera(camera_id)
    world.run(3)
    assert all(world.owners(camera_id) == ["a"] for camera_id in CAMERAS[:20])
    assert 0 < share(world)["b"] < 10


def test_nodes_that_start_together_share_the_cameras() -> None:
    world = world_of("a", "b", "c")
    assert share(world).total() == len(CAMERAS)
    assert min(share(world)[name] for name in "abc") > 3


def test_the_cameras_of_a_node_that_was_killed_go_to_the_others() -> None:
    world = world_of("a", "b", "c")
    before = {camera_id: world.owners(camera_id) for camera_id in CAMERAS}
    world.nodes[0].is_dead = True
    world.run(8)
    assert share(world).keys() == {"b", "c"}
    assert share(world).total() == len(CAMERAS)
    assert all(world.owners(camera_id) == before[camera_id] for camera_id in CAMERAS if before[camera_id] != ["a"])


def test_an_owner_without_the_store_goes_on_and_yields_to_a_higher_epoch() -> None:
    world = world_of("a", "b")
    owner, other = world.nodes
    (camera_id, epoch) = next(iter(owner.coordinator.owned.items()))
    owner.link.is_up = False
    world.run(60)
    assert owner.coordinator.is_provisional(world.now_s)
    assert camera_id in owner.captured
    assert other.coordinator.owned[camera_id] == epoch + 1
    owner.link.is_up = True
    world.run(3)
    assert camera_id not in owner.captured


def test_all_owners_go_on_without_the_store_and_keep_their_cameras() -> None:
    world = world_of("a", "b")
    before = {camera_id: world.owners(camera_id) for camera_id in CAMERAS}
    for node in world.nodes:
        node.link.is_up = False
    world.run(600)
    assert {camera_id: world.owners(camera_id) for camera_id in CAMERAS} == before
    for node in reversed(world.nodes):
        node.link.is_up, node.settled_s = True, world.now_s
        world.run(2)  # one after the other
    world.run(20)
    assert {camera_id: world.owners(camera_id) for camera_id in CAMERAS} == before


def test_a_drain_hands_over_before_it_ends_a_capture() -> None:
    world = world_of("a", "b", cameras=8)
    world.nodes[0].coordinator.drain()
    captured = []
    while not world.nodes[0].coordinator.is_drained:
        world.run(0.25)
        captured += [len(world.owners(camera_id)) for camera_id in CAMERAS[:8]]
    world.run(1)
    assert min(captured) == 1
    assert max(captured) == 2
    assert share(world) == {"b": 8}


def test_a_drain_gives_up_cameras_that_send_nothing() -> None:
    world = world_of("a", "b", cameras=4)
    world.nodes[1].sees_pictures = False
    world.nodes[0].coordinator.drain()
    world.run(15)
    assert share(world) == {"b": 4}
    assert world.nodes[0].coordinator.is_drained


def test_a_drain_without_another_node_keeps_the_cameras() -> None:
    world = world_of("a", cameras=4)
    world.nodes[0].coordinator.drain()
    world.run(30)
    assert share(world) == {"a": 4}


def test_a_rebalance_moves_cameras_to_their_first_choice() -> None:
    world = world_of("a")
    world.start("b")
    world.run(2)
    assert world.store.want_rebalance() == 2
    world.run(20)
    nodes = [each.node for each in world.nodes]
    for camera_id in CAMERAS:
        assert world.owners(camera_id) == [ranked(nodes, camera_id, frozenset())[0].name]


def test_a_hand_over_to_a_node_that_sees_nothing_is_called_off() -> None:
    world = world_of("a")
    world.start("b").sees_pictures = False
    world.run(2)
    world.nodes[0].coordinator.rebalance()
    world.run(40)
    assert share(world) == {"a": len(CAMERAS)}


def test_the_answers_of_a_paused_process_are_too_old() -> None:
    coordinator = Coordinator(Node("1", "a"))
    (renew,) = coordinator.step(0.0)
    world = World()
    world.set_camera("door")
    view = world.store.renew(coordinator.node)
    coordinator.answered(renew.number, view, 10.0)  # type: ignore[union-attr]
    assert coordinator.is_provisional(10.0)
    assert not coordinator.view.cameras


def test_a_view_without_the_node_itself_ends_nothing() -> None:
    coordinator = Coordinator(Node("1", "a"))
    [renew] = coordinator.step(0.0)
    assert isinstance(renew, Renew)
    coordinator.answered(renew.number, View(cameras={"door": frozenset()}), 1.0)
    assert [type(action) for action in coordinator.step(2.0)] == [Renew]


def test_workers_share_the_cameras_evenly_also_after_one_was_started_again() -> None:
    world = World()
    for camera_id in CAMERAS[:21]:
        world.set_camera(camera_id)
    world.start("1", workers=2)
    world.run(6)
    assert not share(world), "it waits for the other worker, which is slow to start"
    world.start("2", workers=2)
    world.run(4)
    assert sorted(share(world).values()) == [10, 11]
    world.nodes[0].is_dead = True
    world.run(8)
    assert share(world) == {"2": 21}
    world.start("1", workers=2)
    world.run(90)
    assert sorted(share(world).values()) == [10, 11]
    world.set_camera(CAMERAS[21])
    world.set_camera(CAMERAS[22])
    world.run(5)
    assert sorted(share(world).values()) == [11, 12]


def test_news_are_read_at_once_but_not_more_often_than_the_database_bears() -> None:
    coordinator = Coordinator(Node("1", "a"))

    def renewals(now_s: float) -> list[int]:
        return [action.number for action in coordinator.step(now_s) if isinstance(action, Renew)]

    (first,) = renewals(0.0)
    coordinator.news()
    assert renewals(0.5) == [], "one is under way"
    coordinator.answered(first, View(), 0.5)
    (second,) = renewals(0.5)
    coordinator.answered(second, View(), 0.5)
    coordinator.news()
    assert renewals(0.55) == []
    assert coordinator.wait_s < 0.25
    assert len(renewals(0.65)) == 1
    assert renewals(1.5) == []
