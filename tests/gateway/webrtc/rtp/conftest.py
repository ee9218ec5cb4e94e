import pytest

from tests.gateway.webrtc.wire import FrameSource


@pytest.fixture
def source() -> FrameSource:
    source = FrameSource()
    source.add(key=True, size=30_000)
    source.add(count=99)
    return source
