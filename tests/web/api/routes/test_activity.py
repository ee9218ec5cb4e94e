"""Activity over HTTP, on real files: of a time range, and the next period."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.busy import with_sizes
from tests.support.index_tables import drop_tables
from tests.support.partial_app import app_with_routes
from tests.support.recording import index_of, record
from tests.support.serving import GatewayServer
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from tests.web.api.routes.test_archive import Client, settings_of
from web.api.routes import activity
from web.gateway import GATEWAY, Gateway

URL = "/api/cameras/door/activity"
MINUTE = "start=2026-11-22T18:50:00Z&end=2026-11-22T18:51:00Z"


async def answer_of(client: Client, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.json()


def _busy(second: float) -> bool:
    return 20 <= second < 23 or 25 <= second < 27 or 40 <= second < 42


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of the main stream with two periods of activity, and one of the sub stream alone with two more."""
    data_dir = tmp_path_factory.mktemp("recorded")
    stream = EncoderSettings(seconds=60, gop=20)
    recordings = record(data_dir, with_sizes(encode(stream), _busy), segment_s=20, numbers=SequenceNumbers())
    later = with_sizes(encode(EncoderSettings(seconds=60, gop=20), START_90K + 90 * CLOCK_RATE), _busy)
    recordings += record(data_dir, later, rendition=RenditionName.SUB)
    index_of(data_dir, recordings).close()
    return data_dir


@asynccontextmanager
async def served(recorded: Path, url: str | None = None) -> AsyncIterator[Client]:
    server = app_with_routes(Gateway(settings_of(recorded, database_url=url)), activity)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        await app[GATEWAY].archive.start()
        yield
        if url is not None:
            await app[GATEWAY].archive.index.call(drop_tables)
        await app[GATEWAY].archive.close()

    server.cleanup_ctx.append(lifetime)
    async with TestClient(GatewayServer(server)) as made:
        yield made


@pytest.fixture
async def client(recorded: Path) -> AsyncIterator[Client]:
    async with served(recorded) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
async def any_client(recorded: Path, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """With the index that the recordings were written to, or one in PostgreSQL that recovery has filled."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    async with served(recorded, url) as made:
        yield made


async def test_the_activity_of_a_minute(any_client: Client) -> None:
    answer = await answer_of(any_client, f"{URL}?{MINUTE}")
    assert (answer["start"], answer["step_s"]) == ("2026-11-22T18:50:00.000Z", 1)
    scores = answer["activity"]
    assert len(scores) == len(answer["sound_db"]) == 60
    assert scores[0] is None
    assert scores[19] == 0
    assert min(scores[20], scores[26], scores[41]) > 0.5
    assert answer["sound_db"] == [None] * 60
    # The largest of a step remains, and steps begin at multiples of their length.
    answer = await answer_of(any_client, f"{URL}?start=2026-11-22T18:50:07Z&end=2026-11-22T18:51:00Z&step=30")
    assert answer["start"] == "2026-11-22T18:50:00.000Z"
    assert answer["activity"] == [max(filter(None, scores[:30])), max(scores[30:])]


async def test_without_a_rendition_the_sub_stream_has_what_the_main_stream_has_not(any_client: Client) -> None:
    span = "start=2026-11-22T18:50:00Z&end=2026-11-22T18:53:00Z&step=60"
    both, main, sub = [
        (await answer_of(any_client, f"{URL}?{span}&rendition={name}"))["activity"] for name in ("auto", "main", "sub")
    ]
    assert main[2] is None
    assert sub[0] is None
    assert both == [main[0], sub[1], sub[2]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("time=2026-11-22T18:50:00Z", "18:50:20"),
        ("time=2026-11-22T18:50:19.5Z", "18:50:40"),  # it is shown already
        ("time=2026-11-22T18:50:21Z", "18:50:40"),
        ("time=2026-11-22T18:50:50Z", "18:51:50"),  # of the sub stream
        ("time=2026-11-22T18:51:00Z&direction=previous", "18:50:40"),
        ("time=2026-11-22T18:50:43Z&direction=previous", "18:50:20"),
        ("time=2026-11-29T18:00:00Z&direction=previous", "18:52:10"),  # a week later
    ],
)
async def test_the_next_period_of_activity(client: Client, query: str, found: str) -> None:
    period = await answer_of(client, f"{URL}/next?{query}")
    assert period["start"] == f"2026-11-22T{found}.000Z"
    assert period["activity"] > 0.5


async def test_a_pause_is_in_a_period(any_client: Client) -> None:
    period = await answer_of(any_client, f"{URL}/next?time=2026-11-22T18:50:00Z")
    assert period["end"] == "2026-11-22T18:50:27.000Z"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (f"{URL}?start=2026-11-22T18:50:00Z&end=2026-11-23T18:50:00Z&step=1", 400, "larger step"),
        (f"{URL}?start=2025-11-22T18:50:00Z&end=2026-11-23T18:50:00Z", 400, "92 days"),
        (f"{URL}?step=0", 400, "step"),
        (f"{URL}?step=1.5", 400, "step"),
        (f"{URL}?start=yesterday", 400, "start"),
        (f"{URL}/next", 400, "time"),
        (f"{URL}/next?time=now&direction=up", 400, "next or previous"),
        (f"{URL}/next?time=now&threshold=nan", 400, "threshold"),
        (f"{URL}/next?time=now&threshold=2", 400, "threshold"),
        (f"{URL}/next?time=now", 404, "31 days"),
        (f"{URL}/next?time=0&direction=previous", 404, "31 days"),
        ("/api/cameras/none/activity", 404, "no camera"),
        ("/api/cameras/none/activity/next?time=now", 404, "no camera"),
    ],
)
async def test_errors(client: Client, path: str, status: int, text: str) -> None:
    answer = await client.get(path)
    assert answer.status == status
    assert text in (await answer.json())["message"]
