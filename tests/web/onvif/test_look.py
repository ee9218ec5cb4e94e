"""web.onvif.look, with the cameras of the tests: what a report has, and which streams it chooses."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.errors import CaptureError
from gateway.onvif.errors import OnvifError, OnvifLockedError, OnvifUnauthorizedError, OnvifUnreachableError
from gateway.rtsp.auth import Credentials
from tests.support.ipycam_camera import PASSWORD, USER, IPyCam
from tests.support.onvif_camera import OnvifCamera
from tests.support.rtsp import VIEWER, RtspServer
from web.onvif.client import Tries
from web.onvif.command import as_table
from web.onvif.look import Look, look_at_onvif, look_at_rtsp, own_stream_url, with_credentials
from web.onvif.multicast import multicast_search
from web.onvif.report import DeviceReport, DiscoveredDevice
from web.onvif.search import parse_targets, search

ROOT = Path(__file__).parents[3]


def look(user: str, password: str, tries: Tries | None = None, *, pictures: bool = True) -> Look:
    return Look(Credentials(user, password), tries or Tries(), None, {"dome-4"}, pictures)


async def test_streams_of_media2_are_at_the_devices_own_host_and_main_and_sub_are_chosen() -> None:
    with OnvifCamera() as camera:
        report = await look_at_onvif(camera.url, look(camera.user, camera.password, pictures=False))
    assert [(each.codec, each.width, each.frame_rate, each.bitrate_bps) for each in report.streams] == [
        ("h265", 2560, 25.0, 4_096_000),
        ("h264", 640, 15.0, 512_000),
    ]
    (found,) = report.cameras
    assert found.camera_id == "dome-4-2"  # dome-4 is taken
    assert found.url == "rtsp://127.0.0.1:554/main?a=1&b=2"
    assert found.sub_url == "rtsp://127.0.0.1:554/sub?a=1&b=2"
    assert (report.has_ptz, report.has_events, report.model) == (True, True, "Dome 4")


async def test_a_device_without_media2_or_with_a_broken_one_is_asked_by_media() -> None:
    with OnvifCamera() as camera:
        camera.has_media2 = False
        report = await look_at_onvif(camera.url, look(camera.user, camera.password, pictures=False))
    assert [(each.codec, each.width) for each in report.streams] == [("h264", 1920), ("h264", 640)]


async def test_a_stream_without_an_address_is_not_chosen() -> None:
    with OnvifCamera() as camera:
        camera.stream_urls = {"main": "http://10.0.0.1/main"}
        report = await look_at_onvif(camera.url, look(camera.user, camera.password, pictures=False))
    assert [(each.url != "", each.problem is None) for each in report.streams] == [(False, False), (True, True)]
    assert [(each.url, each.sub_url) for each in report.cameras] == [("rtsp://127.0.0.1:554/sub?a=1&b=2", None)]


async def test_a_sub_stream_that_the_camera_refuses_is_not_chosen(rtsp_server: RtspServer) -> None:
    with OnvifCamera(*VIEWER) as camera:
        at = f"rtsp://10.0.0.1:{rtsp_server.guarded_port}"
        camera.stream_urls = {"main": f"{at}/cam", "sub": f"{at}/missing"}
        report = await look_at_onvif(camera.url, look(*VIEWER))
    assert "404" in (report.streams[1].problem or "")
    assert [(each.url.endswith("/cam"), each.sub_url) for each in report.cameras] == [(True, None)]


async def test_the_report_comes_however_slow_the_device_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.onvif.look.STREAMS_S", 0.1)
    with OnvifCamera() as camera:
        camera.delays_s["GetStreamUri"] = 0.4
        report = await look_at_onvif(camera.url, look(camera.user, camera.password, pictures=False))
        assert [each.problem for each in report.streams] == [
            "the device took too long for the addresses of all its streams"
        ] * 2
        monkeypatch.setattr("web.onvif.look.ASK_S", 0.1)
        camera.delays_s["GetDeviceInformation"] = 0.4
        with pytest.raises(OnvifUnreachableError, match="too slowly"):
            await look_at_onvif(camera.url, look(camera.user, camera.password, pictures=False))


async def test_a_picture_is_one_keyframe_where_the_snapshot_is_none(rtsp_server: RtspServer) -> None:
    with OnvifCamera(*VIEWER) as camera:
        camera.stream_url = f"rtsp://10.0.0.1:{rtsp_server.guarded_port}/cam"
        report = await look_at_onvif(camera.url, look(*VIEWER))
    for stream in report.streams:
        assert stream.picture is not None, stream.problem
        assert base64.b64decode(stream.picture).startswith(b"\xff\xd8")
        assert (stream.codec, stream.problem) == ("h264", None)
    assert VIEWER[1] not in report.model_dump_json()


async def test_a_password_that_rtsp_refuses_is_tried_there_once(rtsp_server: RtspServer) -> None:
    tries = Tries()
    with OnvifCamera("admin", "other") as camera:
        camera.stream_url = f"rtsp://10.0.0.1:{rtsp_server.guarded_port}/cam"
        report = await look_at_onvif(camera.url, look("admin", "other", tries))
    assert [each.picture for each in report.streams] == [None, None]
    assert "refuses" in (report.streams[0].problem or "")
    with pytest.raises(OnvifUnauthorizedError):
        tries.passwords.check("127.0.0.1", Credentials("admin", "other"), tries.clock.monotonic())


@pytest.mark.parametrize("written", ["", "file:///etc/passwd", "http://10.0.0.1/x", "rtsp://", "rtmp://h/x"])
def test_an_address_that_is_no_stream_is_refused(written: str) -> None:
    with pytest.raises((OnvifError, CaptureError)):
        own_stream_url(written, "192.0.2.7")


def test_credentials_of_any_characters_survive_in_an_address() -> None:
    url = with_credentials("rtsp://192.0.2.7/a?b=1", Credentials("a@b:c/", "p?#%20"))
    assert url == "rtsp://a%40b%3Ac%2F:p%3F%23%2520@192.0.2.7/a?b=1"
    assert own_stream_url("rtsp://u:p@evil.example:8554/a", "192.0.2.7") == "rtsp://192.0.2.7:8554/a"


# --- a camera that somebody else wrote


async def test_ipycam_is_found_by_multicast_and_by_its_address(ipycam: IPyCam) -> None:
    found = await multicast_search(1.0, None)
    mine = [each for each in found if each.onvif_url is not None and urlsplit(each.onvif_url).port == ipycam.port]
    assert mine[0].name == "Yard 1"
    at_address = await search(parse_targets([f"127.0.0.1:{ipycam.port}"]), multicast_s=0, check=None, tries=Tries())
    assert [each.onvif_url for each in at_address.devices] == [ipycam.url]


async def test_ipycam_is_looked_at_with_pictures(ipycam: IPyCam) -> None:
    report = await look_at_onvif(ipycam.url, look(USER, PASSWORD))
    assert [(each.codec, each.width, each.height) for each in report.streams] == [
        ("h264", 640, 360),
        ("h264", 320, 180),
    ]
    assert all(base64.b64decode(each.picture or "").startswith(b"\xff\xd8") for each in report.streams)
    assert report.has_ptz
    assert not report.has_events
    (camera,) = report.cameras
    assert (camera.sub_url or "").endswith("/video_sub")


def test_the_command_tells_of_ipycam_in_json_and_in_a_table(ipycam: IPyCam, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "web", "discover", f"127.0.0.1:{ipycam.port}", "--user", USER, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CAMERA_PASSWORD": PASSWORD},
    )
    assert PASSWORD not in done.stdout + done.stderr
    (told,) = json.loads(done.stdout)["devices"]
    report = DeviceReport.model_validate(told["report"])
    assert report.model == "VirtualCam-1"
    device = DiscoveredDevice.model_validate({**told, "camera_ids": []})
    lines = list(as_table([device], {ipycam.url: report}, is_complete=True))
    assert "    [cameras.virtualcam-1]" in lines
    assert f'    onvif_url = "http://USER:PASSWORD@127.0.0.1:{ipycam.port}/onvif/device_service"' in lines


class GuardedRtsp:
    """A camera of TP-Link's addresses behind Digest, which hangs up after each 404."""

    user = ("admin", "right")

    def __init__(self) -> None:
        self.refused = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        challenge = 'WWW-Authenticate: Digest realm="cam", nonce="n1"\r\n'
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, uri, _ = head.split(" ", 2)
                cseq = re.findall(r"CSeq: (\d+)", head)[0]
                given = re.findall(r'response="(\w+)"', head)
                status, extra = "401 Unauthorized", challenge
                if given and given[0] != self._right(method, uri):
                    self.refused += 1
                elif given:
                    has = urlsplit(uri).path in ("/stream1", "/stream2")
                    status, extra = ("200 OK" if has else "404 Not Found"), ""
                writer.write(f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{extra}\r\n".encode())
                await writer.drain()
                if "404" in status:
                    break
        writer.close()

    def _right(self, method: str, uri: str) -> str:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        return md5(f"{md5(f'{self.user[0]}:cam:{self.user[1]}')}:n1:{md5(f'{method}:{uri}')}")


@pytest.fixture
async def guarded_rtsp() -> AsyncIterator[GuardedRtsp]:
    camera = GuardedRtsp()
    server = await asyncio.start_server(camera.serve, "127.0.0.1", 0)
    async with server:
        camera.port = server.sockets[0].getsockname()[1]
        yield camera


class TestWithoutOnvif:
    """Cameras with RTSP alone, by the addresses of makers."""

    async def test_the_maker_is_found_by_the_streams_that_the_camera_has(self, rtsp_server: RtspServer) -> None:
        # GStreamer's server has no address of a maker.
        with pytest.raises(OnvifError, match="none of the RTSP addresses"):
            await look_at_rtsp("127.0.0.1", rtsp_server.port, look(*VIEWER))

    async def test_a_refused_password_is_tried_once(self, guarded_rtsp: GuardedRtsp) -> None:
        tries = Tries()
        for _ in range(3):
            with pytest.raises(OnvifUnauthorizedError):
                await look_at_rtsp("127.0.0.1", guarded_rtsp.port, look("admin", "wrong", tries))
        assert guarded_rtsp.refused == 1
        with pytest.raises(OnvifUnauthorizedError):
            await look_at_rtsp("127.0.0.1", guarded_rtsp.port, look("admin", "wronger", tries))
        with pytest.raises(OnvifLockedError):
            await look_at_rtsp("127.0.0.1", guarded_rtsp.port, look(*guarded_rtsp.user, tries))
        assert guarded_rtsp.refused == 2

    async def test_main_and_sub_of_the_first_maker_that_fits_are_told(self, guarded_rtsp: GuardedRtsp) -> None:
        report = await look_at_rtsp("127.0.0.1", guarded_rtsp.port, look(*guarded_rtsp.user, pictures=False))
        assert report.manufacturer.startswith("TP-Link")
        (camera,) = report.cameras
        assert camera.url == f"rtsp://127.0.0.1:{guarded_rtsp.port}/stream1"
        assert camera.sub_url == f"rtsp://127.0.0.1:{guarded_rtsp.port}/stream2"
