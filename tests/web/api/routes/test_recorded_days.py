"""The days that have recordings, over HTTP, in the time zone of the viewer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.eventually import eventually
from tests.support.recording import index_of, record
from tests.support.serving import GatewayServer
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from tests.web.api.routes.test_archive import Client, gateway
from web.gateway import GATEWAY

URL = "/api/cameras/door/days"
DAY_90K = 86_400 * CLOCK_RATE
HOUR_90K = 3600 * CLOCK_RATE


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """Files on 22 November at 18:50 UTC, over midnight to the 24th, and of the sub stream alone on the 26th."""
    numbers = SequenceNumbers()
    recordings = record(tmp_path, encode(EncoderSettings(seconds=4)), numbers=numbers)
    midnight_90k = START_90K // DAY_90K * DAY_90K + 2 * DAY_90K
    over = encode(EncoderSettings(seconds=6), midnight_90k - 3 * CLOCK_RATE, run=2)
    recordings += record(tmp_path, over, segment_s=86_400, numbers=numbers)
    sub = encode(EncoderSettings(seconds=4), midnight_90k + 2 * DAY_90K + 12 * HOUR_90K, run=3)
    recordings += record(tmp_path, sub, rendition=RenditionName.SUB)
    index_of(tmp_path, recordings).close()
    async with TestClient(GatewayServer(gateway(tmp_path))) as made:
        yield made


async def days(client: Client, query: str, status: int = 200) -> list[int] | str:
    answer = await client.get(f"{URL}?{query}")
    body = await answer.json()
    assert answer.status == status, body
    return [int(day[-2:]) for day in body["days"]] if status == 200 else str(body["message"])


async def test_days_are_those_of_the_viewers_time_zone(client: Client) -> None:
    november = "first=2026-11-01&last=2026-11-30"
    assert await days(client, november) == [22, 23, 24, 26]
    # 18:50 UTC is the next morning in Seoul, and so is midnight; in New York all of it is the evening before.
    assert await days(client, f"{november}&zone=Asia/Seoul") == [23, 24, 26]
    assert await days(client, f"{november}&zone=America/New_York") == [22, 23, 26]
    assert await days(client, "first=2026-11-24&last=2026-11-24") == [24]
    assert await days(client, "first=2026-11-25&last=2026-11-25") == []


async def test_what_is_being_recorded_counts(client: Client) -> None:
    hub = client.app[GATEWAY].service.camera("door").hub
    for packet in encode(EncoderSettings(seconds=2), START_90K + 6 * DAY_90K, run=4):
        hub.publish(packet)
    archive = client.app[GATEWAY].archive
    await eventually(lambda: archive.live_position("door") is not None, "the segment is being written")
    assert await days(client, "first=2026-11-27&last=2026-11-30") == [28]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "first"),
        ("first=2026-11-01", "last"),
        ("first=20261101&last=2026-11-30", "first"),
        ("first=2026-11-30&last=2026-11-01", "fewer days"),
        ("first=2024-11-30&last=2026-11-01", "fewer days"),
        ("first=9999-12-30&last=9999-12-31", "no clock"),
        ("first=2026-11-01&last=2026-11-30&zone=Seoul", "IANA"),
        ("first=2026-11-01&last=2026-11-30&zone=../../etc/passwd", "IANA"),
        ("first=2026-11-01&last=2026-11-30&zone=Asia", "IANA"),
    ],
)
async def test_errors(client: Client, query: str, text: str) -> None:
    assert text in await days(client, query, 400)


async def test_an_unknown_camera(client: Client) -> None:
    assert (await client.get("/api/cameras/none/days?first=2026-11-01&last=2026-11-02")).status == 404
