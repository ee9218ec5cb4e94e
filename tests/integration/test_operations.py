"""Operation of the process: its log, SIGHUP, changed settings, and cameras that survive ``kill -9``."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess


def test_log_is_json_and_warns_of_misspelled_settings(gateways: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    (tmp_path / "liveedge.toml").write_text('[cameras.dead]\nurl = "rtsp://u:s3cret@127.0.0.1:1/x"\n')
    gateway = gateways(LOG_FORMAT="json", CAPTURE_TIMEOUTS="5", CONNECTION_RETRY_DELAY="0.1")
    gateway.wait_for_state("failed", "dead")
    gateway.stop()
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    assert "did you mean CAPTURE_TIMEOUT?" in next(line["message"] for line in lines if line["level"] == "warning")
    of_camera = [line for line in lines if line.get("camera") == "dead"]
    assert {"warning", "error"} <= {line["level"] for line in of_camera}
    # Four attempts failed with the same error: one line, and the number of repetitions.
    retries = [line for line in of_camera if line["level"] == "warning"]
    assert [line.get("repeated") for line in retries] == [None, 2]
    assert "s3cret" not in gateway.log()


def test_sighup_and_changed_files_apply_only_to_the_changed_camera(
    gateways: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    file = tmp_path / "liveedge.toml"
    small = 'engine = "fake"\nurl = "fake://x?width=320&height=180&fps=5"\nrecord = "never"\n'
    file.write_text(f"[cameras.stays]\n{small}")
    gateway = gateways()
    gateway.wait_for_state("live", "stays")
    before = gateway.camera("stays")["live_edge"]["time"]

    file.write_text(f"[cameras.stays]\n{small}[cameras.comes]\n{small}")
    os.kill(gateway.pid, signal.SIGHUP)
    eventually_sync(lambda: gateway.camera("comes").get("state") == "live", "the added camera is live")
    eventually_sync(lambda: gateway.camera("stays")["live_edge"]["time"] > before, "the other camera goes on")
    stays = gateway.camera("stays")
    assert (stays["state"], stays["reconnects"]) == ("live", 0)

    file.write_text(f"[cameras.stays]\n{small}colour = 1\n")
    problems = eventually_sync(lambda: gateway.json("/api/status")["problems"], "the wrong setting is reported")
    assert "line 5: camera stays: colour is not a setting" in problems[0]["message"]
    assert gateway.json("/health") == {"status": "ok"}
    assert gateway.camera("comes")["state"] == "live"

    file.write_text(f"[cameras.stays]\n{small}")
    eventually_sync(lambda: len(gateway.json("/api/cameras")["cameras"]) == 1, "the camera is removed")
    eventually_sync(lambda: gateway.json("/api/status")["problems"] == [], "no problem is left")


def test_added_camera_survives_kill_9(gateways: Callable[..., GatewayProcess]) -> None:
    gateway = gateways()
    table = {"camera_id": "yard", "url": "rtsp://u:s3cret@127.0.0.1:1/x", "start": "on-demand", "record": "never"}
    assert gateway.json("/api/cameras", "POST", table)["camera_id"] == "yard"
    gateway.kill()
    gateway.start()
    assert gateway.camera("yard")["start"] == "on-demand"
    assert "s3cret" not in json.dumps(gateway.json("/api/cameras"))
