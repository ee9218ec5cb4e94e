"""Which camera URLs the API accepts: when a camera is added, at each connect, and after a restart."""

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.camera_settings import RenditionName
from gateway.errors import BadRequestError, CameraRefusedError
from gateway.session import SessionState
from tests.support.auth_gateway import OFF, Client, auth_gateway
from tests.support.eventually import eventually
from tests.support.resolver import Resolver
from tests.support.rtsp import RtspServer
from web.address_policy import check_target, is_metadata
from web.gateway import GATEWAY
from web.settings import load_settings


async def add(client: Client, **table: Any) -> tuple[int, dict[str, Any]]:
    async with client.post("/api/cameras", json={"camera_id": "new", **table}) as answer:
        return answer.status, await answer.json()


METADATA_URLS = [
    "rtsp://169.254.169.254/latest/meta-data/",
    "rtsp://user:password@169.254.169.254:80/",
    "rtsp://2852039166/",
    "rtsp://0xa9fea9fe/",
    "rtsp://0251.0376.0251.0376/",
    "rtsp://[fe80::1]/",
    "rtsp://[fd00:ec2::254]/",
    "rtsp://[::ffff:169.254.169.254]/",
    "rtsp://[64:ff9b::a9fe:a9fe]/",
    "rtsp://[2002:a9fe:a9fe::1]/",
    "rtsps://100.100.100.200/",
    "RTSP://169.254.169.254/",
    " rtsp://169.254.169.254/",
]


