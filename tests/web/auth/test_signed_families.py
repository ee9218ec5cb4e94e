"""What a signed URL opens: every family of tokens on every route, and the span of a recording, byte by byte."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.access import Scope
from gateway.clock import CLOCK_RATE
from gateway.event import Event
from hls.evidence.export_job import ExportJob, ExportRequest
from tests.support.auth_gateway import ADMIN_TOKEN, Client, auth_gateway, bearer
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.auth.grant import Span
from web.auth.policy import ROUTES, Family
from web.auth.target import Target
from web.gateway import GATEWAY

NAMES = {
    "camera": "ghost",
    "event": "00000000-0000-4000-8000-000000000000",
    "viewer": "nobody",
    "publisher": "nobody",
    "talker": "nobody",
    "segment": "segment_20261122T185000Z",
    "name": "part-1-1.m4s",
    "init": "0123456789abcdef",
    "file": "player.js",
    "export": "00000000-0000-4000-8000-00000000000e",
    "webhook": "0",
    "wall": "nowhere",
    "id": "nothing",
    "subscription": "nobody",
}
WITH_SPAN = ("/hls/{camera}/dvr.m3u8", "/hls/{camera}/iframes.m3u8", "/api/cameras/{camera}/clip.mp4")
QUERIES = dict.fromkeys(WITH_SPAN, "?start=100&end=200")


def address(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: NAMES[match[1]], path) + QUERIES.get(path, "")


ADDRESSES = {rule.family: address(path) for (_, path), rule in ROUTES.items() if rule.family is not None}

OPENS = {family: {family} for family in Family} | {
    Family.MULTIVARIANT: {Family.MULTIVARIANT, Family.LIVE, Family.LIVE_MEDIA},
    Family.LIVE: {Family.LIVE, Family.LIVE_MEDIA},
    Family.DVR: {Family.DVR, Family.ARCHIVE_INIT, Family.ARCHIVE_FILE},
}
"""Written out here, and not taken from the code: the table of docs/security.md."""

FIRST = "/archive/door/segment_20261122T185000Z.mp4"
SECOND = "/archive/door/segment_20261122T185020Z.mp4"


def with_token(url: str, token: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}token={token}"


async def sign(client: Client, path: str) -> tuple[str, str]:
    """The signed URL and its token. A path of the event of :data:`NAMES` is that of an event of the camera ghost."""
    events = client.app[GATEWAY].events
    if NAMES["event"] in path and await events.get(NAMES["event"]) is None:
        await events.create(Event(NAMES["event"], NAMES["camera"], START_90K, START_90K, "ring", "test"))
    exports = client.app[GATEWAY].exports
    if NAMES["export"] in path:
        request = ExportRequest((NAMES["camera"],), START_90K, START_90K + CLOCK_RATE)
        exports.jobs_by_id.setdefault(NAMES["export"], ExportJob(NAMES["export"], START_90K, "test", request))
    async with client.post("/api/sign", json={"path": path}, headers=bearer(ADMIN_TOKEN)) as answer:
        body = await answer.json()
        assert answer.status == 201, body
        return body["url"], body["token"]


async def status_of(client: Client, url: str, method: str = "GET", **headers: str) -> int:
    async with client.request(method, url, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("family", sorted(set(Family) - {Family.WHEP}))
async def test_a_token_opens_its_family_on_no_other_route(auth_client: Client, family: Family) -> None:
    assert set(ADDRESSES) == set(Family)
    _, token = await sign(auth_client, ADDRESSES[family])
    for (method, path), rule in ROUTES.items():
        if rule.is_public:
            continue
        is_open = rule.family in OPENS[family] and method == "GET"
        for each in (method, "HEAD") if method == "GET" else (method,):
            status = await status_of(auth_client, with_token(address(path), token), each)
            assert (status not in (401, 403)) == is_open, (each, path, status)
        if rule.family is not None:
            # The same for a camera of another name.
            other = with_token(address(path).replace("ghost", "yard").replace("4000-8000", "4000-9000"), token)
            assert await status_of(auth_client, other) in (401, 403), other
            # A second token or parameter is no way around the first.
            assert await status_of(auth_client, with_token(with_token(address(path), token), token)) in (401, 403)


@pytest.mark.parametrize("family", sorted({Family.CLIP, Family.EVENT_CLIP, Family.MJPEG, Family.SNAPSHOT}))
async def test_a_token_of_one_address_opens_no_other_query(auth_client: Client, family: Family) -> None:
    url, token = await sign(auth_client, ADDRESSES[family])
    assert await status_of(auth_client, url) not in (401, 403)
    for more in ("width=640", "at=1", "at=", "at=1970-01-01T00:01:41Z", "at=now&at=1", "start=1", "end=300", "x=%00"):
        assert await status_of(auth_client, f"{url}&{more}") in (401, 403), more
    for other in (ADDRESSES[family].partition("?")[0], ADDRESSES[family].replace("end=200", "end=201")):
        if other != ADDRESSES[family]:
            assert await status_of(auth_client, with_token(other, token)) in (401, 403), other


async def test_another_notation_of_the_same_moment_is_the_same_address(auth_client: Client) -> None:
    _, token = await sign(auth_client, "/api/cameras/ghost/clip.mp4?start=100&end=200.5")
    for query in (
        "end=200.500&start=100.0",
        "start=1970-01-01T00:01:40Z&end=1970-01-01T00:03:20.5Z",
        f"start={quote('1970-01-01T01:01:40+01:00')}&end=200.5",
    ):
        assert await status_of(auth_client, with_token(f"/api/cameras/ghost/clip.mp4?{query}", token)) == 404, query
    _, token = await sign(auth_client, "/snapshot/ghost.jpg?at=100")
    assert await status_of(auth_client, with_token("/snapshot/ghost.jpg?at=1970-01-01T00:01:40Z", token)) == 404
    for other in ("/snapshot/ghost.jpg", "/snapshot/ghost.jpg?at=now", "/snapshot/ghost.jpg?at=101"):
        assert await status_of(auth_client, with_token(other, token)) in (401, 403), other


@pytest.fixture
async def recorded(tmp_path: Path) -> AsyncIterator[Client]:
    """30 s of the door in two files, of 20 s and 10 s."""
    (tmp_path / "data").mkdir()
    index_of(tmp_path / "data", record(tmp_path / "data", encode(EncoderSettings(seconds=30)), segment_s=20)).close()
    async with auth_gateway(tmp_path, auth_url_lifetime=3600) as client:
        yield client


def moment(seconds: float) -> str:
    return f"{START_90K / CLOCK_RATE + seconds:.3f}"


def dvr(start: float, end: float | None) -> str:
    return f"/hls/door/dvr.m3u8?start={moment(start)}" + (f"&end={moment(end)}" if end is not None else "")


async def media_playlist(client: Client, url: str) -> str:
    """The playlist of the variant of a multivariant playlist. Its keyframes are open as well."""
    async with client.get(url) as answer:
        text = await answer.text()
        assert answer.status == 200, text
    keyframes, variant = re.findall(r"[\w.]+m3u8\?[^\"\s]+", text)
    assert await status_of(client, f"/hls/door/{keyframes}") == 200
    async with client.get(f"/hls/door/{variant}") as answer:
        assert answer.status == 200
        return await answer.text()


async def listed(client: Client, url: str) -> list[tuple[str, int, int]]:
    """The file, offset and size of every media segment of a recording, with its token."""
    text = await media_playlist(client, url)
    found = re.findall(r"#EXT-X-BYTERANGE:(\d+)@(\d+)\n(\S+)", text)
    return [(uri.replace("../../", "/"), int(offset), int(size)) for size, offset, uri in found]


async def test_the_token_of_a_span_opens_what_its_playlist_lists_and_no_byte_more(recorded: Client) -> None:
    url, token = await sign(recorded, dvr(9, 11))
    parts = await listed(recorded, url)
    assert {uri.partition("?")[0] for uri, _, _ in parts} == {FIRST}
    start, end = parts[0][1], parts[-1][1] + parts[-1][2]
    async with recorded.get(FIRST, headers=bearer(ADMIN_TOKEN)) as answer:
        data = await answer.read()
    assert 0 < start < end < len(data)
    file = parts[0][0]
    assert f"token={token}" in file
    for uri, offset, size in parts:
        async with recorded.get(uri, headers={"Range": f"bytes={offset}-{offset + size - 1}"}) as answer:
            assert (answer.status, await answer.read()) == (206, data[offset : offset + size])
    for asked in (f"bytes={start}-", "bytes=0-", f"bytes=0-{len(data)}", f"bytes=-{len(data)}", f"bytes=0-{end},5-9"):
        async with recorded.get(file, headers={"Range": asked}) as answer:
            assert (answer.status, await answer.read()) == (206, data[start:end]), asked
            assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(data)}"
    for refused in (f"bytes=0-{start - 1}", f"bytes={end}-", "bytes=-1", "lines=1-2", f"bytes=0-1,{end}-{end + 9}"):
        assert await status_of(recorded, file, Range=refused) == 403, refused
    stale = {"Range": f"bytes={start}-", "If-Range": '"other"'}
    assert await status_of(recorded, file, **stale) == 403
    assert await status_of(recorded, file) == 403
    assert await status_of(recorded, file, "HEAD") == 403
    assert await status_of(recorded, with_token(SECOND, token), Range="bytes=0-99") == 403


async def test_the_token_of_a_span_opens_no_other_span(recorded: Client) -> None:
    _, token = await sign(recorded, dvr(9, 11))
    for inside in (dvr(9, 11), dvr(9.5, 10.5)):
        assert await status_of(recorded, with_token(inside, token)) == 200, inside
    for outside in (
        *(dvr(8.9, 11), dvr(9, 11.1), dvr(0, 9), dvr(11, 20), dvr(9, None), "/hls/door/dvr.m3u8"),
        f"/hls/door/dvr.m3u8?end={moment(11)}",
        f"/hls/door/dvr.m3u8?start={moment(9)}&end=now",
        f"{dvr(9, 11)}&end={moment(30)}",
        f"{dvr(9, 11)}&start=",
        "/hls/door/dvr.m3u8?start=yesterday",
    ):
        assert await status_of(recorded, with_token(outside, token)) in (401, 403), outside
    for other in (f"/mjpeg/door?at={moment(10)}", f"/snapshot/door.jpg?at={moment(10)}", FIRST.replace("mp4", "jpg")):
        assert await status_of(recorded, with_token(other, token)) in (401, 403), other


async def test_a_file_that_only_touches_the_span_stays_closed(recorded: Client) -> None:
    _, token = await sign(recorded, dvr(20, 25))
    assert await status_of(recorded, with_token(FIRST, token), Range="bytes=0-") == 403
    assert await status_of(recorded, with_token(SECOND, token), Range="bytes=0-") == 206
    _, token = await sign(recorded, dvr(5, 20))
    assert await status_of(recorded, with_token(SECOND, token), Range="bytes=0-") == 403


async def test_an_init_segment_is_open_only_with_its_span(recorded: Client) -> None:
    url, _ = await sign(recorded, dvr(0, 30))
    init = re.search(r'MAP:URI="\.\./\.\.([^"?]*)', await media_playlist(recorded, url))
    assert init is not None
    _, token = await sign(recorded, dvr(9, 11))
    assert await status_of(recorded, with_token(init[1], token)) == 200
    _, token = await sign(recorded, dvr(1000, 2000))
    assert await status_of(recorded, with_token(init[1], token)) == 404


async def test_an_open_span_goes_on_and_a_whole_one_opens_the_files(recorded: Client) -> None:
    _, token = await sign(recorded, dvr(20, None))
    for inside in (dvr(20, None), dvr(25, None), dvr(21, 22)):
        assert await status_of(recorded, with_token(inside, token)) not in (401, 403), inside
    assert await status_of(recorded, with_token(dvr(19, None), token)) == 403
    assert await status_of(recorded, with_token(SECOND, token)) == 200
    assert await status_of(recorded, with_token(SECOND, token), "HEAD") == 200
    assert await status_of(recorded, with_token(FIRST, token), Range="bytes=0-") == 403


async def test_now_is_the_moment_of_signing(recorded: Client) -> None:
    url, _ = await sign(recorded, f"/hls/door/dvr.m3u8?start={moment(0)}&end=now")
    assert "now" not in url
    assert await status_of(recorded, url) in (200, 400)
    rolling, token = await sign(recorded, "/hls/door/dvr.m3u8")
    assert await status_of(recorded, rolling) not in (401, 403)
    assert await status_of(recorded, with_token(dvr(0, 1), token)) in (401, 403)


async def test_a_snapshot_of_a_recorded_moment_needs_archive_and_shows_it(recorded: Client) -> None:
    url = f"/snapshot/door.jpg?at={moment(9)}"
    async with recorded.get(url, headers=bearer("may-rewind-the-door")) as answer:
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
        assert answer.headers["X-Captured-At"] == "2026-11-22T18:50:09.000Z"
    assert await status_of(recorded, url, **bearer("may-view-the-door")) == 403
    gap = f"/snapshot/door.jpg?at={moment(-5)}"
    assert await status_of(recorded, gap, **bearer("may-rewind-the-door")) == 404
    # `now` is live: the scope of recordings does not open it.
    for live in ("/snapshot/ghost.jpg?at=now", "/mjpeg/ghost?at=now"):
        assert await status_of(recorded, live, **bearer("may-rewind-the-door")) == 403
        assert await status_of(recorded, live, **bearer("may-view-the-door")) == 404


@pytest.mark.parametrize(
    ("signed", "asked", "is_default", "opens"),
    [
        (Span(1000), Span(500), True, True),
        (Span(1000), Span(500), False, False),
        (Span(1000, 2000), Span(500), True, False),
    ],
)
def test_a_url_without_a_start_stays_open_when_the_clock_is_set_back(
    signed: Span, asked: Span, is_default: bool, opens: bool
) -> None:
    """Its playlist begins with the span of the token."""
    of_token = Target(Family.DVR, Scope.ARCHIVE, "door", span=signed)
    of_request = Target(Family.DVR, Scope.ARCHIVE, "door", span=asked, has_default_span=is_default)
    assert of_token.opens(of_request) is opens
