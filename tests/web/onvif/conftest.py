"""Cameras with ONVIF."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ipycam_camera import IPyCam


@pytest.fixture(scope="session")
def ipycam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IPyCam]:
    """A camera that somebody else wrote."""
    folder: Path = tmp_path_factory.mktemp("ipycam")
    with IPyCam(folder) as camera:
        yield camera
