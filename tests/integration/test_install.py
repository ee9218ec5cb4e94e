"""Ways to install: the image, compose, the systemd unit and the annotated example of the settings are correct."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support.certificate import self_signed
from web.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]

EXAMPLE = ROOT / "liveedge.example.toml"


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [*Settings.model_fields, "environment", "liveedge_config"]:
        monkeypatch.delenv(name.upper(), raising=False)


# --- the example


def test_the_example_has_every_setting_and_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = EXAMPLE.read_text()
    monkeypatch.setenv("LIVEEDGE_CONFIG", str(EXAMPLE))
    assert list(load_settings().camera_settings()) == ["door", "yard"]
    everything = tmp_path / "everything.toml"
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", text)
    # The one file that is read when settings are.
    everything.write_text(text.replace("/etc/liveedge/broker-ca.pem", str(self_signed(tmp_path))))
    assert set(tomllib.loads(everything.read_text())) == set(Settings.model_fields)
    # In a cluster, its database has the cameras.
    everything.write_text(re.sub(r"(?m)^(cluster|node)_.*$", "", everything.read_text()))
    monkeypatch.setenv("LIVEEDGE_CONFIG", str(everything))
    assert list(load_settings().camera_settings()) == ["door", "yard", "default"]


# --- image and compose


def test_the_steps_of_the_image_work_without_docker() -> None:
    # What is compiled takes a minute, and is that of the environment of these tests: see tests/test_compiled.py.
    environment = {**os.environ, "LIVEEDGE_COMPILE": "no"}
    command = [sys.executable, str(ROOT / "scripts" / "check-dockerfile")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "HEALTHCHECK passes" in done.stdout


def test_compose_sets_known_settings_and_publishes_the_exposed_ports() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    liveedge = services["liveedge"]
    assert not [name for name in liveedge["environment"] if name.lower() not in Settings.model_fields]
    # Its default values are enough to start.
    values = {name.lower(): re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in liveedge["environment"].items()}
    assert load_settings(host="0.0.0.0", **values).camera_settings()
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert exposed
    published = {port.split(":")[1] if "/" in port else f"{port.split(':')[1]}/tcp" for port in liveedge["ports"]}
    assert published == set(exposed[1].split())
    assert services["camera"]["environment"]["MTX_PATHS_CAM_RUNONINIT"].endswith(
        liveedge["environment"]["RTSP_URL"].replace("//camera:", "//localhost:")
    )


# --- systemd


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "liveedge.service").read_text()
    for name in re.findall(r"\b([A-Z_]+)=/", "".join(re.findall(r"^Environment=(.*)$", text, re.MULTILINE))):
        assert name.lower() in Settings.model_fields or name == "LIVEEDGE_CONFIG"
    analyze = shutil.which("systemd-analyze")
    assert analyze, "scripts/install-test-packages brings it"
    unit = tmp_path / "liveedge.service"
    unit.write_text(text.replace("/opt/liveedge/bin/liveedge", sys.executable).replace("User=liveedge", "User=daemon"))
    listening = tmp_path / "liveedge.socket"
    listening.write_text((ROOT / "docs" / "liveedge.socket").read_text())
    done = subprocess.run([analyze, "verify", "--man=no", unit, listening], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "liveedge" in line]
    assert ours == []
    # 1.5 of 10 in systemd 252. The rest is network access, and a static user instead of a dynamic one.
    exposure = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True, check=False
    )
    assert exposure.returncode == 0, exposure.stdout[-500:]
