"""The archive over HTTP, on real files: lists, downloads, and the refusal of invalid requests."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import m3u8
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from hls.archive.segment import SegmentState
from tests.support.eventually import eventually
from tests.support.ffprobe import decode, ffprobe
from tests.support.partial_app import app_with_routes
from tests.support.recording import index_of, record
from tests.support.serving import GatewayServer
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.api.routes import downloads, dvr, segments
from web.gateway import GATEWAY, Gateway
from web.settings import Settings, load_settings

Client = TestClient[web.Request, web.Application]

SEGMENTS = "/api/cameras/door/segments"


def settings_of(data_dir: Path, **more: object) -> Settings:
    return load_settings(
        **more,
        data_dir=data_dir,
        cameras={"door": {"url": "rtsp://127.0.0.1:9/door"}, "yard": {"url": "rtsp://127.0.0.1:9/yard"}},
        archive_segment_seconds=2,
        archive_min_free_bytes=0,
        start="on-demand",
    )


def gateway(data_dir: Path) -> web.Application:
    app = app_with_routes(Gateway(settings_of(data_dir)), segments, dvr, downloads)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        await app[GATEWAY].archive.start()
        yield
        await app[GATEWAY].archive.close()
        app[GATEWAY].archive_reader.close()

    app.cleanup_ctx.append(lifetime)
    return app


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """10 s in five closed segments, a gap of 10 s, and 3 s whose last segment still grows."""
    index_of(tmp_path, record(tmp_path, encode(EncoderSettings(seconds=10)), segment_s=2)).close()
    async with TestClient(GatewayServer(gateway(tmp_path))) as made:
        archive = made.app[GATEWAY].archive
        assert archive.recovery is not None
        assert archive.recovery.is_nothing
        hub = made.app[GATEWAY].service.camera("door").hub
        for packet in encode(EncoderSettings(seconds=3), START_90K + 20 * CLOCK_RATE, run=2):
            hub.publish(packet)
        await eventually(
            lambda: (archive.live_position("door") or ("",))[0] == "segment_20261122T185022Z",
            "the last segment is being written",
        )
        yield made


async def _json(client: Client, path: str, status: int = 200) -> dict[str, object]:
    answer = await client.get(path)
    body = await answer.json()
    assert answer.status == status, body
    assert isinstance(body, dict)
    return body


async def test_the_list_is_paged_with_a_cursor(client: Client) -> None:
    ids, cursor = [], ""
    while True:
        page = await _json(client, f"{SEGMENTS}?limit=3{cursor}")
        assert isinstance(page["segments"], list)
        ids += [segment["id"] for segment in page["segments"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    seconds = ("00", "02", "04", "06", "08", "20", "22")
    assert ids == [f"segment_20261122T1850{second}Z" for second in seconds]


async def test_a_time_range_lists_the_segments_that_overlap_it(client: Client) -> None:
    page = await _json(client, f"{SEGMENTS}?start=2026-11-22T18:50:03Z&end=2026-11-22T19:50:04.5+01:00")
    assert isinstance(page["segments"], list)
    first = page["segments"][0]
    assert [segment["id"][-3:-1] for segment in page["segments"]] == ["02", "04"]
    assert first["start"] == "2026-11-22T18:50:02.000Z"
    assert first["end"] == "2026-11-22T18:50:04.000Z"
    assert (first["state"], first["frames"], first["fps"], first["width"]) == ("closed", 20, 10.0, 160)
    assert first["url"] == "/archive/door/segment_20261122T185002Z.mp4"


async def test_the_segment_of_a_moment_is_found_and_a_gap_names_its_neighbours(client: Client) -> None:
    at = f"{SEGMENTS}/at?time="
    found = await _json(client, at + "2026-11-22T18:50:03.5Z")
    assert isinstance(found["segment"], dict)
    assert (found["segment"]["id"], found["offset_s"]) == ("segment_20261122T185002Z", 1.5)
    seconds = START_90K / CLOCK_RATE
    assert (await _json(client, at + str(seconds + 5)))["offset_s"] == 1.0
    now = await _json(client, at + "now")
    assert isinstance(now["segment"], dict)
    assert now["segment"]["state"] == "growing"
    gap = await _json(client, at + "2026-11-22T18:50:15Z", 404)
    assert "ends at 2026-11-22T18:50:10.000Z and the next begins at 2026-11-22T18:50:20.000Z" in str(gap["message"])
    begin = await _json(client, at + "2026-11-22T18:50:19.9991Z")
    assert begin["offset_s"] == 0, "answers have the start of a file to the millisecond, rounded down"
    await _json(client, at + "2026-11-22T18:50:19.998Z", 404)
    await _json(client, "/api/cameras/yard/segments/at?time=now", 404)
    await _json(client, "/api/cameras/nobody/segments/at?time=now", 404)
    await _json(client, "/api/cameras/nobody/segments", 404)
    assert (await _json(client, "/api/cameras/yard/segments"))["segments"] == []


async def test_a_closed_file_is_served_whole_and_in_ranges(client: Client, tmp_path: Path) -> None:
    url = "/archive/door/segment_20261122T185002Z.mp4"
    data = (tmp_path / "door/2026-11-22/segment_20261122T185002Z.mp4").read_bytes()
    answer = await client.get(url)
    assert (answer.status, await answer.read()) == (200, data)
    assert answer.content_type == "video/mp4"
    part = await client.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status, await part.read()) == (206, data[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(data)}"
    assert (await client.get(url, headers={"If-None-Match": answer.headers["ETag"]})).status == 304
    head = await client.head(url)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(data)))


@pytest.mark.integration
async def test_a_growing_file_is_served_with_its_length_and_plays(client: Client, tmp_path: Path) -> None:
    url = "/archive/door/segment_20261122T185022Z.mp4"
    answer = await client.get(url)
    data = await answer.read()
    assert int(answer.headers["Content-Length"]) == len(data)
    (tmp_path / "copy.mp4").write_bytes(data)
    assert decode(tmp_path / "copy.mp4") == ""
    for asked, expected in (("5-60", data[5:61]), ("70-", data[70:]), ("-30", data[-30:]), ("0-999999999", data)):
        part = await client.get(url, headers={"Range": f"bytes={asked}"})
        assert (part.status, await part.read()) == (206, expected)
    assert (await client.get(url, headers={"If-None-Match": answer.headers["ETag"]})).status == 304
    stale = await client.get(url, headers={"Range": "bytes=5-60", "If-Range": '"other"'})
    assert (stale.status, await stale.read()) == (200, data)
    head = await client.head(url)
    assert (head.headers["Content-Length"], await head.read()) == (str(len(data)), b"")
    await client.app[GATEWAY].archive.remove_camera("door")
    closed = await (await client.get(url)).read()
    assert hashlib.sha256(closed[72 : len(data)]).digest() == hashlib.sha256(data[72:]).digest()


async def test_keyframes_of_a_closed_and_of_a_growing_file_as_an_i_frame_playlist(client: Client) -> None:
    span = "start=2026-11-22T18:50:08Z&end=2026-11-22T18:50:22Z"
    answer = await client.get(f"/hls/door/iframes.m3u8?{span}")
    assert (answer.status, answer.content_type) == (200, "application/vnd.apple.mpegurl")
    playlist = m3u8.loads(await answer.text())
    assert playlist.is_i_frames_only
    dates = [str(each.program_date_time)[14:19] for each in playlist.segments if each.discontinuity]
    assert dates[-1] >= "50:20", "after the gap"
    for each in (playlist.segments[0], playlist.segments[-1]):
        init = await (await client.get(f"/hls/door/{each.init_section.uri}")).read()
        media = await client.get(f"/hls/door/{each.uri}")
        assert media.status == 200
        with av.open(io.BytesIO(init + await media.read()), "r", format="mp4") as container:
            assert len(list(container.decode(video=0))) == 1
    thin = await (await client.get(f"/hls/door/iframes.m3u8?{span}&interval=3600")).text()
    assert len(m3u8.loads(thin).segments) < len(playlist.segments)


@pytest.mark.integration
async def test_ffmpeg_plays_the_dvr_playlist_which_goes_on_into_live(client: Client) -> None:
    url = "/hls/door/dvr.m3u8?start=2026-11-22T18:50:03Z&end=2026-11-22T18:50:22Z"
    multivariant = m3u8.loads(await (await client.get(url)).text())
    (variant,), (keyframes,) = multivariant.playlists, multivariant.iframe_playlists
    info = keyframes.iframe_stream_info
    assert (info.codecs, info.resolution) == (variant.stream_info.codecs.split(",")[0], variant.stream_info.resolution)
    listed = m3u8.loads(await (await client.get(f"/hls/door/{keyframes.uri}")).text())
    assert listed.is_i_frames_only
    for each in listed.segments[::7]:
        data = await (await client.get(each.uri.replace("../../", "/"))).read()
        assert 0 < len(data) * 8 / each.duration <= info.bandwidth
    answer = await client.get(f"/hls/door/{variant.uri}")
    text = await answer.text()
    assert answer.status == 200
    assert answer.content_type == "application/vnd.apple.mpegurl"
    assert "#EXT-X-ENDLIST" in text
    assert "#EXT-X-START:TIME-OFFSET=1.000,PRECISE=YES" in text
    assert text.count("#EXT-X-DISCONTINUITY\n") == 4
    address = str(client.make_url(url))
    assert await asyncio.to_thread(decode, address) == ""
    zipped = await client.get(f"{url}&prefer=main", headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert await zipped.text() == text
    # The requested end is in the past by the gateway's clock. Without an end the playlist is open.
    opened = await (await client.get("/hls/door/dvr.m3u8?start=now")).json()
    assert opened["error"] == "unavailable"


async def test_an_init_segment_stays_the_same_when_its_file_is_closed(client: Client) -> None:
    segment = (await client.app[GATEWAY].archive_reader.segments.page("door"))[-1]
    assert segment.state is SegmentState.GROWING
    url = f"/archive/door/init-{segment.init_id}.mp4"
    before = await (await client.get(url)).read()
    await client.app[GATEWAY].archive.remove_camera("door")
    answer = await client.get(url)
    assert await answer.read() == before
    assert "immutable" in answer.headers["Cache-Control"]
    assert b"moov" in before


@pytest.mark.integration
async def test_a_clip_is_exact_and_can_be_read_in_ranges(client: Client, tmp_path: Path) -> None:
    url = "/api/cameras/door/clip.mp4?start=2026-11-22T18:50:03.5Z&end=2026-11-22T18:50:21Z"
    answer = await client.get(url)
    data = await answer.read()
    assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(data))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="door_2026-11-22T185003.500Z.mp4"'
    (tmp_path / "clip.mp4").write_bytes(data)
    assert decode(tmp_path / "clip.mp4") == ""
    probed = ffprobe(tmp_path / "clip.mp4", "-count_frames")
    assert int(probed["streams"][0]["nb_read_frames"]) == 75
    assert float(probed["format"]["duration"]) == pytest.approx(7.5)
    part = await client.get(url, headers={"Range": "bytes=1000-20000", "If-Range": answer.headers["ETag"]})
    assert (part.status, await part.read()) == (206, data[1000:20001])
    head = await client.head(url)
    assert (head.headers["Content-Length"], await head.read()) == (str(len(data)), b"")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("CLIPS_MAX", "/api/cameras/door/clip.mp4?start=2026-11-22T18:50:03Z&end=2026-11-22T18:50:04Z"),
        ("PLAYLISTS_MAX", "/hls/door/dvr.m3u8?start=2026-11-22T18:50:00Z&end=2026-11-22T18:50:09Z"),
        ("DECODES_WAITING_MAX", "/archive/door/segment_20261122T185002Z.jpg"),
    ],
)
async def test_what_costs_memory_or_cpu_is_limited_and_available_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setattr(f"hls.playback.reader.{name}", 1)
    answers = await asyncio.gather(*(client.get(url) for _ in range(8)))
    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    assert {(answer.status, answer.headers["Retry-After"]) for answer in refused} == {(503, "2")}
    assert client.app is not None
    assert client.app[GATEWAY].archive_reader.refused.total() == len(refused)
    for answer in answers:
        await answer.read()

    async def is_available() -> bool:
        async with client.get(url) as answer:
            return answer.status == 200

    for _ in range(100):
        if await is_available():
            break
        await asyncio.sleep(0.02)  # the last answer is being closed
    else:
        pytest.fail("it is not available again")


async def test_a_segment_is_protected_and_unprotected(client: Client) -> None:
    for name in ("segment_20261122T185002Z", "segment_20261122T185022Z"):
        url = f"{SEGMENTS}/{name}/protect"
        assert (await (await client.post(url)).json())["protected"] is True
        page = await _json(client, SEGMENTS)
        assert isinstance(page["segments"], list)
        assert [segment["id"] for segment in page["segments"] if segment["protected"]] == [name]
        assert (await (await client.delete(url)).json())["protected"] is False
    assert (await client.post(f"{SEGMENTS}/segment_20200101T000000Z/protect")).status == 404
    assert (await client.post(f"{SEGMENTS}/nonsense/protect")).status == 404


async def test_thumbnails_are_pictures(client: Client) -> None:
    for name in ("segment_20261122T185002Z", "segment_20261122T185022Z"):
        answer = await client.get(f"/archive/door/{name}.jpg")
        data = await answer.read()
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
        assert data.startswith(b"\xff\xd8")
        assert data.endswith(b"\xff\xd9")


async def test_a_segment_has_its_hash_and_state(client: Client) -> None:
    archive = client.app[GATEWAY].archive

    async def all_are_hashed() -> bool:
        return not await archive.index.without_hash(10)

    await eventually(all_are_hashed, "all files are hashed")
    page = await _json(client, f"{SEGMENTS}?limit=1")
    assert isinstance(page["segments"], list)
    data = await (await client.get(page["segments"][0]["url"])).read()
    assert page["segments"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    status = json.loads(archive.status().model_dump_json())
    assert status["cameras"]["door"]["is_recording"] is True
    assert status["free_bytes"] > 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hls/door/dvr.m3u8?start=0&end=9999999", 400),
        ("/hls/door/iframes.m3u8?start=0&end=9999999", 400),
        ("/hls/door/iframes.m3u8?interval=-1", 400),
        ("/hls/door/iframes.m3u8?interval=nan", 400),
        ("/hls/door/iframes.m3u8?start=2026-11-22T18:50:12Z&end=2026-11-22T18:50:18Z", 404),
        ("/hls/ghost/iframes.m3u8", 404),
        ("/archive/door/segment_20261122T185000Z.mp4?keyframe=0", 400),
        ("/archive/door/segment_20261122T185000Z.mp4?keyframe=1-90000", 404),
        ("/hls/door/dvr.m3u8?start=2026-11-22T18:50:00Z&end=2026-11-22T18:49:00Z", 400),
        ("/hls/door/dvr.m3u8?start=2026-11-22T18:50:12Z&end=2026-11-22T18:50:18Z", 404),
        ("/hls/yard/dvr.m3u8?start=2026-11-22T18:50:00Z&end=2026-11-22T18:50:18Z", 404),
        ("/hls/nobody/dvr.m3u8", 404),
        ("/api/cameras/door/clip.mp4", 400),
        ("/api/cameras/door/clip.mp4?start=0&end=99999", 400),
        ("/api/cameras/door/clip.mp4?start=2026-11-22T18:50:12Z&end=2026-11-22T18:50:18Z", 404),
        ("/api/cameras/nobody/clip.mp4?start=2026-11-22T18:50:12Z&end=2026-11-22T18:50:18Z", 404),
        ("/archive/door/segment_20260101T000000Z.jpg", 404),
        ("/archive/door/init-..%2Fx.mp4", 404),
        (f"{SEGMENTS}?start=yesterday", 400),
        (f"{SEGMENTS}?start=2026-11-22T18:50:00", 400),
        (f"{SEGMENTS}?start=2026-13-22T18:50:00Z", 400),
        (f"{SEGMENTS}?start=-5", 400),
        (f"{SEGMENTS}?start=1e400", 400),
        (f"{SEGMENTS}?start=nan", 400),
        (f"{SEGMENTS}?start=20&end=10", 400),
        (f"{SEGMENTS}?limit=0", 400),
        (f"{SEGMENTS}?limit=1001", 400),
        (f"{SEGMENTS}?limit=%C2%B2", 400),
        (f"{SEGMENTS}?cursor=AAAA", 400),
        (f"{SEGMENTS}?cursor=%F0%9F%90%88", 400),
        (f"{SEGMENTS}/at", 400),
        (f"{SEGMENTS}/at?time=", 400),
        ("/archive/door/..%2F..%2Findex.sqlite3.mp4", 404),
        ("/archive/..%2F..%2Fetc/passwd.mp4", 404),
        ("/archive/..%2Fdoor/segment_20261122T185002Z.mp4", 404),
        ("/archive/door/segment_20261122T185003Z.mp4", 404),
        ("/archive/door/segment_20261122T185002Z_999.mp4", 404),
        ("/archive/nobody/segment_20261122T185002Z.mp4", 404),
    ],
)
async def test_an_invalid_request_is_refused_with_a_reason(client: Client, path: str, status: int) -> None:
    body = await _json(client, path, status)
    assert body["error"] in ("bad_request", "not_found")
    assert body["message"]


@pytest.mark.parametrize("name", ["segment_20261122T185002Z", "segment_20261122T185022Z"])
@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=9-5", "bytes=a-b", "bytes=-0", "bytes=", "bytes=--5"])
async def test_ranges_that_cannot_be_satisfied_are_416(client: Client, name: str, asked: str) -> None:
    answer = await client.get(f"/archive/door/{name}.mp4", headers={"Range": asked})
    assert answer.status == 416
    assert answer.headers["Content-Range"].startswith("bytes */")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60), name=st.sampled_from(["start", "end", "cursor", "limit"]))
async def test_no_parameter_causes_a_server_error(client: Client, text: str, name: str) -> None:
    answer = await client.get(SEGMENTS, params={name: text.encode("utf-8", "ignore").decode()})
    assert answer.status in (200, 400)
