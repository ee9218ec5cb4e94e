"""``/metrics``: its counters count, and the dashboard and the alerts use only metrics that it has."""

import asyncio
import errno
import json
import os
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from gateway.capture.counters import CaptureCounters
from gateway.clock import CLOCK_RATE
from hls.archive.status import StorageStatus
from hls.live.window import LiveWindow
from tests.support.eventually import eventually
from tests.support.serving import GatewayServer
from tests.support.sources.packets import PCMA, START_90K, PacketSource, Shape
from tests.support.webhook_receiver import SECRET
from web.app import create_app
from web.gateway import GATEWAY
from web.observability.metrics import METRICS
from web.observability.metrics.archive import storage_metrics
from web.settings import load_settings

Client = TestClient[web.Request, web.Application]

DOCS = Path(__file__).parents[3] / "docs"

MAIN = ("rendition", "main")

OF_PROMETHEUS = {"ALERTS", "up"}
"""Metrics of Prometheus itself."""


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        data_dir=tmp_path / "data",
        webrtc_udp_port=0,
        archive_min_free_bytes=0,
        webhooks={"home": {"url": "http://127.0.0.1/", "secret": SECRET, "events": "disk.low"}},
    )
    async with TestClient(GatewayServer(create_app(settings))) as client:
        yield client


