"""The clip and the picture of an event, on real recordings."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from gateway.clock import CLOCK_RATE
from tests.support.auth_gateway import Client
from tests.support.ffprobe import decode, ffprobe
from tests.support.partial_app import app_with_routes
from tests.support.recording import index_of, record
from tests.support.serving import GatewayServer
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.api.routes import downloads, event_media, events
from web.gateway import Gateway
from web.settings import load_settings


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """10 s of recordings from 18:50:00 on, in files of 2 s. The gate: 3 s, and 3 s in another size."""
    recordings = record(tmp_path, encode(EncoderSettings(seconds=10)), segment_s=2)
    for run, (width, height) in enumerate(((160, 120), (320, 240))):
        packets = encode(EncoderSettings(seconds=3, width=width, height=height), START_90K + run * 3 * CLOCK_RATE, run)
        recordings += record(tmp_path, packets, "gate")
    index_of(tmp_path, recordings).close()
    cameras = {name: {"url": "rtsp://127.0.0.1:9/"} for name in ("door", "gate")}
    cameras["yard"] = {"url": "rtsp://127.0.0.1:9/y", "record": "never"}
    loaded = load_settings(data_dir=tmp_path, cameras=cameras, archive_min_free_bytes=0, start="on-demand")
    gateway = Gateway(loaded)
    app = app_with_routes(gateway, events, event_media, downloads)

    async def lifetime(_: Any) -> AsyncIterator[None]:
        await gateway.archive.start()
        await gateway.events.start()
        yield
        await gateway.events.close()
        await gateway.archive.close()
        gateway.archive_reader.close()

    app.cleanup_ctx.append(lifetime)
    async with TestClient(GatewayServer(app)) as made:
        yield made


async def create(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/api/events", json={"camera_id": "door", "label": "ring"} | fields)
    assert answer.status == 201, await answer.text()
    event: dict[str, Any] = await answer.json()
    return event


@pytest.mark.integration
async def test_an_event_has_a_clip_and_a_picture(client: Client, tmp_path: Path) -> None:
    event = await create(client, start="2026-11-22T18:50:04Z", duration_s=1.5)
    answer = await client.get(event["clip"], params={"pre_roll": "2", "post_roll": "0.5"})
    assert (answer.status, answer.content_type) == (200, "video/mp4")
    file = tmp_path / "clip.mp4"
    file.write_bytes(await answer.read())
    assert decode(file) == ""
    assert float(ffprobe(file)["format"]["duration"]) == pytest.approx(4, abs=0.1)
    assert (await client.get(event["clip"], headers={"Range": "bytes=0-9"})).status == 206
    answer = await client.get(event["thumbnail"], params={"width": "160"})
    assert (answer.status, (await answer.read())[:2]) == (200, b"\xff\xd8")
    for query in ("pre_roll=-1", "post_roll=601", "pre_roll=nan", "post_roll=x"):
        assert (await client.get(f"{event['clip']}?{query}")).status == 400


@pytest.mark.integration
async def test_a_clip_over_a_change_of_size_is_refused_with_its_time_and_that_of_an_event_has_most_of_it(
    client: Client, tmp_path: Path
) -> None:
    span = {"start": "2026-11-22T18:50:00Z", "end": "2026-11-22T18:50:06Z"}
    answer = await client.get("/api/cameras/gate/clip.mp4", params=span)
    error = await answer.json()
    assert (answer.status, error["error"], error["reason"]) == (409, "conflict", "clip_format_changes")
    assert error["values"] == {"at": "2026-11-22T18:50:03.000Z"}
    event = await create(client, camera_id="gate", start="2026-11-22T18:50:02.5Z", duration_s=2)
    for path, params, width in (
        ("/api/cameras/gate/clip.mp4", span | {"end": error["values"]["at"]}, 160),
        ("/api/cameras/gate/clip.mp4", span | {"start": error["values"]["at"]}, 320),
        (event["clip"], {"pre_roll": "9", "post_roll": "9"}, 320),
    ):
        answer = await client.get(path, params=params)
        assert answer.status == 200, await answer.text()
        (tmp_path / "clip.mp4").write_bytes(await answer.read())
        (stream,) = ffprobe(tmp_path / "clip.mp4", "-count_frames")["streams"]
        assert (stream["width"], stream["nb_read_frames"]) == (width, "30")


async def test_what_is_not_on_the_disk_yet_is_425_and_what_will_never_be_404(client: Client) -> None:
    open_one = await create(client)
    ending = await create(client, end="now")
    for url in (open_one["clip"], ending["clip"], ending["thumbnail"]):
        answer = await client.get(url)
        assert (answer.status, (await answer.json())["error"]) == (425, "not_ready")
        assert 1 <= int(answer.headers["Retry-After"]) <= 6
    before = await create(client, start="2026-11-22T18:50:04Z")
    answer = await client.get(before["clip"])
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    long_ago = await create(client, start="2026-11-22T17:00:00Z", duration_s=0)
    never = await create(client, camera_id="yard", end="now")
    for event in (long_ago, never):
        assert (await client.get(event["clip"])).status == 404
        assert (await client.get(event["thumbnail"])).status == 404
    assert (await client.get("/api/events/none/clip.mp4")).status == 404
