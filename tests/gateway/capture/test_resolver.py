"""Host names of cameras: which are looked up, which addresses are checked, and where the connection goes."""

import ipaddress
import threading
from collections.abc import Callable
from itertools import islice

import pytest

from gateway.capture.engine import Address, CaptureEngine, CaptureSource, CheckAddress
from gateway.capture.engines.opencv import OpenCVCaptureEngine
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.capture.resolver import checked_addresses
from gateway.capture.url import parse
from gateway.errors import CameraRefusedError, CameraUnauthorizedError, CameraUnreachableError
from tests.support.hostile import HostileServer, hang_up, redirect
from tests.support.resolver import Resolver
from tests.support.rtsp import AWKWARD, VIEWER, RtspServer

NAME = "camera.test"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


def refuse(*refused: str) -> CheckAddress:
    def check(address: Address) -> None:
        if str(address) in refused:
            raise CameraRefusedError(f"not at {address}")

    return check


def pull(url: str, check: CheckAddress | None, engine: Callable[[CaptureSource], CaptureEngine]) -> int:
    packets = engine(CaptureSource("camera", url, check_address=check)).packets()
    return len(list(islice(packets, 3)))


def hosts(url: str, check: CheckAddress | None) -> list[str]:
    source = CaptureSource("camera", url, check_address=check)
    return [str(each) for each in checked_addresses(parse(url), source, threading.Event())]


def test_every_address_is_checked(resolver: Resolver) -> None:
    resolver.addresses[NAME] = ["2001:db8::7", "192.0.2.7"]
    assert hosts(f"rtsp://{NAME}/a", refuse()) == ["2001:db8::7", "192.0.2.7"]
    for address in resolver.addresses[NAME]:
        with pytest.raises(CameraRefusedError):
            hosts(f"rtsp://{NAME}/a", refuse(address))
    for odd in ("0xc0000207", "3221225991", "192.0.519"):
        assert hosts(f"rtsp://{odd}:554/a", refuse()) == ["192.0.2.7"], odd
        with pytest.raises(CameraRefusedError):
            hosts(f"rtsp://{odd}:554/a", refuse("192.0.2.7"))
    assert hosts("rtsp://[2001:db8::7]/a", refuse()) == ["2001:db8::7"]


each_engine = pytest.mark.parametrize("engine", [PyAVCaptureEngine, OpenCVCaptureEngine])
"""Those that a library opens, through a relay."""


@each_engine
def test_dns_rebinding_does_not_reach_a_refused_address(
    engine: Callable[[CaptureSource], CaptureEngine], resolver: Resolver, rtsp_server: RtspServer
) -> None:
    url = rtsp_server.url("/video").replace("127.0.0.1", NAME)
    resolver.addresses[NAME] = ["127.0.0.1"]
    assert pull(url, refuse("127.0.0.2"), engine) == 3, "libav could not have found this name"
    asked = len(resolver.asked)
    # In a session each connect asks again, and nothing is sent to where it must not go.
    with HostileServer(hang_up) as elsewhere:
        port = f":{elsewhere.port}/"
        with pytest.raises(CameraRefusedError, match=r"not at 127\.0\.0\.1"):
            pull(f"rtsp://{NAME}{port}", refuse("127.0.0.1"), engine)
        assert not elsewhere.connected.is_set()
    assert len(resolver.asked) == asked + 1


@pytest.mark.parametrize("who", [VIEWER, AWKWARD])
def test_digest_authentication_works_at_the_address(
    resolver: Resolver, rtsp_server: RtspServer, who: tuple[str, str]
) -> None:
    resolver.addresses[NAME] = ["127.0.0.1"]
    url = rtsp_server.guarded_url("/video", *who).replace("127.0.0.1", NAME)
    assert pull(url, refuse(), PyAVCaptureEngine) == 3
    with pytest.raises(CameraUnauthorizedError, match=NAME):
        pull(
            rtsp_server.guarded_url("/video", who[0], "hunter2").replace("127.0.0.1", NAME), refuse(), PyAVCaptureEngine
        )


@each_engine
def test_the_next_address_is_tried_where_nothing_listens_at_the_first(
    engine: Callable[[CaptureSource], CaptureEngine], resolver: Resolver, rtsp_server: RtspServer
) -> None:
    resolver.addresses[NAME] = ["127.0.0.9", "127.0.0.1"]
    url = rtsp_server.url("/video").replace("127.0.0.1", NAME)
    assert pull(url, refuse(), engine) == 3
    resolver.addresses[NAME] = ["127.0.0.9", "127.0.0.8"]
    with pytest.raises(CameraUnreachableError, match=NAME):
        pull(url, refuse(), engine)


@each_engine
def test_the_target_of_a_redirect_is_checked(
    engine: Callable[[CaptureSource], CaptureEngine], rtsp_server: RtspServer
) -> None:
    seen: list[Address] = []
    with HostileServer(redirect(rtsp_server.url("/video"))) as server:
        assert pull(server.url, seen.append, engine) == 3
    assert seen == [ipaddress.ip_address("127.0.0.1")] * 2
