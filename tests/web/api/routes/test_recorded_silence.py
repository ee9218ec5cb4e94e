"""A playlist of recordings with and without sound has sound everywhere: what its addresses answer, on real files."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import av
import m3u8
import pytest
from aiohttp.test_utils import TestClient

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.recording import SequenceNumbers
from tests.support.recording import index_of, record
from tests.support.serving import GatewayServer
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from tests.web.api.routes.test_archive import Client, gateway

START_S = START_90K // CLOCK_RATE
ALL = f"start={START_S}&end={START_S + 60}"
DVR = "/hls/door/dvr.m3u8"
SILENCE = "silence=48000x1"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """The main stream has sound for 6 s, and then none for 5 s. The sub stream has none."""
    numbers = SequenceNumbers()
    recordings = record(tmp_path, encode(EncoderSettings(seconds=6, audio=True)), numbers=numbers)
    later = encode(EncoderSettings(seconds=5), START_90K + 6 * CLOCK_RATE, run=2)
    recordings += record(tmp_path, later, numbers=numbers)
    sub = encode(EncoderSettings(seconds=5, gop=20))
    recordings += record(tmp_path, sub, rendition=RenditionName.SUB)
    index_of(tmp_path, recordings).close()
    async with TestClient(GatewayServer(gateway(tmp_path))) as made:
        yield made


async def text_of(client: Client, query: str) -> str:
    answer = await client.get(f"{DVR}?{query}")
    assert answer.status == 200
    return await answer.text()


async def ranged(client: Client, uri: str, byterange: str) -> bytes:
    """The bytes of a range, which is all that there is of a part with silence."""
    size, _, offset = byterange.partition("@")
    span = {"Range": f"bytes={offset}-{int(offset) + int(size) - 1}"}
    answer = await client.get(urljoin(DVR, uri), headers=span)
    data = await answer.read()
    assert len(data) == int(size)
    if "silence" in uri:
        assert answer.headers["Content-Range"].endswith(f"/{size}")
    return data


async def test_both_variants_have_the_same_tracks_everywhere(client: Client) -> None:
    parsed = m3u8.loads(await text_of(client, ALL))
    assert [each.stream_info.codecs.split(",")[1] for each in parsed.playlists] == ["mp4a.40.2"] * 2
    for variant in parsed.playlists:
        playlist = m3u8.loads(await text_of(client, variant.uri.partition("?")[2]))
        for segment in playlist.segments:
            assert segment.init_section is not None
            data = await ranged(client, segment.init_section.uri, segment.init_section.byterange)
            data += await ranged(client, segment.uri, segment.byterange)
            with av.open(io.BytesIO(data), "r") as container:
                sound, video = container.streams.audio[0], container.streams.video[0]
                assert sound.sample_rate == 48_000
                packets = list(container.demux())
            ends_s = [
                max(
                    float(((p.pts or 0) + (p.duration or 0)) * p.time_base)
                    for p in packets
                    if p.stream is stream and p.size
                )
                for stream in (sound, video)
            ]
            assert ends_s[0] == pytest.approx(ends_s[1], abs=2 * 1024 / 48_000)


async def test_only_where_there_is_sound_in_the_playlist_is_silence_elsewhere(client: Client) -> None:
    assert SILENCE in await text_of(client, f"{ALL}&rendition=main")
    assert "silence" not in await text_of(client, f"{ALL}&rendition=sub")
    assert "silence" not in await text_of(client, f"start={START_S + 7}&end={START_S + 60}")
    # What goes on may get sound again, and its entries must not change then.
    assert SILENCE in await text_of(client, f"start={START_S + 7}&rendition=main")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"part=0&{SILENCE}", 200),
        (f"part=9&{SILENCE}", 404),
        (f"part=-1&{SILENCE}", 400),
        (SILENCE, 400),
        ("part=0&silence=1x1", 400),
    ],
)
async def test_addresses_that_no_playlist_has_are_refused(client: Client, query: str, status: int) -> None:
    assert (await client.get(f"/archive/door/segment_20261122T185006Z.mp4?{query}")).status == status
    loud = await client.get(f"/archive/door/segment_20261122T185000Z.mp4?part=0&{SILENCE}")
    assert loud.status == 404