async def test_a_camera_at_a_metadata_address_is_refused(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        for url in METADATA_URLS:
            status, body = await add(client, url=url)
            assert (status, body["error"]) == (400, "bad_request"), body
            assert "ALLOW_METADATA_ADDRESSES" in body["message"]
            async with client.patch("/api/cameras/door", json={"url": url}) as answer:
                assert answer.status == 400


INVALID_TABLES: list[tuple[dict[str, Any], str]] = [
    ({"url": "file:///etc/passwd"}, "rtsp"),
    ({"url": "/etc/passwd"}, "rtsp"),
    ({"url": "udp://0.0.0.0:5000"}, "rtsp"),
    ({"url": "rtmp://169.254.169.254/live/x"}, "allow_metadata_addresses"),
    ({"url": "http://127.0.0.1/"}, "rtsp"),
    ({"url": "concat:/etc/passwd|/etc/shadow"}, "rtsp"),
    ({"url": "rtsp://"}, "host"),
    ({"url": "rtsp://no-such-camera.invalid/"}, "cannot be resolved"),
    ({"url": "rtsp://127.0.0.1/", "engine": "os:system"}, "engine"),
    ({"url": "rtsp://127.0.0.1/", "capture_engine": "subprocess:Popen"}, "engine"),
    ({"url": "file:///etc/passwd", "engine": "tests.support.sources.scripted:ScriptedEngine"}, "rtsp"),
    ({"url": "rtsp://127.0.0.1/", "capture_tls_ca_file": "/etc/shadow"}, "files are named in"),
    ({"url": 5}, "url"),
    ({}, "url"),
]


async def test_files_other_schemes_and_python_classes_are_refused(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        for table, word in INVALID_TABLES:
            status, body = await add(client, **table)
            assert (status, body["error"]) == (400, "bad_request"), body
            assert word in body["message"].lower()
            assert "passwd" not in body["message"]


async def test_metadata_addresses_can_be_allowed(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, allow_metadata_addresses=True)
    await check_target({"url": "rtsp://169.254.7.7/stream"}, settings, [])
    settings = load_settings(data_dir=tmp_path)
    for url in ("rtsp://127.0.0.1/", "rtsp://192.168.1.5:8554/x", "rtsp://[::1]/", "fake://x"):
        await check_target({"url": url}, settings, [])
    with pytest.raises(BadRequestError):
        await check_target({"url": "rtsp://169.254.7.7/stream"}, settings, [])


@given(st.ip_addresses())
def test_ipv4_embedded_in_ipv6_is_checked_alike(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if isinstance(address, ipaddress.IPv4Address):
        mapped = ipaddress.IPv6Address(f"::ffff:{address}")
        assert is_metadata(address) == is_metadata(mapped)
        if address.is_link_local:
            assert is_metadata(address)


async def test_each_stream_of_a_camera_is_checked_if_its_url_is_by_the_api(tmp_path: Path) -> None:
    camera = {"url": "rtsp://127.0.0.1:1/", "start": "on-demand", "record": "never"}
    async with auth_gateway(tmp_path, **OFF, cameras={"new": camera}) as client:
        assert client.app is not None
        gateway = client.app[GATEWAY]
        async with client.patch("/api/cameras/new", json={"sub_url": "rtsp://127.0.0.1:2/"}) as answer:
            assert answer.status == 200
        assert gateway._address_check("new", RenditionName.MAIN) is None
        assert gateway._address_check("new", RenditionName.SUB) is not None


async def test_http_cameras_of_the_configuration_open_their_scheme_and_not_every_address(tmp_path: Path) -> None:
    cameras = {
        "web": {"url": "http://192.0.2.7/index.m3u8", "start": "on-demand", "record": "never"},
        "clip": {"url": "file:///srv/clip.mp4", "start": "on-demand", "record": "never"},
    }
    async with auth_gateway(tmp_path, **OFF, cameras=cameras) as client:
        assert (await add(client, url="http://127.0.0.1/index.m3u8", start="on-demand", record="never"))[0] == 201
        for url, word in (
            ("http://169.254.169.254/latest/meta-data/", "ALLOW_METADATA_ADDRESSES"),
            ("rtsp+http://169.254.169.254/stream", "ALLOW_METADATA_ADDRESSES"),
            ("file:///etc/passwd", "rtsp"),
            ("https://127.0.0.1/", "rtsp"),
        ):
            status, body = await add(client, url=url)
            assert (status, body["error"]) == (400, "bad_request"), url
            assert word in body["message"]


async def test_what_a_camera_refers_to_is_checked_also_for_a_configured_one(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path, **OFF) as client:
        assert client.app is not None
        gateway = client.app[GATEWAY]
        assert gateway._address_check("door") is None
        check = gateway._referred_check()
        assert check is not None
        with pytest.raises(CameraRefusedError, match="ALLOW_METADATA_ADDRESSES"):
            check(ipaddress.ip_address(METADATA))
    async with auth_gateway(tmp_path, **OFF, allow_metadata_addresses=True) as client:
        assert client.app is not None
        assert client.app[GATEWAY]._referred_check() is None


# --- names that resolve to another address later


NAME = "camera.test"
METADATA = "169.254.169.254"


def is_refused(client: Client) -> bool:
    """Whether the gateway did not connect to the camera, because of its address."""
    assert client.app is not None
    session = client.app[GATEWAY].service.camera("new").session
    return session.state is SessionState.RETRYING and "ALLOW_METADATA_ADDRESSES" in (session.error_message or "")


def is_live(client: Client) -> bool:
    assert client.app is not None
    return client.app[GATEWAY].service.camera("new").session.state is SessionState.LIVE


async def test_the_address_is_checked_at_each_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_rtsp_server: RtspServer
) -> None:
    resolver = Resolver(monkeypatch)
    resolver.addresses[NAME] = ["127.0.0.1"]
    url = own_rtsp_server.url("/video").replace("127.0.0.1", NAME)
    quick = {"connection_retry_delay": 0.05, "connection_retry_attempts": 1000, "record": "never", "start": "always"}
    async with auth_gateway(tmp_path, **OFF, cameras={}) as client:
        assert (await add(client, url=url, **quick))[0] == 201
        await eventually(lambda: is_live(client), "the camera is live")
        # The camera stops, and its name resolves to another address at the next connect.
        resolver.addresses[NAME] = [METADATA]
        await asyncio.to_thread(own_rtsp_server.restart)
        await eventually(lambda: is_refused(client), "the address is refused")
        resolver.addresses[NAME] = ["127.0.0.1"]
        await eventually(lambda: is_live(client), "the camera is live")
    # After a restart, one refused address of several is enough.
    resolver.addresses[NAME] = ["127.0.0.1", METADATA]
    async with auth_gateway(tmp_path, **OFF, cameras={}) as client:
        await eventually(lambda: is_refused(client), "the address is refused")
    # The setting allows it.
    resolver.addresses[NAME] = ["127.0.0.1"]
    async with auth_gateway(tmp_path, **OFF, cameras={}, allow_metadata_addresses=True) as client:
        assert client.app is not None
        assert client.app[GATEWAY]._address_check("new") is None


async def test_a_url_from_the_api_is_checked_also_for_a_configured_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)
    resolver.addresses[NAME] = ["127.0.0.1"]
    # Addresses in the configuration are not checked.
    cameras = {
        "new": {
            "url": f"rtsp://{NAME}:1/",
            "connection_retry_delay": 0.05,
            "connection_retry_attempts": 1000,
            "record": "never",
        }
    }
    async with auth_gateway(tmp_path, **OFF, cameras=cameras) as client:
        assert client.app is not None
        gateway = client.app[GATEWAY]
        assert gateway._address_check("new") is None
        async with client.patch("/api/cameras/new", json={"frame_rate": 3}) as answer:
            assert answer.status == 200
        assert gateway._address_check("new") is None
        async with client.patch("/api/cameras/new", json={"url": f"rtsp://{NAME}:2/"}) as answer:
            assert answer.status == 200
        resolver.addresses[NAME] = [METADATA]
        await eventually(lambda: is_refused(client), "the address is refused")
        async with client.patch("/api/cameras/new", json={"url": None}) as answer:
            assert answer.status == 200
        assert gateway._address_check("new") is None


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "fec0::1", "fe80::1"),
        *("::a9fe:a9fe", "::ffff:a9fe:a9fe", "::ffff:0:a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
        *(
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:77a9:fe:a9fe::",
            "64:ff9b:1::c0a8:105",
        ),
        *("2002:a9fe:a9fe::1", "2002:a9fe:a9fe:1:2:3:4:5"),
        *("2001:0:a9fe:a9fe::1", "2001:0:c000:201:0:0:5601:5601"),
        *("2001:db8::5efe:a9fe:a9fe", "2001:db8::200:5efe:a9fe:a9fe", "fd00::5efe:6464:64c8"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:a9fe:a9fe::1"),
        *("::ffff:0.0.0.0", "2002:e000:1::1", "64:ff9b::168.63.129.16"),
    ],
)
def test_an_address_that_is_no_camera_is_found_in_every_disguise(text: str) -> None:
    assert is_metadata(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "::1", "192.168.1.5", "10.0.0.1", "100.64.0.1", "fd00::5", "2001:db8::5", "::ffff:192.168.1.5"),
        *("64:ff9b::c0a8:105", "2002:c0a8:105::1", "fd00::5efe:c0a8:105"),
    ],
)
def test_an_address_of_a_camera_is_allowed(text: str) -> None:
    assert not is_metadata(ipaddress.ip_address(text))
