"""The order in which the files of tests are given to the workers of pytest-xdist.

Tests in browsers need most of a core each, and other tests with real parts mostly wait. So at every time each kind has
had the same share of its work done: three browsers seldom run at once, and cores are seldom idle. pytest-xdist itself
would begin with the files that have the most tests, and end with those that have one or two, which are the longest.

The tests of a file stay together, in their order. Rules:

1. Of each kind the longest files come first, so that no worker ends with a long file alone.
2. Tests in browsers, and those with other real parts, end a little before the others: see :data:`ENDS`.
"""

from collections.abc import Iterable, Mapping

LONG_S: Mapping[str, int] = {
    "browser/test_dvr_in_chromium.py": 20,
    "browser/test_every_view.py": 50,
    "browser/test_firefox.py": 22,
    "browser/test_hls_players.py": 42,
    "browser/test_playback.py": 42,
    "browser/test_player_recovery.py": 70,
    "browser/test_recorded_sound.py": 18,
    "browser/test_timeline.py": 60,
    "browser/test_walls.py": 17,
    "faults/test_camera_faults.py": 25,
    "faults/test_clock_faults.py": 19,
    "faults/test_disk_faults.py": 35,
    "faults/test_index_faults.py": 25,
    "faults/test_network_faults.py": 25,
    "faults/test_process_faults.py": 35,
    "gateway/cluster/test_model.py": 18,
    "integration/test_cluster.py": 40,
    "integration/test_cluster_ems.py": 16,
    "integration/test_cluster_events.py": 35,
    "integration/test_cluster_relay.py": 25,
    "integration/test_cluster_shared.py": 25,
    "integration/test_cluster_stored.py": 16,
    "integration/test_cluster_uploads.py": 15,
    "integration/test_hls_players.py": 21,
    "integration/test_install.py": 22,
    "integration/test_webrtc_clients.py": 85,
    "integration/test_workers.py": 60,
    "test_scripts.py": 20,
    "test_structure.py": 15,
    "web/api/routes/test_hls.py": 17,
    "web/api/test_openapi.py": 38,
}
"""Seconds that a file takes on two idle cores, where that is far more than its tests would take by :data:`TEST_S`."""

TEST_S: Mapping[str, float] = {"unit": 0.05, "integration": 1.0, "faults": 0.3, "browser": 4.0}
"""Seconds that a test takes."""

ENDS: Mapping[str, float] = {"browser": 0.9, "integration": 0.95}
"""At which part of the whole run the last file of a kind comes. The others go on to its end."""


def mixed(files: Mapping[str, Iterable[str]]) -> list[str]:
    """The files in order. ``files`` has the tier of each test, by a path below ``tests``."""
    kinds: dict[str, dict[str, float]] = {}
    for path, tiers in files.items():
        counted = list(tiers)
        seconds = LONG_S.get(path, sum(TEST_S[tier] for tier in counted))
        kinds.setdefault(kind_of(set(counted)), {})[path] = seconds
    places: list[tuple[float, str]] = []
    for kind, of_kind in kinds.items():
        whole, begun = sum(of_kind.values()), 0.0
        for path, seconds in sorted(of_kind.items(), key=lambda each: (-each[1], each[0])):
            places.append(((begun + seconds / 2) / whole * ENDS.get(kind, 1.0), path))
            begun += seconds
    return [path for _, path in sorted(places)]


def kind_of(tiers: set[str]) -> str:
    """``browser``, ``unit``, or ``integration`` for all others, also for files with tests of several tiers."""
    return next(iter(tiers)) if tiers in ({"browser"}, {"unit"}) else "integration"
