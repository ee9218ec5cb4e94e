"""What is deployed has no secret that everybody knows, and no image that changes under its name."""

import re
from pathlib import Path

import yaml

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
        assert re.search(r":v?\d+\.\d+\.\d+(-[\w.-]+)?$|@sha256:[0-9a-f]{64}$", image), image


def test_compose_starts_only_with_a_token_of_its_user() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    token = services["liveedge"]["environment"]["AUTH_TOKEN"]
    assert token.startswith("${AUTH_TOKEN:?"), "compose refuses to start without it, and says why"
