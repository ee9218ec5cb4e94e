"""Invalid input from the network and the disk: packets, queries on every route, Range, MP4, TOML."""

import asyncio
import contextlib
import logging
import string
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import SettingsError
from hls.archive.recovery import recover
from tests.faults.conftest import Sites, wait_until_playable
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from web.settings import Settings, load_settings

SOCKET = "/socket.io/?EIO=4&transport=websocket"

IMPATIENT = aiohttp.ClientWSTimeout(ws_close=0.2)

WILD = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TEXT = st.text(max_size=30) | st.sampled_from(
    ["", "now", "0", "-1", "1e400", "nan", "\0", "٣", "9" * 40, "2026-11-21T18:50:00Z", "9999-12-31T23:59:59Z", "../.."]
)

NAMES = (
    *(
        "start",
        "end",
        "time",
        "at",
        "width",
        "frame_rate",
        "limit",
        "cursor",
        "token",
        "format",
        "_HLS_msn",
        "_HLS_part",
    ),
    *("_HLS_skip", "EIO", "transport", "sid"),
)

RANGES = st.one_of(
    st.text(max_size=40),
    st.tuples(st.integers(-5, 2**70), st.integers(-5, 2**70)).map(lambda ends: f"bytes={ends[0]}-{ends[1]}"),
    st.sampled_from(["bytes=-", "bytes=-0", "bytes=5-", "bytes=9-3", "bytes=0-0,2-3", "items=0-1", "bytes=٣-٤"]),
)

