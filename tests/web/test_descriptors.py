"""The limit of open files."""

import resource
from collections.abc import Iterator

import pytest

from web import descriptors


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_the_hard_limit(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    raised = descriptors.raise_limit()
    assert raised == min(limits[1], descriptors.DESCRIPTORS_MAX)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (raised, limits[1])
    assert descriptors.raise_limit() == raised


def test_cameras_and_recordings_have_a_reserve(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    assert descriptors.connections_limit(cameras=0) == 480
    assert descriptors.connections_limit(cameras=20) == 400
    assert descriptors.connections_limit(cameras=500) == descriptors.CONNECTIONS_MIN
    assert descriptors.rtsp_connections_limit(cameras=20) == 100
