"""Main and sub stream as variants of one multivariant playlist, with a real RTSP server and over HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings
from gateway.session import SessionState
from hls.mp4.boxes import parse_boxes
from hls.mp4.fragments import AUDIO_TRACK_ID, VIDEO_TRACK_ID
from hls.mp4.init_segment import read_tracks
from hls.mp4.moof import parse_runs
from tests.hls.live.llhls_rules import attributes, check, parse
from tests.support.eventually import eventually
from tests.support.hls_server import SOURCE_ENGINE, HlsServer, hls_server
from tests.support.rtsp import RtspServer

pytestmark = pytest.mark.integration


@asynccontextmanager
async def site(rtsp_server: RtspServer, **table: Any) -> AsyncIterator[tuple[HlsServer, aiohttp.ClientSession]]:
    base = {"url": rtsp_server.url("/large"), "sub_url": rtsp_server.url("/gop1"), "record": "never"}
    cameras = {"door": CameraSettings.model_validate({**base, "capture_linger": 0.2, **table})}
    async with hls_server(cameras) as server, aiohttp.ClientSession() as http:
        yield server, http


async def get(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


def variants(text: str) -> dict[str, dict[str, str]]:
    found = re.findall(r"#EXT-X-STREAM-INF:(.*)\n(.*)\n", text)
    return {uri: attributes(value) for value, uri in found}


async def test_both_streams_are_variants_that_report_each_other(rtsp_server: RtspServer) -> None:
    async with site(rtsp_server) as (server, http):
        base = f"{server.url}/hls/door/"
        found = variants(await get(http, f"{base}index.m3u8"))
        assert list(found) == ["live.m3u8", "sub/live.m3u8"]
        assert [each["RESOLUTION"] for each in found.values()] == ["640x480", "320x240"]
        assert all(abs(float(each["FRAME-RATE"]) - 25) < 0.5 for each in found.values())
        assert all(int(each["BANDWIDTH"]) >= int(each["AVERAGE-BANDWIDTH"]) > 0 for each in found.values())
        playlists = {uri: parse(await get(http, base + uri)) for uri in found}
        for uri, playlist in playlists.items():
            check(playlist)
            (report,) = playlist.reports
            other = "sub/live.m3u8" if uri == "live.m3u8" else "../live.m3u8"
            assert report["URI"] == other
            # A blocking reload with the report's numbers is answered at once.
            directives = f"?_HLS_msn={report['LAST-MSN']}&_HLS_part={report['LAST-PART']}"
            async with asyncio.timeout(20):
                await get(http, f"{base}{'live.m3u8' if other.startswith('..') else other}{directives}")
            part = playlist.segments[-1].parts[0].uri
            async with http.get(base + uri.replace("live.m3u8", "") + part) as answer:
                assert answer.status == 200
        assert len({playlist.target for playlist in playlists.values()}) == 1, "RFC 8216 §6.2.4"
        # The dates are those of one clock: the newest parts of both are of the same moment.
        ends = [edge_of(playlist) for playlist in playlists.values()]
        assert abs(ends[0] - ends[1]) < 1


def edge_of(playlist: Any) -> float:
    last = playlist.segments[-1]
    assert isinstance(last.date, datetime)
    return last.date.timestamp() + sum(part.duration for part in last.parts)


async def test_a_sub_stream_is_captured_only_while_its_playlist_is_requested(rtsp_server: RtspServer) -> None:
    async with site(rtsp_server, start="always") as (server, http):
        base = f"{server.url}/hls/door/"
        camera = server.service.camera("door")
        sub = server.live.stream("door", camera.sub.name) if camera.sub else None
        assert sub is not None
        first = variants(await get(http, f"{base}index.m3u8"))
        sub._release()  # as HOLD_S after the last request
        await eventually(lambda: sub.rendition.session.state is SessionState.STOPPED, "the sub stream is not captured")
        assert variants(await get(http, f"{base}index.m3u8")).keys() == first.keys()
        await get(http, f"{base}live.m3u8")
        assert sub.rendition.session.state is SessionState.STOPPED
        assert camera.session.state is SessionState.LIVE
        await get(http, f"{base}sub/live.m3u8")
        await eventually(lambda: sub.rendition.session.state is SessionState.LIVE, "the sub stream is captured")
        assert dict(sub.rendition.viewers) == {"hls": 1}


async def test_a_sub_stream_that_cannot_be_captured_leaves_the_main_stream_alone(
    rtsp_server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.live.multivariant.SUB_READY_S", 0.3)
    async with site(rtsp_server, sub_url=rtsp_server.url("/none"), start="always") as (server, http):
        base = f"{server.url}/hls/door/"
        for _ in range(2):
            assert list(variants(await get(http, f"{base}index.m3u8"))) == ["live.m3u8"]
        assert "RENDITION-REPORT" not in await get(http, f"{base}live.m3u8")
        assert server.service.camera("door").session.state is SessionState.LIVE


async def test_after_a_change_of_its_url_the_sub_stream_is_what_it_is_now(rtsp_server: RtspServer) -> None:
    async with site(rtsp_server, sub_url=rtsp_server.url("/large")) as (server, http):
        index = f"{server.url}/hls/door/index.m3u8"
        assert [each["RESOLUTION"] for each in variants(await get(http, index)).values()] == ["640x480"] * 2
        camera = server.service.camera("door")
        changed = camera.settings.model_copy(update={"sub_url": SecretStr(rtsp_server.url("/gop1"))})
        server.service.change_camera("door", changed)
        assert [each["RESOLUTION"] for each in variants(await get(http, index)).values()] == ["640x480", "320x240"]


async def test_a_camera_without_a_sub_stream_has_one_variant(rtsp_server: RtspServer) -> None:
    async with site(rtsp_server, sub_url=None) as (server, http):
        base = f"{server.url}/hls/door/"
        assert list(variants(await get(http, f"{base}index.m3u8"))) == ["live.m3u8"]
        assert "RENDITION-REPORT" not in await get(http, f"{base}live.m3u8")
        async with http.get(f"{base}sub/live.m3u8") as answer:
            assert answer.status == 404
            assert "sub_url" in (await answer.json())["message"]


async def test_while_the_main_stream_is_lost_new_players_get_the_sub_stream_and_both_when_it_is_back(
    rtsp_server: RtspServer, own_rtsp_server: RtspServer
) -> None:
    table = {"connection_retry_delay": 0.1, "connection_retry_attempts": 1000, "url": own_rtsp_server.url("/large")}
    async with site(rtsp_server, **table) as (server, http):
        index = f"{server.url}/hls/door/index.m3u8"
        assert list(variants(await get(http, index))) == ["live.m3u8", "sub/live.m3u8"]
        camera = server.service.camera("door")
        await asyncio.to_thread(own_rtsp_server.kill)
        await eventually(lambda: camera.main.is_lost, "the main stream is lost")
        assert list(variants(await get(http, index))) == ["sub/live.m3u8"]
        playlist = parse(await get(http, f"{server.url}/hls/door/sub/live.m3u8"))
        check(playlist)
        await asyncio.to_thread(own_rtsp_server.restart)
        await eventually(lambda: camera.main.has_pictures, "the main stream is back")
        assert list(variants(await get(http, index))) == ["live.m3u8", "sub/live.m3u8"]


async def test_a_main_stream_that_hls_cannot_have_or_that_never_comes_leaves_the_sub_stream(
    rtsp_server: RtspServer,
) -> None:
    for mount in ("/mjpeg", "/none"):
        table = {"url": rtsp_server.url(mount), "start": "on-demand", "connection_retry_attempts": 0}
        async with site(rtsp_server, **table) as (server, http):
            assert list(variants(await get(http, f"{server.url}/hls/door/index.m3u8"))) == ["sub/live.m3u8"], mount


async def test_a_camera_both_of_whose_streams_fail_is_refused_with_the_reason(rtsp_server: RtspServer) -> None:
    none = rtsp_server.url("/none")
    async with (
        site(rtsp_server, url=none, sub_url=none, start="on-demand", connection_retry_attempts=0) as (server, http),
        http.get(f"{server.url}/hls/door/index.m3u8") as answer,
    ):
        assert answer.status == 503
        assert "404" in (await answer.json())["message"]


async def test_one_stream_alone_may_be_asked_for(rtsp_server: RtspServer) -> None:
    async with site(rtsp_server) as (server, http):
        base = f"{server.url}/hls/door/"
        assert list(variants(await get(http, f"{base}index.m3u8?rendition=sub"))) == ["sub/live.m3u8"]
        assert list(variants(await get(http, f"{base}index.m3u8?rendition=main"))) == ["live.m3u8"]


@pytest.mark.parametrize("loud", ["url", "sub_url"])
async def test_a_stream_without_sound_has_silence_beside_one_with_sound(loud: str) -> None:
    urls = {"url": "packets://gop=15", "sub_url": "packets://gop=15,width=320,height=180"}
    table = {**urls, loud: f"{urls[loud]},audio=aac", "capture_engine": SOURCE_ENGINE, "record": "always"}
    cameras = {"door": CameraSettings.model_validate({**table, "capture_linger": 0.2})}
    async with hls_server(cameras) as server, aiohttp.ClientSession() as http:
        base = f"{server.url}/hls/door/"
        camera = server.service.camera("door")
        await eventually(lambda: _is_captured(camera), "the main stream is captured, before there is a player")
        found = variants(await get(http, f"{base}index.m3u8"))
        assert [each["CODECS"].split(",")[1:] for each in found.values()] == [["mp4a.40.2"]] * 2
        for uri in found:
            playlist = await get(http, base + uri)
            # No segment of the playlist is without sound: a player may begin anywhere.
            inits = set(re.findall(r'EXT-X-MAP:URI="(.*?)"', playlist))
            segments = re.findall(r"^segment.*$", playlist, re.MULTILINE)
            folder = base + uri.rpartition("/")[0] + "/" if "/" in uri else base
            for init in inits:
                async with http.get(folder + init) as answer:
                    assert set(read_tracks(await answer.read())) == {VIDEO_TRACK_ID, AUDIO_TRACK_ID}
            async with http.get(folder + segments[-1]) as answer:
                media = await answer.read()
            seconds = dict.fromkeys((VIDEO_TRACK_ID, AUDIO_TRACK_ID), 0.0)
            for box in parse_boxes(media):
                for run in parse_runs(media[box.offset : box.end]) if box.kind == b"moof" else ():
                    rate = 48_000 if run.track_id == AUDIO_TRACK_ID else 90_000
                    seconds[run.track_id] += sum(duration for duration, *_ in run.samples) / rate
            assert seconds[AUDIO_TRACK_ID] == pytest.approx(seconds[VIDEO_TRACK_ID], abs=0.1)


async def _is_captured(camera: Camera) -> bool:
    return camera.hub.info is not None
