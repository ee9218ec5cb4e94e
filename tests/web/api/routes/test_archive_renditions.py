"""Recordings of a camera's two streams over HTTP, on real files: what each request answers of which stream."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urljoin

import m3u8
import pytest
from aiohttp.test_utils import TestClient

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError
from hls.archive.recording import SequenceNumbers
from hls.playback.playlists import PlaylistRequest
from hls.playback.reader import ArchiveReader
from hls.playback.rendition_merge import parse_past
from tests.support.ffprobe import ffprobe
from tests.support.manual_clock import ManualClock
from tests.support.recording import index_of, record
from tests.support.serving import GatewayServer
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from tests.web.api.routes.test_archive import SEGMENTS, Client, _json, gateway
from web.gateway import GATEWAY

MAIN = EncoderSettings(seconds=10, width=320, height=240)
START = "2026-11-22T18:50:00Z"
ALL = f"start={START}&end=2026-11-22T18:51:00Z"
DVR = "/hls/door/dvr.m3u8"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """Of 50 s the main stream has the first and the fourth 10 s, the sub stream all, in files of 20 s.

    The sub stream's keyframes are 2 s apart, and its files begin half a second later.
    """
    numbers = SequenceNumbers(sequence=70, discontinuities=7)
    recordings = record(tmp_path, encode(MAIN), numbers=numbers)
    recordings += record(tmp_path, encode(MAIN, START_90K + 30 * CLOCK_RATE, run=2), numbers=numbers)
    sub = encode(EncoderSettings(seconds=50, gop=20), START_90K + CLOCK_RATE // 2)
    recordings += record(tmp_path, sub, segment_s=20, rendition=RenditionName.SUB)
    index_of(tmp_path, recordings).close()
    async with TestClient(GatewayServer(gateway(tmp_path))) as made:
        recovery = made.app[GATEWAY].archive.recovery
        assert recovery is not None
        assert recovery.is_nothing
        yield made


async def segments_of(client: Client, query: str) -> list[tuple[str, str, int]]:
    page = await _json(client, f"{SEGMENTS}?{query}")
    assert isinstance(page["segments"], list)
    return [(segment["id"][-10:], segment["rendition"], segment["width"]) for segment in page["segments"]]


async def playlist(client: Client, query: str) -> m3u8.M3U8:
    answer = await client.get(f"{DVR}?{query}")
    text = await answer.text()
    assert answer.status == 200, text
    return m3u8.loads(text)


def streams(parsed: m3u8.M3U8) -> list[tuple[str, str]]:
    """The stream and the second of each HLS segment."""
    found = []
    at = 0.0
    for segment in parsed.segments:
        if segment.program_date_time is not None:
            at = segment.program_date_time.timestamp() - START_90K / CLOCK_RATE
        found.append(("sub" if "_sub.mp4" in segment.uri else "main", f"{at:g}"))
        at += segment.duration
    return found


async def test_the_list_has_both_streams_or_one(client: Client) -> None:
    main = [("22T185000Z", "main", 320), ("22T185030Z", "main", 320)]
    assert await segments_of(client, "rendition=main") == main
    assert [rest for _, *rest in await segments_of(client, "rendition=sub")] == [["sub", 160]] * 3
    both = await segments_of(client, "")
    assert [rendition for _, rendition, _ in both] == ["main", "sub", "sub", "main", "sub"]
    assert await segments_of(client, "rendition=auto") == both
    paged, cursor = [], ""
    while cursor is not None:
        page = await _json(client, f"{SEGMENTS}?limit=2{cursor and f'&cursor={cursor}'}")
        paged += [segment["id"][-10:] for segment in page["segments"]]  # type: ignore[attr-defined]
        cursor = page["next_cursor"]  # type: ignore[assignment]
    assert paged == [name for name, *_ in both]


@pytest.mark.parametrize(
    ("second", "query", "found"),
    [
        (5, "", ("main", 5.0)),
        (5, "&rendition=sub", ("sub", 4.5)),
        (15, "", ("sub", 14.5)),
        (15, "&rendition=main", None),
        (35, "", ("main", 5.0)),
        (55, "", None),
    ],
)
async def test_a_moment_is_that_of_the_main_stream_where_it_was_recorded(
    client: Client, second: int, query: str, found: tuple[str, float] | None
) -> None:
    time = START_90K // CLOCK_RATE + second
    answer = await _json(client, f"{SEGMENTS}/at?time={time}{query}", 200 if found else 404)
    if found is None:
        assert "the recording before ends at 2026-11-22T18:50:" in str(answer["message"])
        return
    assert isinstance(answer["segment"], dict)
    assert (answer["segment"]["rendition"], answer["offset_s"]) == (found[0], pytest.approx(found[1]))


async def test_where_both_were_recorded_the_playlist_is_multivariant(client: Client) -> None:
    parsed = await playlist(client, ALL)
    main, sub = parsed.playlists
    assert [each.uri.partition("?")[2] for each in parsed.iframe_playlists] == [
        each.uri.partition("?")[2] for each in parsed.playlists
    ]
    assert (main.stream_info.resolution, sub.stream_info.resolution) == ((320, 240), (160, 120))
    for each in parsed.playlists:
        info = each.stream_info
        assert 0 < info.average_bandwidth <= info.bandwidth
        assert info.codecs.startswith("avc1.")
        assert info.frame_rate == pytest.approx(10, abs=0.1)
    wanted = [
        *[("main", "0"), ("main", "4"), ("main", "8")],
        *[("sub", "8.5"), ("sub", "12.5"), ("sub", "16.5"), ("sub", "20.5"), ("sub", "24.5"), ("sub", "28.5")],
        *[("main", "30"), ("main", "34"), ("main", "38")],
        *[("sub", "36.5"), ("sub", "40.5"), ("sub", "44.5"), ("sub", "48.5")],
    ]
    filled = await playlist(client, main.uri.partition("?")[2])
    assert streams(filled) == wanted
    assert filled.is_endlist
    assert (filled.media_sequence, filled.discontinuity_sequence) == (70, 7)
    changed = [after.discontinuity for before, after in pairwise(filled.segments) if before.uri != after.uri]
    assert changed == [True] * len(changed)
    assert len(changed) >= 3
    pure = await playlist(client, f"{ALL}&rendition=sub")
    other = await playlist(client, sub.uri.partition("?")[2])
    assert streams(other) == streams(pure)
    assert other.discontinuity_sequence == 1_000_000
    assert {name for name, _ in streams(await playlist(client, f"{ALL}&rendition=main"))} == {"main"}


async def test_where_one_was_recorded_the_playlist_is_that_of_the_one(client: Client) -> None:
    parsed = await playlist(client, "start=1795373412&end=1795373428")
    (variant,), (keyframes,) = parsed.playlists, parsed.iframe_playlists
    assert {name for name, _ in streams(await playlist(client, variant.uri.partition("?")[2]))} == {"sub"}
    answer = await client.get(f"/hls/door/{keyframes.uri}")
    assert "_sub.mp4?keyframe=" in await answer.text()
    answer = await client.get(f"{DVR}?start=1795373412&end=1795373428&rendition=main")
    assert answer.status == 404
    assert "no recording in that time" in (await answer.json())["message"]


async def test_an_open_playlist_fixes_what_was_recorded_before(client: Client) -> None:
    gateway = client.app[GATEWAY]
    reader = ArchiveReader(gateway.archive, gateway.service, ManualClock(START_90K + 58 * CLOCK_RATE))
    text = await reader.playlist(PlaylistRequest("door"), base="")
    variants = [parse_qs(each.uri.partition("?")[2]) for each in m3u8.loads(text).playlists]
    hour_before = f"{START_90K / CLOCK_RATE + 58 - 3600:.6f}"
    assert variants == [
        {"start": [hour_before], "prefer": ["main"], "past": ["70-76-9,2-13"]},
        {"start": [hour_before], "prefer": ["sub"], "past": ["0-13-3,70-71"]},
    ]
    # One of them is what `prefer` is, in a multivariant playlist too.
    text = await reader.playlist(PlaylistRequest("door", prefer=RenditionName.MAIN), base="")
    assert [parse_qs(each.uri.partition("?")[2]) for each in m3u8.loads(text).playlists] == variants[:1]
    past = parse_past("70-76-9,2-13")
    text = await reader.playlist(PlaylistRequest("door", 0, prefer=RenditionName.MAIN, past=past), base="")
    parsed = m3u8.loads(text)
    listed = streams(parsed)
    assert (listed[0], listed[-1]) == (("main", "0"), ("sub", "48.5"))
    assert parsed.media_sequence + len(listed) == 100_000 + 76
    assert parsed.discontinuity_sequence == 100_000 + 9 - sum(each.discontinuity for each in parsed.segments) - 1
    reader.close()


@pytest.mark.parametrize("query", ["past=1-2-3,4-5", "prefer=main&past=", "prefer=main&past=-1-2-3,4-5"])
async def test_what_was_recorded_before_is_that_of_a_multivariant_playlist(client: Client, query: str) -> None:
    assert (await client.get(f"{DVR}?start={START}&{query}")).status == 400


@pytest.mark.parametrize("query", ["rendition=small", "prefer=both", "rendition=sub&prefer=main"])
async def test_a_stream_that_does_not_exist_is_refused(client: Client, query: str) -> None:
    assert (await client.get(f"{DVR}?{ALL}&{query}")).status == 400


@pytest.mark.integration
@pytest.mark.parametrize(
    ("span", "query", "width", "seconds"),
    [
        ((2, 8), "", 320, 6),
        ((2, 8), "&rendition=sub", 160, 6),
        ((5, 35), "", 160, 30),
        ((5, 35), "&rendition=main", 320, 10),
        ((2, 10.4), "", 320, 8),
        ((12, 20), "", 160, 8),
    ],
)
async def test_a_clip_is_of_the_best_stream_that_has_the_whole_of_it(
    client: Client, tmp_path: Path, span: tuple[float, float], query: str, width: int, seconds: float
) -> None:
    start, end = (START_90K / CLOCK_RATE + each for each in span)
    answer = await client.get(f"/api/cameras/door/clip.mp4?start={start}&end={end}{query}")
    assert answer.status == 200
    path = tmp_path / "clip.mp4"
    path.write_bytes(await answer.read())
    probed = ffprobe(path)
    assert probed["streams"][0]["width"] == width
    assert float(probed["format"]["duration"]) == pytest.approx(seconds, abs=0.1)


@pytest.mark.integration
async def test_ffmpeg_reads_every_packet_of_both_streams_in_one_playlist(client: Client) -> None:
    url = str(client.make_url(f"{DVR}?{ALL}&prefer=main"))
    packets = await _read_packets(url)
    parsed = await playlist(client, f"{ALL}&prefer=main")
    assert len(packets) == round(sum(segment.duration for segment in parsed.segments) * 10)


async def _read_packets(url: str) -> list[object]:
    probed = await asyncio.to_thread(ffprobe, url, "-show_packets", "-select_streams", "v")
    return list(probed["packets"])


async def test_protecting_a_file_protects_what_the_other_stream_has_of_its_time(client: Client) -> None:
    name = "segment_20261122T185000Z"
    assert (await client.post(f"{SEGMENTS}/{name}_sub/protect")).status == 200

    async def protected() -> list[str]:
        page = await _json(client, SEGMENTS)
        assert isinstance(page["segments"], list)
        return [segment["id"] for segment in page["segments"] if segment["protected"]]

    assert await protected() == [name, f"{name}_sub"]
    assert (await client.delete(f"{SEGMENTS}/{name}_sub/protect")).status == 200
    assert await protected() == []


async def test_files_and_thumbnails_of_the_sub_stream_are_served(client: Client) -> None:
    parsed = await playlist(client, f"{ALL}&prefer=sub")
    first = parsed.segments[0]
    for uri in (first.uri, first.uri.replace(".mp4", ".jpg"), first.init_section.uri):
        assert (await client.get(urljoin(DVR, uri))).status == 200


@pytest.mark.parametrize(("rendition", "width"), [(RenditionName.MAIN, 320), (RenditionName.SUB, 160), (None, 320)])
async def test_a_recorded_picture_is_of_the_stream_that_is_asked_for(
    client: Client, rendition: RenditionName | None, width: int
) -> None:
    assert client.app is not None
    reader = client.app[GATEWAY].archive_reader
    picture = await reader.snapshot("door", START_90K + 5 * CLOCK_RATE, None, None, rendition)
    assert picture.width == width
    later = reader.snapshot("door", START_90K + 15 * CLOCK_RATE, None, None, rendition)
    if rendition is RenditionName.MAIN:
        with pytest.raises(NotFoundError):
            await later
    else:
        assert (await later).width == 160, "of that time, only the sub stream was recorded"
