"""The settings of a node: what contradicts a cluster is refused at the start, with the way out."""

import os

import pytest

from gateway.errors import SettingsError
from web.cluster.storage import with_own_storage
from web.settings import load_settings

URL = "postgresql+psycopg://liveedge:Hunter2-secret@192.0.2.1/liveedge"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster_url": URL, "rtsp_url": "rtsp://192.0.2.2/"}, "remove rtsp_url.*POST /api/cameras"),
        ({"cluster_url": URL, "cameras": {"door": {"url": "rtsp://192.0.2.2/"}}}, r"remove \[cameras.door\]"),
        ({"node_name": "a"}, "node_name describes a node of a cluster, and cluster_url is not set"),
        ({"cluster_url": URL, "node_name": "a b"}, "(?i)node_name"),
        ({"cluster_url": URL, "node_url": "recorder.example"}, "(?i)node_url"),
        ({"cluster_url": URL, "node_weight": 0}, "(?i)node_weight"),
        ({"cluster_url": URL, "workers": 2}, "workers .*cluster_url.*set one of them.*#several-nodes-on-one-machine"),
        ({"database_url": URL, "workers": 2}, "remove database_url, or set workers = 1"),
        ({"workers": 0}, "(?i)workers"),
        ({"workers": 4, "webrtc_udp_port": 65_533}, "webrtc_udp_port 65533 leaves no port for each of 4 workers"),
        ({"workers": 4, "webrtc_udp_port": 7998}, "port 8000 is among those .*, 7998 to 8001"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings(**settings)
    assert "Hunter2" not in str(refused.value)


def test_there_are_as_many_workers_as_cores_where_that_is_wanted() -> None:
    assert load_settings(workers="auto").workers == len(os.sched_getaffinity(0))
    assert load_settings().workers == 1


def test_a_node_has_the_name_of_its_host_and_any_site() -> None:
    settings = load_settings(cluster_url=URL)
    assert settings.node_name_or_host
    assert settings.node_sites == []
    assert settings.camera_tables() == {}


def test_each_node_keeps_its_recordings_in_a_folder_of_its_own() -> None:
    """Two nodes may give their files the same names."""
    settings = load_settings(cluster_url=URL, node_name="a", archive_url="s3://bucket/site/")
    assert with_own_storage(settings).archive_url == "s3://bucket/site/a"
    alone = load_settings(archive_url="s3://bucket/site/")
    assert with_own_storage(alone) is alone