PACKETS = st.one_of(
    st.text(max_size=60),
    st.tuples(
        st.sampled_from(["4", "40", "41", "42", "43", "44", "451-", "46", "42/x,", "421", "43999", "2probe", "5", "6"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ).map(repr)
        | st.sampled_from(
            ['["capture_start_request",{"client_id":1}]', '["webrtc_offer",{"sdp":{}}]', "[", "[[[[[[[[[["]
        ),
    ).map("".join),
)


def a_header(text: str) -> str:
    """Text that a header can contain."""
    return "".join(letter for letter in text if letter.isprintable() and ord(letter) < 256).strip()


def routes(app: web.Application) -> list[str]:
    """Every GET route, with a camera and a file that may exist."""
    fill = {
        "camera": "door",
        "file": "live.m3u8",
        "segment": "20261121T185000Z",
        "init": "x",
        "viewer": "v",
        "name": "x",
    }
    found = set()
    for route in app.router.routes():
        if route.method != "GET" or route.resource is None or route.resource.canonical.startswith("/socket.io"):
            continue
        path = route.resource.canonical
        for name in [part[1] for part in string.Formatter().parse(path) if part[1]]:
            path = path.replace("{" + name + "}", fill.get(name, "x"))
        found.add(path)
    return sorted(found)


async def test_no_query_or_range_makes_a_route_fail(sites: Sites, caplog: pytest.LogCaptureFixture) -> None:
    site = await sites({"door": "faulty://door"}, archive_segment_seconds=2)
    await wait_until_playable(site)
    assert site.client.app is not None
    paths = routes(site.client.app)
    assert len(paths) > 20
    segments = (await site.json("/api/cameras/door/segments"))["segments"]
    paths += [segment["url"] for segment in segments[:1]]
    queries = st.lists(st.tuples(st.sampled_from(NAMES), TEXT), max_size=3)
    drawn: list[tuple[str, list[tuple[str, str]], str]] = []

    @settings(max_examples=250, deadline=None, database=None)
    @given(st.sampled_from(paths), queries, RANGES)
    def draw(path: str, query: list[tuple[str, str]], span: str) -> None:
        drawn.append((path, query, span))

    await asyncio.to_thread(draw)
    caplog.set_level(logging.ERROR)

    async def ask(path: str, query: list[tuple[str, str]], span: str) -> None:
        shown = [(name, text.encode("utf-8", "ignore").decode()) for name, text in query]
        # Endless answers and blocked requests are closed once they have begun.
        try:
            async with (
                asyncio.timeout(0.5),
                site.client.get(path, params=shown, headers={"Range": a_header(span)}) as reply,
            ):
                assert reply.status < 500 or reply.status == 503, (path, query, span, await reply.text())
        except TimeoutError:
            pass

    for at in range(0, len(drawn), 10):
        await asyncio.gather(*(ask(*each) for each in drawn[at : at + 10]))
    assert "Traceback" not in caplog.text
    assert await site.json("/health") == {"status": "ok"}


async def test_no_packet_breaks_the_socketio_server(sites: Sites, caplog: pytest.LogCaptureFixture) -> None:
    site = await sites({"door": "faulty://door"}, record="never")
    drawn: list[list[str]] = []

    @settings(max_examples=120, deadline=None, database=None)
    @given(st.lists(PACKETS, min_size=1, max_size=6))
    def draw(packets: list[str]) -> None:
        drawn.append([packet.encode("utf-8", "ignore").decode() for packet in packets])

    await asyncio.to_thread(draw)
    caplog.set_level(logging.WARNING)
    for number, packets in enumerate([["9"], [""], ["x"], ["9" * 40], ["4" + "[" * 5000], *drawn]):
        async with site.client.ws_connect(SOCKET, timeout=IMPATIENT) as socket:
            if number % 2:
                await socket.send_str("40")
            try:
                for packet in packets:
                    if number % 5:
                        await socket.send_str(packet)
                    else:
                        await socket.send_bytes(packet.encode())
            except (ConnectionError, aiohttp.ClientError):
                continue  # the server closed the connection, which is a valid answer
    async with site.client.ws_connect(SOCKET, timeout=IMPATIENT) as socket:
        assert (await socket.receive_str(timeout=10)).startswith("0")
        await socket.send_str("40")
        assert (await socket.receive_str(timeout=10)).startswith("40")
    assert "Traceback" not in caplog.text, caplog.text[:3000]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture(scope="module")
def recording() -> tuple[Path, bytes]:
    """The path of a finished segment below DATA_DIR, and its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        ((segment, _),) = record(data_dir, encode(EncoderSettings(seconds=3)))
        path = segment.path(data_dir)
        return path.relative_to(data_dir), path.read_bytes()


EDITS = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=12)


@WILD
@given(edits=EDITS, keep=st.floats(0, 1), swap=st.booleans())
def test_the_archive_starts_with_any_damage_on_disk(
    recording: tuple[Path, bytes], edits: list[tuple[float, bytes]], keep: float, swap: bool
) -> None:
    """Overwritten bytes, truncated files, wrong rows: recovery repairs what it can, and never fails."""
    place, whole = recording
    mangled = bytearray(whole[: int(len(whole) * keep)] if swap else whole)
    for at, data in edits:
        # Half of them in the header, where the boxes are.
        position = int(at * (1000 if at < 0.5 else len(mangled)))
        mangled[position : position + len(data)] = data
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        index = index_of(data_dir)
        path = data_dir / place
        path.parent.mkdir(parents=True)
        path.write_bytes(mangled)
        done = recover(data_dir, index)
        assert done.added + len(done.unreadable) + done.removed_files <= 1
        # A second start finds no damage, except in files that cannot be read.
        again = recover(data_dir, index)
        assert (again.added, again.truncated, again.removed_rows, again.removed_files) == (0, 0, 0, 0)
        index.close()


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(
            letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}" for letter in value
        )
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


LETTERS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=True) | LETTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([*Settings.model_fields, "engine", "url"])
TABLES = st.dictionaries(KEYS | LETTERS, VALUES, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=TABLES, cameras=VALUES | st.dictionaries(LETTERS | st.just("door"), TABLES | VALUES, max_size=3))
def test_any_settings_file_is_accepted_or_refused_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, top: dict[str, Any], cameras: Any
) -> None:
    lines = [f"{toml(name)} = {toml(value)}" for name, value in {**top, "cameras": cameras}.items()]
    text = "\n".join(lines)
    tomllib.loads(text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "liveedge.toml"
        path.write_text(text)
        monkeypatch.setenv("LIVEEDGE_CONFIG", str(path))
        monkeypatch.chdir(folder)
        with contextlib.suppress(SettingsError):
            load_settings().camera_settings()
        monkeypatch.undo()
