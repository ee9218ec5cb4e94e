"""A real camera that is recorded on events: from the event to its clip, with both engines, and over a crash."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.support.eventually import eventually
from tests.support.ffprobe import decode, ffprobe
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import RtspServer

CAMERAS = """
record = "events"
pre_roll = 1
post_roll = 0.5

[cameras.rtsp]
url = "{url}"
engine = "rtsp"

[cameras.pyav]
url = "{url}"
engine = "pyav"
"""


def configured(folder: Path, url: str) -> GatewayProcess:
    path = folder / "liveedge.toml"
    path.write_text(CAMERAS.format(url=url))
    return GatewayProcess(folder, LIVEEDGE_CONFIG=path)


async def create(http: ClientSession, **fields: Any) -> dict[str, Any]:
    async with http.post("/api/events", json={"label": "ring"} | fields) as answer:
        assert answer.status == 201, await answer.text()
        event: dict[str, Any] = await answer.json()
        return event


async def clip_of(http: ClientSession, event: dict[str, Any], file: Path) -> None:
    """Get the clip as soon as it is ready, as ``Retry-After`` says."""
    for _ in range(20):
        async with http.get(event["clip"]) as answer:
            if answer.status == 200:
                file.write_bytes(await answer.read())
                return
            assert answer.status == 425, await answer.text()
            await asyncio.sleep(int(answer.headers["Retry-After"]))
    raise AssertionError("no clip")


async def test_a_ring_has_a_clip_with_what_was_before_and_nothing_else_is_on_the_disk(
    rtsp_server: RtspServer, tmp_path: Path
) -> None:
    with configured(tmp_path, rtsp_server.url("/gop1")) as gateway:
        async with ClientSession(gateway.url) as http:
            for camera_id in ("rtsp", "pyav"):
                await eventually(partial(_has, http, camera_id, 2.0), "the last seconds are in memory")
            assert list((tmp_path / "data").rglob("*.mp4")) == []
            events = [await create(http, camera_id=each, duration_s=0) for each in ("rtsp", "pyav")]
            files = [tmp_path / f"{each['camera_id']}.mp4" for each in events]
            await asyncio.gather(*map(clip_of, [http] * 2, events, files))
            for event, file in zip(events, files, strict=True):
                assert decode(file) == ""
                assert float(ffprobe(file)["format"]["duration"]) == pytest.approx(1.5, abs=0.15)
                async with http.get(event["thumbnail"]) as answer:
                    assert (answer.status, answer.content_type) == (200, "image/jpeg")
                async with http.get(f"/api/cameras/{event['camera_id']}/segments") as answer:
                    (segment,) = (await answer.json())["segments"]
                assert segment["start"] <= event["start"]
                assert 1.5 <= segment["duration_s"] < 4.5
            assert not (await _status(http, "rtsp"))["is_recording"]


async def test_a_crash_in_an_open_event_loses_half_a_second_and_the_next_start_goes_on(
    rtsp_server: RtspServer, tmp_path: Path
) -> None:
    gateway = configured(tmp_path, rtsp_server.url("/large"))
    with gateway:
        async with ClientSession(gateway.url) as http:
            await eventually(lambda: _has(http, "rtsp", 1.5), "the last seconds are in memory")
            event = await create(http, camera_id="rtsp")
            await asyncio.sleep(1)
            killed_s = time.time()
            gateway.kill()
        gateway.start()
        async with ClientSession(gateway.url) as http:

            async def segments() -> list[dict[str, Any]]:
                async with http.get("/api/cameras/rtsp/segments") as answer:
                    found: list[dict[str, Any]] = (await answer.json())["segments"]
                    return found if len(found) == 2 else []

            first, second = await eventually(segments, "the open event is recorded again")
            assert first["end_reason"] == "crashed"
            async with http.get(f"/api/cameras/rtsp/segments/at?time={killed_s - 0.6:.3f}") as answer:
                assert answer.status == 200, await answer.text()
            async with http.patch(f"/api/events/{event['id']}", json={"end": "now"}) as answer:
                assert answer.status == 200
            await clip_of(http, event, tmp_path / "clip.mp4")
            assert decode(tmp_path / "clip.mp4") == ""
            assert second["start"] > first["start"]


async def _status(http: ClientSession, camera_id: str) -> dict[str, Any]:
    async with http.get("/api/status") as answer:
        status: dict[str, Any] = (await answer.json())["archive"]["cameras"][camera_id]
        return status


async def _has(http: ClientSession, camera_id: str, seconds: float) -> bool:
    held: float = (await _status(http, camera_id))["pre_roll"]["seconds"]
    return held >= seconds