async def scrape(client: Client) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels."""
    samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(await (await client.get("/metrics")).text()):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return samples


async def test_the_metrics_of_dashboard_and_alerts_exist_and_count(client: Client) -> None:
    async def has_live_segment() -> bool:
        camera = await (await client.get("/api/cameras/demo")).json()
        return camera["state"] == "live" and bool((camera["live_edge"] or {}).get("segment"))

    await eventually(has_live_segment, "the camera is live and recorded")
    assert (await client.get("/hls/demo/index.m3u8")).status == 200
    assert (await client.get("/hls/nosuch/index.m3u8")).status == 404
    assert (await client.get("/nowhere")).status == 404
    samples = await scrape(client)
    demo = (("camera", "demo"),)
    assert samples["liveedge_camera_packets_total"][*demo, MAIN] > 0
    assert samples["liveedge_hls_request_seconds_count"][*demo, ("kind", "multivariant")] == 1
    assert samples["liveedge_archive_fsync_seconds_count"][*demo, MAIN] > 0
    assert samples["liveedge_archive_fsync_seconds_sum"][*demo, MAIN] > 0
    assert samples["liveedge_http_requests_total"][("method", "any"), ("route", "none"), ("status", "4xx")] == 1
    assert samples["liveedge_problems"][(("component", "capture"),)] == 0
    assert samples["liveedge_webrtc_packets_sent_total"][demo] == 0
    assert samples["liveedge_webrtc_datagrams_refused_total"][(("reason", "unknown_address"),)] == 0
    for name in ("audio_packets_dropped", "srtp_rejected", "dtls_dropped", "audio_faults"):
        assert samples[f"liveedge_webrtc_{name}_total"][demo] == 0
    assert samples["liveedge_browser_packets_invalid_total"][()] == 0
    assert samples["liveedge_webrtc_sends_failed_total"][(("reason", "full"),)] == 0
    assert samples["process_resident_memory_bytes"][()] > 0
    assert not [label for labels in samples["liveedge_http_requests_total"] for label in labels if "nosuch" in label[1]]
    cameras = {dict(labels).get("camera") for by_labels in samples.values() for labels in by_labels}
    assert cameras <= {"demo", None}

    # A metric without a value yet still has its TYPE line.
    known = set(samples)
    for line in (await (await client.get("/metrics")).text()).splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            known |= {f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    storage = storage_metrics(StorageStatus(url="s3://bucket", is_reachable=True))  # with ARCHIVE_URL only
    known |= {sample.name for family in storage for sample in family.samples}
    for file in ("grafana.json", "alerts.yml"):
        asked = names(file)
        assert len(asked) > 5
        asked = {name for name in asked if not name.startswith("liveedge_cluster_")}  # those are in test_cluster
        assert asked <= known | OF_PROMETHEUS, asked - known
    histograms = {name.removesuffix("_bucket") for name in known if name.endswith("_bucket")}
    for page in DOCS.glob("*.md"):
        named = set(re.findall(r"\bliveedge_[a-z0-9_]+", page.read_text()))
        # Without an event service there are no counters of its connection. Those of a cluster are in
        # test_cluster, those of workers in test_workers.
        elsewhere = ("liveedge_messaging_", "liveedge_cluster_", "liveedge_worker_")
        named = {name for name in named if not name.startswith(elsewhere)}
        named.discard("liveedge_client")  # the Python package
        assert named <= known | histograms, f"{page.name}: {named - known}"


PROMISED = {
    "state": "liveedge_camera_state",
    "fps": "liveedge_camera_frames_per_second",
    "bitrate": "liveedge_camera_bytes_per_second",
    "keyframe age": "liveedge_camera_keyframe_age_seconds",
    "keyframe interval": "liveedge_camera_keyframe_interval_seconds",
    "reconnects": "liveedge_camera_reconnects",
    "packets": "liveedge_camera_packets",
    "drops by reason": "liveedge_camera_packets_dropped",
    "unreadable packets": "liveedge_camera_packets_unreadable",
    "frames dropped by OpenCV": "liveedge_camera_frames_dropped",
    "incomplete frames": "liveedge_camera_frames_incomplete",
    "repaired timestamps": "liveedge_camera_timestamps_repaired",
    "timestamp jumps": "liveedge_camera_timestamp_jumps",
    "packets skipped for JPEG": "liveedge_camera_jpeg_packets_skipped",
    "packets JPEG cannot decode": "liveedge_camera_jpeg_decode_errors",
    "viewers by transport": "liveedge_camera_viewers",
    "time to first frame": "liveedge_webrtc_first_frame_seconds",
    "loss": "liveedge_webrtc_loss_ratio",
    "RTT": "liveedge_webrtc_round_trip_seconds",
    "HLS requests": "liveedge_hls_request_seconds",
    "HLS part delay": "liveedge_hls_part_delay_seconds",
    "archive bytes": "liveedge_archive_bytes",
    "archive lag": "liveedge_archive_lag_seconds",
    "archive fsync time": "liveedge_archive_fsync_seconds",
    "archive gaps": "liveedge_archive_gaps",
    "disk free": "liveedge_archive_disk_free_bytes",
    "disk size": "liveedge_archive_disk_total_bytes",
    "disk measured": "liveedge_archive_disk_measured_timestamp_seconds",
    "HLS drops": "liveedge_hls_packets_dropped",
    "segments that wait for the index dropped": "liveedge_archive_unindexed_dropped",
    "MJPEG frames skipped": "liveedge_camera_mjpeg_frames_skipped",
    "slow Socket.IO clients": "liveedge_browser_slow_clients_disconnected",
    "Socket.IO commands refused": "liveedge_browser_commands_refused",
    "Socket.IO connections refused": "liveedge_browser_connections_refused",
    "EMS commands refused": "liveedge_messaging_commands_refused",
    "TCP connections refused": "liveedge_http_connections_refused",
    "HLS evictions": "liveedge_hls_segments_evicted",
    "HLS audio drops": "liveedge_hls_audio_frames_dropped",
    "HLS audio errors": "liveedge_hls_audio_decode_errors",
    "archive audio drops": "liveedge_archive_audio_packets_dropped",
    "frames sent": "liveedge_browser_frames",
    "frames skipped": "liveedge_browser_frames_skipped",
    "EMS state": "liveedge_messaging_connected",
    "event-loop lag": "liveedge_event_loop_lag_seconds",
    "memory": "process_resident_memory_bytes",
    "CPU": "process_cpu_seconds",
}

LABELS = {
    "camera",
    "rendition",
    "state",
    "transport",
    "reason",
    "component",
    "kind",
    "route",
    "method",
    "status",
    "le",
} | {"endpoint"}
"""All labels, except those of a camera's stream and of the process. None of them is a viewer's."""


async def test_promised_metrics_have_a_type_a_unit_and_no_label_of_a_viewer(client: Client) -> None:
    async with client.get("/mjpeg/demo"), client.get("/hls/demo/index.m3u8"):
        families = {
            family.name: family
            for family in text_string_to_metric_families(await (await client.get("/metrics")).text())
        }
    assert not set(PROMISED.values()) - families.keys()
    for name, family in families.items():
        assert family.documentation, name
        assert family.type in ("gauge", "counter", "histogram", "info"), (name, family.type)
        if not name.startswith("liveedge_"):
            continue
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= LABELS | ({"codec", "size", "audio"} if family.type == "gauge" else set()), (name, labels)
        if family.type == "histogram":
            assert name.endswith("_seconds"), name
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples), name
        if name.startswith(("liveedge_camera_", "liveedge_webrtc_loss", "liveedge_archive_lag")):
            assert all("camera" in sample.labels for sample in family.samples), name


async def test_a_removed_camera_leaves_no_series(client: Client) -> None:
    assert (await client.get("/hls/demo/index.m3u8")).status == 200
    new = {"camera_id": "yard", "url": "rtsp://127.0.0.1:1/", "start": "on-demand", "record": "never"}
    assert (await client.post("/api/cameras", json=new)).status == 201
    assert (await client.delete("/api/cameras/demo")).status == 204
    samples = await scrape(client)
    cameras = {dict(labels).get("camera") for by_labels in samples.values() for labels in by_labels}
    assert cameras == {"yard", None}


async def test_the_drop_counters_of_all_queues_are_exported(client: Client) -> None:
    table = (DOCS / "architecture.md").read_text().partition("| queue | bound |")[2].partition("\n\n")[0]
    found = re.findall(r"`(liveedge_\w+_total)(?:\{(\w+)=\"(\w+)\"\})?`", table)
    assert len(found) > 8
    patch = {"detector": "motion"}
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await client.patch("/api/cameras/demo", json=patch, headers=headers)).status == 200
    samples = await scrape(client)
    for name, label, value in found:
        if name.startswith(("liveedge_messaging_", "liveedge_onvif_", "liveedge_cluster_")) or label == "status":
            continue  # only with an event service, an ONVIF camera or a cluster, or after such a response
        assert samples[name], name
        assert not label or any((label, value) in labels for labels in samples[name]), (name, label, value)


async def test_every_capture_counter_is_exported(client: Client) -> None:
    samples = await scrape(client)
    for field in fields(CaptureCounters):
        assert samples[f"liveedge_camera_{field.name}_total"][("camera", "demo"), MAIN] >= 0


async def test_a_scrape_does_not_read_the_disk(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_disk_measured() -> bool:
        return bool((await scrape(client)).get("liveedge_archive_disk_free_bytes"))

    await eventually(is_disk_measured, "the disk is measured")

    def hang(*_: object, **__: object) -> None:
        raise AssertionError("the event loop waits for the disk")

    assert client.app is not None
    with monkeypatch.context() as patch:
        for name in ("stat", "statvfs", "scandir"):
            patch.setattr(os, name, hang)
        text = client.app[METRICS].render().decode()
    assert re.search(r"^liveedge_archive_disk_free_bytes \d", text, re.MULTILINE)


def names(file: str) -> set[str]:
    """The metrics that the expressions of a dashboard or of alert rules use."""
    text = (DOCS / file).read_text()
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    else:
        groups = yaml.safe_load(text)["groups"]
        expressions = [rule["expr"] for group in groups for rule in group["rules"]]
        for group in groups:
            for rule in group["rules"]:
                assert rule["annotations"]["summary"]
                assert rule["labels"]["severity"] in ("warning", "critical")
    assert expressions
    found: set[str] = set()
    for expression in expressions:
        bare = re.sub(r"\{[^}]*\}|\"[^\"]*\"|(?:by|without|on|ignoring|group_left)\s*\([^)]*\)", "", expression)
        found |= set(re.findall(r"\b(?:liveedge|process|python)_\w+", bare))
        assert expression.count("(") == expression.count(")")
    return found


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    """``bench.monitoring`` runs them by Prometheus' own tool."""
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    tests = yaml.safe_load((DOCS / "alerts.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == alerts


async def test_a_hung_disk_does_not_block_metrics(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """``statvfs`` of a hung mount never returns: only a worker thread may wait for it."""
    hangs, released = threading.Event(), threading.Event()
    on_the_loop: list[object] = []
    loop_thread = threading.current_thread()

    def hung_statvfs(path: object) -> os.statvfs_result:
        if threading.current_thread() is loop_thread:
            on_the_loop.append(path)
        else:
            hangs.set()
            released.wait()
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    archive = client.app[GATEWAY].archive
    await eventually(lambda: archive.disk_space is not None, "the disk space is known")
    before = archive.disk_space
    assert before is not None
    monkeypatch.setattr(os, "statvfs", hung_statvfs)
    try:
        archive.retention_job.wake()
        assert await asyncio.to_thread(hangs.wait, 10)
        samples = await scrape(client)
        assert samples["liveedge_archive_disk_free_bytes"][()] == before.free_bytes
        assert samples["liveedge_archive_disk_total_bytes"][()] == before.total_bytes
        assert samples["liveedge_archive_disk_measured_timestamp_seconds"][()] == before.measured_at_90k / CLOCK_RATE
        assert not on_the_loop
    finally:
        released.set()
    await eventually(lambda: archive.disk_space is None, "the disk space is unknown again")
    assert () not in (await scrape(client)).get("liveedge_archive_disk_free_bytes", {})


async def test_what_hls_and_recordings_drop_is_counted_per_camera(client: Client) -> None:
    """Packets that cannot be shown, a window over its memory limit, and audio that cannot be transcoded or is late."""
    new = {"camera_id": "yard", "url": "rtsp://127.0.0.1:1/", "start": "on-demand", "engine": "pyav"}
    assert (await client.post("/api/cameras", json=new)).status == 201
    kinds = ("packets_dropped", "audio_frames_dropped", "audio_decode_errors")
    series: dict[str, tuple[tuple[str, str], ...]] = {
        f"liveedge_hls_{kind}_total": (("camera", "yard"), MAIN) for kind in kinds
    }
    series["liveedge_archive_audio_packets_dropped_total"] = (("camera", "yard"), MAIN)

    async def counted() -> list[float]:
        samples = await scrape(client)
        return [samples[name][labels] for name, labels in series.items()]

    assert await counted() == [0, 0, 0, 0]
    hub = client.app[GATEWAY].service.camera("yard").hub
    # After two seconds another file begins, and sound of the time before it is late.
    packets = list(PacketSource(Shape(gop=15, audio=PCMA)).with_sound(60, START_90K - 2 * CLOCK_RATE))
    for packet in packets:
        hub.publish(packet)
    late = next(packet for packet in packets if not packet.is_video)
    hub.publish(replace(late, data=b""))  # cannot be decoded
    for _ in range(4):
        hub.publish(late)  # its time is already filled
    hub.publish(
        replace(PacketSource(Shape(gop=15), number=1).frame(START_90K, 6000), run=2)
    )  # a run without a keyframe
    archive = client.app[GATEWAY].archive
    await eventually(lambda: archive.recorders()["yard"].audio_packets_dropped, "audio packets are dropped")
    assert all(await counted()), await counted()


async def test_segments_evicted_by_the_memory_limit_are_counted(client: Client) -> None:
    new = {"camera_id": "yard", "url": "rtsp://127.0.0.1:1/", "start": "on-demand", "record": "never"}
    assert (await client.post("/api/cameras", json=new)).status == 201
    gateway = client.app[GATEWAY]
    stream = gateway.live.stream("yard")
    stream.window = LiveWindow(START_90K, counters=stream.counters, max_bytes=20_000)
    for packet in PacketSource(Shape(gop=30)).frames(900):
        gateway.service.camera("yard").hub.publish(packet)
    assert (await scrape(client))["liveedge_hls_segments_evicted_total"][("camera", "yard"), MAIN] > 0
