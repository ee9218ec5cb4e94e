"""The workers of ``WORKERS`` as one gateway: real processes, one address, fake cameras of the settings."""

import asyncio
import http.client
import json
import os
import re
import signal
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hls.evidence.verify import verify_export
from tests.support.eventually import eventually, eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.oidc import OidcServer, through_the_forms
from tests.support.push_service import push_service
from tests.support.whep_clients import aiortc_peer
from web.push.store import subscription_id

pytestmark = pytest.mark.integration

CAMERAS = ("door", "gate", "yard")

TOKEN = "the-token-of-the-admin"

TABLES = "".join(f'[cameras.{name}]\nurl = "fake://{name}"\nengine = "fake"\n' for name in CAMERAS)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("workers")
    (folder / "liveedge.toml").write_text(TABLES)
    provider = OidcServer()
    # The provider is a process of this loop.
    with asyncio.Runner() as runner:
        runner.run(provider.__aenter__())
        settings = {name.upper(): value for name, value in provider.settings.items()}
        process = GatewayProcess(folder, WORKERS=2, START="always", RECORD="always", AUTH_TOKEN=TOKEN, **settings)
        process.headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            with process:
                eventually_sync(lambda: shares(process) == [1, 2], "each worker captures its share")
                runner.run(provider.accept(f"{process.url}/"))
                yield process
        finally:
            runner.run(provider.__aexit__())


def addresses(gateway: GatewayProcess) -> list[str]:
    """Where each worker is for the others: who asks there asks this worker."""
    nodes = {each["name"]: each["url"] for each in status(gateway)["cluster"]["nodes"]}
    return [nodes["worker-1"], nodes["worker-2"]]


