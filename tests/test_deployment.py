"""What is deployed has no secret that everybody knows, and no image that changes under its name."""

import re
import tomllib
from pathlib import Path

import yaml

from web.settings import load_settings

ROOT = Path(__file__).parents[1]


def test_images_have_an_exact_version_or_a_digest() -> None:
    files = [ROOT / "Dockerfile", ROOT / "compose.yaml", *(ROOT / "docs").glob("*.y*ml")]
    images = [
        image
        for file in files
        for image in re.findall(r"^(?:FROM|\s*image:)\s+(\S+)", file.read_text(), re.MULTILINE | re.IGNORECASE)
    ]
    assert len(images) >= 3
    for image in images:
        # PostgreSQL's versions have two numbers.
        assert re.search(r"^postgres:\d+\.\d+-\w+$|:v?\d+\.\d+\.\d+(-[\w.-]+)?$|@sha256:[0-9a-f]{64}$", image), image


def test_compose_starts_only_with_a_token_of_its_user() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    token = services["liveedge"]["environment"]["AUTH_TOKEN"]
    assert token.startswith("${AUTH_TOKEN:?"), "compose refuses to start without it, and says why"


def test_the_cluster_of_compose_has_three_nodes_that_differ() -> None:
    services = yaml.safe_load((ROOT / "docs" / "cluster-compose.yaml").read_text())["services"]
    nodes = {name: each["environment"] for name, each in services.items() if name.startswith("node-")}
    assert len(nodes) == 3
    for name, environment in nodes.items():
        plain = {key.lower(): value for key, value in environment.items() if "${" not in value}
        settings = load_settings(**plain, cluster_url="postgresql+psycopg://liveedge@192.0.2.1/liveedge")
        assert settings.node_name == name
        assert settings.node_url == f"http://{name}:8000"
        assert f"{settings.webrtc_udp_port}:{settings.webrtc_udp_port}/udp" in services[name]["ports"]
        assert environment["AUTH_TOKEN"].startswith("${AUTH_TOKEN:?")
    for key in ("WEBRTC_UDP_PORT", "NODE_NAME", "NODE_URL"):
        assert len({environment[key] for environment in nodes.values()}) == 3
    assert len({environment["CLUSTER_URL"] for environment in nodes.values()}) == 1


def test_the_chart_is_of_this_version_and_sets_what_exists() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "liveedge" / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]
    template = (ROOT / "charts" / "liveedge" / "templates" / "statefulset.yaml").read_text()
    known = set(load_settings().model_dump())
    asked = set(re.findall(r"^            - name: ([A-Z_]+)$", template, re.MULTILINE)) - {"POD_NAME"}
    assert len(asked) > 4
    assert {name.lower() for name in asked} <= known