def headers_of(gateway: GatewayProcess, token: str | None = None) -> dict[str, str]:
    """Of a request to one worker that looks as one to the gateway."""
    headers = {"Host": gateway.url.removeprefix("http://"), "Origin": gateway.url}
    return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def status(gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = gateway.json("/api/status")
    return found


def owners(gateway: GatewayProcess) -> dict[str, str]:
    found: dict[str, str] = status(gateway)["cluster"]["owners"]
    return found


def shares(gateway: GatewayProcess) -> list[int]:
    """How many cameras each worker captures, if all are live."""
    whole = status(gateway)
    names = list(whole["cluster"]["owners"].values())
    is_live = all(camera["state"] == "live" for camera in whole["cameras"])
    return sorted(names.count(f"worker-{number}") for number in (1, 2)) if is_live else []


def workers(gateway: GatewayProcess) -> dict[str, int]:
    """The process of each worker, of those that were started last."""
    return dict(re.findall(r"(worker \d) is process (\d+)", gateway.log()))


def request(gateway: GatewayProcess, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """On a connection of its own: any worker may take it."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, gateway.headers | {"Content-Type": "text/plain" if body else "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_any_request_gets_any_camera(gateway: GatewayProcess) -> None:
    for camera in CAMERAS:
        for _ in range(3):
            code, body = request(gateway, "GET", f"/snapshot/{camera}.jpg")
            assert (code, body[:2]) == (200, b"\xff\xd8")
            code, body = request(gateway, "GET", f"/hls/{camera}/live.m3u8")
            assert (code, body[:7]) == (200, b"#EXTM3U")
    answers = [json.loads(request(gateway, "GET", "/api/cameras")[1])["cameras"] for _ in range(4)]
    assert all({each["state"] for each in cameras} == {"live"} for cameras in answers)
    metrics = request(gateway, "GET", "/metrics")[1].decode()
    assert 'liveedge_worker_up{worker="1"} 1.0\nliveedge_worker_up{worker="2"} 1.0' in metrics
    captured = dict(re.findall(r'liveedge_cluster_owned_cameras{worker="(\d)"} (\d)', metrics))
    assert sorted(captured.values()) == ["1", "2"]


def test_events_and_edits_are_those_of_the_whole_gateway(gateway: GatewayProcess) -> None:
    made = [gateway.json("/api/events", "POST", {"camera_id": name, "label": "person"})["id"] for name in CAMERAS]
    for _ in range(3):
        listed = json.loads(request(gateway, "GET", "/api/events")[1])["events"]
        assert [each["id"] for each in listed] == made[::-1], "newest first"
        page = json.loads(request(gateway, "GET", "/api/events?limit=2")[1])
        rest = json.loads(request(gateway, "GET", f"/api/events?limit=2&cursor={page['next_cursor']}")[1])
        assert [each["id"] for each in page["events"] + rest["events"]] == made[::-1]
        assert rest["next_cursor"] is None
    for event in made:
        assert request(gateway, "DELETE", f"/api/events/{event}")[0] == 204
    assert gateway.json("/api/events")["events"] == []
    gateway.json("/api/cameras", "POST", {"camera_id": "added", "url": "fake://added", "engine": "fake"})
    eventually_sync(lambda: shares(gateway) == [2, 2], "the worker with fewer cameras takes it")
    request(gateway, "DELETE", "/api/cameras/added")
    eventually_sync(lambda: shares(gateway) == [1, 2], "it is removed at all workers")


def recorded_since(gateway: GatewayProcess, camera: str) -> str:
    """When the first recording of a camera began."""

    def recorded() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = gateway.json(f"/api/cameras/{camera}/segments")["segments"]
        return found

    start: str = eventually_sync(recorded, f"{camera} is recorded")[0]["start"]
    return start


def test_a_recording_plays_at_every_worker_where_the_preferred_stream_is_not_recorded(gateway: GatewayProcess) -> None:
    for camera in CAMERAS:
        start = recorded_since(gateway, camera)
        query = f"start={start}&end={time.time()}&prefer=sub"
        for address in addresses(gateway):
            asked = urllib.request.Request(
                f"{address}/hls/{camera}/dvr.m3u8?{query}", headers=headers_of(gateway, TOKEN)
            )
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert b"#EXTINF" in answer.read()


def test_an_export_has_what_all_workers_have_recorded(gateway: GatewayProcess, tmp_path: Path) -> None:
    start = max(recorded_since(gateway, camera) for camera in CAMERAS)
    asked = {"cameras": CAMERAS, "start": start, "end": str(time.time())}
    export = gateway.json("/api/exports", "POST", asked)
    eventually_sync(lambda: gateway.json(f"/api/exports/{export['id']}")["state"] == "done", "the export is done")
    path = tmp_path / "export.zip"
    path.write_bytes(request(gateway, "GET", f"/api/exports/{export['id']}/export.zip")[1])
    report = verify_export(path, None)
    assert not report.faults, report.lines
    with zipfile.ZipFile(path) as file:
        manifest = json.loads(file.read("manifest.json"))
    assert sorted(each["camera"] for each in manifest["cameras"]) == sorted(CAMERAS)
    assert all(each["clips"] for each in manifest["cameras"])
    assert (manifest["not_recorded"], manifest["away"]) == ([], [])
    assert [each["id"] for each in gateway.json("/api/exports")["exports"]] == [export["id"]], (
        "its parts are not listed"
    )


def test_a_session_of_engine_io_that_polls_may_reach_any_worker(gateway: GatewayProcess) -> None:
    path = "/socket.io/?EIO=4&transport=polling"
    session = json.loads(request(gateway, "GET", path)[1][1:])["sid"]
    here = f"{path}&sid={session}"
    assert request(gateway, "POST", here, "40") == (200, b"OK")
    assert request(gateway, "GET", here)[1].startswith(b"40")
    for number in range(8):
        command = json.dumps(["capture_status_request", {"requesting_client": "me", "camera_id": CAMERAS[number % 3]}])
        assert request(gateway, "POST", here, f"42{number}{command}") == (200, b"OK")
        received = b""
        while f"43{number}".encode() not in received:
            received = request(gateway, "GET", here)[1]
        assert b'"state":"live"' in received


async def test_viewers_are_where_the_camera_is_captured(gateway: GatewayProcess) -> None:
    for camera in CAMERAS:
        async with aiortc_peer(f"{gateway.url}/whep/{camera}", token=TOKEN) as viewer:

            async def has_pictures(viewer: Any = viewer) -> bool:
                return bool((await viewer.counts())["pictures"] > 5)

            await eventually(has_pictures, "pictures come")

            def relays() -> list[str]:
                metrics = request(gateway, "GET", "/metrics")[1].decode()
                return re.findall(r'liveedge_cluster_relays_received{worker="\d"} (\d)', metrics)

            await eventually(lambda relays=relays: relays() == ["0", "0"], "those of earlier requests have ended")  # type: ignore[misc]
            code, body = request(gateway, "GET", f"/api/cameras?camera_id={camera}&hold=true")
            assert (code, relays()) == (200, ["0", "0"]), "only the worker that captures it waits for it"
            assert "relay" not in json.loads(body)["cameras"][0]["viewers"]
            assert gateway.camera(camera)["viewers"]["webrtc"] == 1
        await eventually(lambda camera=camera: "webrtc" not in gateway.camera(camera)["viewers"], "it is ended there")  # type: ignore[misc]


async def test_tokens_and_links_are_those_of_the_whole_gateway(gateway: GatewayProcess) -> None:
    first, second = addresses(gateway)
    admin = headers_of(gateway, TOKEN)
    async with aiohttp.ClientSession() as http:

        async def answer(method: str, url: str, headers: dict[str, str], body: object = None) -> tuple[int, Any]:
            async with http.request(method, url, headers=headers, json=body) as reply:
                return reply.status, await reply.json(content_type=None) if reply.status in (200, 201) else None

        async def codes(path: str, headers: dict[str, str]) -> list[int]:
            return [(await answer("GET", f"{worker}{path}", headers))[0] for worker in (first, second)]

        made = [
            (await answer("POST", f"{worker}/api/tokens", admin, {"name": worker[-5:], "role": "viewer"}))[1]
            for worker in (first, second)
        ]
        taken = {"name": made[0]["name"], "role": "viewer"}
        assert (await answer("POST", f"{second}/api/tokens", admin, taken))[0] == 409
        for token in made:
            assert await codes("/api/cameras/door", headers_of(gateway, token["token"])) == [200, 200]
        for worker in (first, second):
            listed = (await answer("GET", f"{worker}/api/tokens", admin))[1]["tokens"]
            assert {each["id"] for each in listed if each["source"] == "api"} == {token["id"] for token in made}
        wanted = {"path": "/mjpeg/door", "name": "for the police"}
        link = (await answer("POST", f"{second}/api/sign", admin, wanted))[1]
        viewer = headers_of(gateway, made[1]["token"])
        plain = headers_of(gateway)
        for url, headers, end in (
            (f"/mjpeg/door?token={link['token']}", plain, f"/api/links/{link['id']}"),
            ("/mjpeg/door", viewer, f"/api/tokens/{made[1]['id']}"),
        ):
            async with (
                http.get(f"{first}{url}", headers=headers) as here,
                http.get(f"{second}{url}", headers=headers) as there,
            ):
                assert (here.status, there.status) == (200, 200)
                assert (await answer("DELETE", f"{first}{end}", admin))[0] == 204
                for stream in (here, there):
                    async with asyncio.timeout(60):
                        with pytest.raises(aiohttp.ClientError):
                            await stream.read()
            assert await codes(url, headers) == [401, 401]
        assert await codes("/api/cameras/door", headers_of(gateway, made[0]["token"])) == [200, 200]


async def test_who_signed_in_at_one_worker_is_signed_in_at_all(gateway: GatewayProcess) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        callback = await through_the_forms(http, f"{gateway.url}/auth/login", "olga")
        async with http.get(callback, allow_redirects=False) as answer:
            assert answer.status == 303
        page = headers_of(gateway)
        for worker in addresses(gateway):
            for camera in CAMERAS:  # some of them are of the other worker, which has to know who asks
                url = f"{worker}/api/cameras/{camera}/capture/start"
                async with http.post(url, headers=page, json={"client_id": "page"}) as answer:
                    assert answer.status == 200, await answer.text()
                other = {**page, "Origin": "http://127.0.0.1:1"}
                async with http.post(url, headers=other, json={"client_id": "page"}) as answer:
                    assert answer.status in (401, 403)
            forged = {**headers_of(gateway), "Liveedge-Sign-In": "made-up", "Cookie": ""}
            async with aiohttp.request("GET", f"{worker}/api/cameras/door", headers=forged) as answer:
                assert answer.status == 401
        first, second = addresses(gateway)
        async with http.get(f"{second}/mjpeg/door", headers=page) as mjpeg:
            assert mjpeg.status == 200
            async with http.post(f"{first}/auth/logout", headers=page) as answer:
                assert answer.status == 200
            async with asyncio.timeout(60):
                with pytest.raises(aiohttp.ClientError):
                    await mjpeg.read()


async def test_a_browser_is_notified_of_the_cameras_of_all_workers_once(gateway: GatewayProcess) -> None:
    path = gateway.folder / "liveedge.toml"
    before = path.read_text()
    first, second = addresses(gateway)
    url = "/api/push/subscriptions"
    admin = headers_of(gateway, TOKEN)
    async with push_service() as service, aiohttp.ClientSession() as http:
        path.write_text(f'push_services = ["{service.url}"]\n{before}')
        try:
            browser = service.subscribe("desk")
            wanted = {"name": "desk", "kinds": ["event.created"], "endpoint": browser.endpoint, "keys": browser.keys}

            async def is_taken() -> bool:
                taken = set()
                for address in (first, second):
                    async with http.post(f"{address}{url}", headers=admin, json=wanted) as answer:
                        taken.add(answer.status)
                return taken <= {200, 201}

            async def is_known() -> bool:
                async with http.get(f"{second}{url}", headers=admin) as answer:
                    found = await answer.json()
                    assert answer.status == 200, found
                    return [each["name"] for each in found["subscriptions"]] == ["desk"]

            await eventually(is_taken, "both have read the settings again")
            await eventually(is_known, "the other worker knows it")
            for camera in CAMERAS:
                event = {"camera_id": camera, "label": "person"}
                await asyncio.to_thread(gateway.json, "/api/events", "POST", event)
            await eventually(lambda: len(service.of("desk")) >= len(CAMERAS), "it hears of all cameras")
            assert sorted(each.data["title"] for each in service.of("desk")) == sorted(CAMERAS)
            assert len({each.key for each in service.received}) == 1
            subscription = subscription_id(browser.endpoint)
            async with http.delete(f"{second}{url}/{subscription}", headers=admin) as answer:
                assert answer.status == 204

            async def is_gone() -> bool:
                async with http.get(f"{first}{url}", headers=admin) as answer:
                    return (await answer.json())["subscriptions"] == []

            await eventually(is_gone, "it ends at both")
        finally:
            path.write_text(before)


async def test_the_cameras_of_a_worker_that_is_killed_go_on_and_it_comes_back(gateway: GatewayProcess) -> None:
    before = workers(gateway)
    started = "worker 2 is process"
    starts = gateway.log().count(started)
    made = gateway.json("/api/tokens", "POST", {"name": "guard", "role": "viewer"})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.get(await through_the_forms(http, f"{gateway.url}/auth/login", "olga")) as answer:
            assert answer.status == 200
        os.kill(int(before["worker 2"]), signal.SIGKILL)
        await eventually(lambda: set(owners(gateway).values()) == {"worker-1"}, "the other takes them over")
        assert request(gateway, "GET", "/ready")[0] == 200
        assert "cluster_node_away" not in {each["code"] for each in status(gateway)["problems"]}, "worker_away tells it"
        await eventually(lambda: gateway.log().count(started) == starts + 1, "another process is started", limit_s=120)
        os.kill(gateway.pid, signal.SIGHUP)  # it knows no signals yet
        await eventually(lambda: len(status(gateway)["cluster"]["nodes"]) == 2, "it is started again", limit_s=120)
        for headers in (headers_of(gateway), headers_of(gateway, made["token"])):
            async with http.get(f"{addresses(gateway)[1]}/api/cameras/door", headers=headers) as answer:
                assert answer.status == 200, "it knows who signed in, and the tokens"
    after = workers(gateway)
    assert after["worker 1"] == before["worker 1"]
    assert after["worker 2"] != before["worker 2"]
    assert "worker 2 ended (by SIGKILL)" in gateway.log()
    assert gateway.log().count(started) == starts + 1, "that process serves"
    await eventually(lambda: status(gateway)["problems"] == [], "no problem is left")


def test_sigterm_ends_all_workers_in_order(gateway: GatewayProcess) -> None:
    processes = workers(gateway)
    gateway.stop()
    assert gateway.process is not None
    assert gateway.process.returncode == 0
    for process in processes.values():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)
    assert "Traceback" not in gateway.log()
    for name in ("evidence.key", ".workers/2/evidence.key"):
        assert (gateway.folder / "data" / name).stat().st_mode & 0o077 == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(gateway.url, timeout=5)
