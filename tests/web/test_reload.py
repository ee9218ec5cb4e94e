"""Settings that change while the gateway runs: applied at once, or reported; other cameras are not interrupted."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.camera_settings import StartMode
from gateway.config.field import Applies, names_changed
from gateway.errors import SettingsError
from hls.settings import recording_settings
from tests.support.configured import engines, load, write
from tests.support.eventually import eventually
from web.gateway import GATEWAY
from web.reload import SettingsWatch
from web.settings import Settings

pytestmark = pytest.mark.usefixtures("place")


async def test_a_file_that_is_being_written_is_not_read_half(
    place: Path, open_gateway: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, door={})
    client = await open_gateway()
    service = client.app[GATEWAY].service
    door = service.camera("door")
    monkeypatch.setattr("web.reload.POLL_S", 0.02)
    watch = SettingsWatch(client.app[GATEWAY], load)
    watch.start()
    try:
        (place / "liveedge.toml").write_text("")
        await asyncio.sleep(0.1)
        write(place, door={}, yard={})
        await eventually(lambda: "yard" in service.cameras, "the file is applied")
        assert service.camera("door") is door
    finally:
        await watch.close()


async def test_a_changed_file_is_applied_and_other_cameras_are_not_interrupted(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    write(place, door={}, yard={}, gate={})
    client = await open_gateway()
    gateway, service = client.app[GATEWAY], client.app[GATEWAY].service
    await eventually(
        lambda: all(engines(place, camera_id) for camera_id in ("door", "yard", "gate")), "every camera has an engine"
    )
    watch = SettingsWatch(gateway, load)
    watch.start()
    try:
        write(place, door={}, yard={"url": f"scripted://{place.name}/yard"}, shed={})
        watch.request()
        await eventually(lambda: set(service.cameras) == {"door", "yard", "shed"}, "the cameras are those of the file")
        await eventually(
            lambda: engines(place, "yard", user="") and engines(place, "shed"),
            "the changed and the new camera have engines",
        )
        assert engines(place, "yard")[0].interrupted
        assert engines(place, "gate")[0].interrupted
        assert len(engines(place, "door")) == 1
        assert not engines(place, "door")[0].interrupted

        write(place, door={"engine": "no.such:Engine"}, shed={})
        watch.request()
        await eventually(lambda: gateway.reload_error, "the file is refused")
        assert "no.such" in gateway.reload_error
        assert set(service.cameras) == {"door", "yard", "shed"}

        gateway.reload_error = None
        (place / "liveedge.toml").write_text("[cameras.door]\nurl = 'rtsp://h/'\ncolour = 1")
        watch.request()
        await eventually(lambda: gateway.reload_error, "the file is refused")
        assert "line 3" in gateway.reload_error
        assert set(service.cameras) == {"door", "yard", "shed"}
        assert not engines(place, "door")[0].interrupted
        status = await (await client.get("/api/status")).json()
        assert any("line 3" in problem["message"] for problem in status["problems"])

        # Without a request, the watch sees the changed file.
        write(place, door={}, yard={"url": f"scripted://{place.name}/yard"})
        await eventually(lambda: set(service.cameras) == {"door", "yard"}, "the cameras are those of the file")
        await eventually(lambda: gateway.reload_error is None, "the file is accepted")
        assert len(engines(place, "door")) == 1
    finally:
        await watch.close()


async def test_settings_that_need_a_restart_are_reported_until_then(
    place: Path, open_gateway: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    gateway, file = client.app[GATEWAY], place / "liveedge.toml"
    before = file.read_text()
    watch = SettingsWatch(gateway, load)

    async def settings_status() -> Any:
        return (await (await client.get("/api/status")).json())["settings"]

    assert await settings_status() == {"error": None, "restart_needed": []}
    file.write_text("host = '127.0.0.2'\nwebrtc_hosts = ['192.0.2.1']\n" + before)
    for _ in range(2):
        caplog.clear()
        await watch.reload()
        assert "restart needed for: HOST, WEBRTC_HOSTS" in caplog.text, "however often they are read"
        assert (await settings_status())["restart_needed"] == ["HOST", "WEBRTC_HOSTS"]
    file.write_text("colour = 1\n" + before)
    await watch.reload()
    assert "colour" in (await settings_status())["error"]
    caplog.clear()
    file.write_text(before)
    await watch.reload()
    assert await settings_status() == {"error": None, "restart_needed": []}
    assert "restart needed" not in caplog.text


async def test_settings_that_need_a_restart_keep_their_values_until_then(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    write(place, door={})
    client = await open_gateway()
    gateway, file = client.app[GATEWAY], place / "liveedge.toml"
    door = gateway.service.camera("door")
    await eventually(lambda: engines(place, "door"), "the camera has an engine")
    before, started_with = file.read_text(), gateway.settings
    received: list[Settings] = []
    gateway.on_reload.append(received.append)
    file.write_text(
        'socketio_server_url = "http://127.0.0.1:9"\nhost = "rebound.example"\narchive_max_bytes = 7\n'
        "frame_rate = 3\nauth_disabled = true\n" + before
    )
    assert await gateway.reload(load()) == "changed: door; applied: AUTH_DISABLED, FRAME_RATE"
    assert gateway.restart_needed == ["ARCHIVE_MAX_BYTES", "HOST", "SOCKETIO_SERVER_URL"]
    assert (door.settings.start, door.settings.frame_rate) == (StartMode.ALWAYS, 3)
    assert len(engines(place, "door")) == 1
    assert not engines(place, "door")[0].interrupted
    assert (await client.get("/api/cameras", headers={"Host": "rebound.example"})).status == 403
    assert names_changed(started_with, received[0], *Applies) == ["AUTH_DISABLED", "FRAME_RATE"]
    # What the API changes afterwards uses the same settings.
    assert (await client.patch("/api/cameras/door", json={"frame_rate": 5})).status == 200
    assert door.settings.start is StartMode.ALWAYS


async def test_a_limit_of_bytes_applies_at_once_in_a_cameras_table_and_else_after_a_restart(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    write(place, door={"start": "on-demand"}, yard={"start": "on-demand"})
    client = await open_gateway()
    gateway, file = client.app[GATEWAY], place / "liveedge.toml"

    def limits() -> dict[str, int | None]:
        cameras = gateway.service.cameras
        return {key: recording_settings(camera.settings).archive_max_bytes for key, camera in cameras.items()}

    write(place, door={"start": "on-demand", "archive_max_bytes": 5_000_000}, yard={"start": "on-demand"})
    assert await gateway.reload(load()) == "changed: door; applied: CAMERAS"
    assert gateway.restart_needed == []
    assert limits() == {"door": 5_000_000, "yard": None}
    file.write_text("archive_max_bytes = 9_000_000\n" + file.read_text())
    assert await gateway.reload(load()) == "nothing changed"
    assert gateway.restart_needed == ["ARCHIVE_MAX_BYTES"]
    assert limits() == {"door": 5_000_000, "yard": None}


async def test_attempts_to_reach_the_event_service_change_at_once(
    place: Path, open_gateway: Callable[[], Any], free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    write(place, door={})
    file = place / "liveedge.toml"
    before = f'socketio_server_url = "http://127.0.0.1:{free_port}"\nconnection_retry_delay = 0.05\n' + file.read_text()
    file.write_text("connection_retry_attempts = 1000\n" + before)
    gateway = (await open_gateway()).app[GATEWAY]
    await eventually(lambda: gateway.messaging.status().error, "the event service cannot be reached")
    file.write_text("connection_retry_attempts = 1\n" + before)
    assert "applied: CONNECTION_RETRY_ATTEMPTS" in await gateway.reload(load())
    assert gateway.restart_needed == []
    await eventually(lambda: "cannot be reached, " in caplog.text, "the log reports the failed attempts")


async def test_access_and_limits_apply_at_once_and_no_camera_is_interrupted(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    write(place, door={}, yard={})
    client = await open_gateway()
    gateway, service, file = client.app[GATEWAY], client.app[GATEWAY].service, place / "liveedge.toml"
    await eventually(lambda: engines(place, "door") and engines(place, "yard"), "both cameras have engines")
    seen: list[int] = []
    service.camera("door").hub.attach(lambda packet: seen.append(packet.run))
    before = file.read_text()
    token = {"Authorization": "Bearer a-token-of-sixteen-and-more"}
    auth = 'auth_token = "a-token-of-sixteen-and-more"\n'
    wall = {"Origin": "https://wall.example.org"}

    async def reload(text: str) -> str:
        file.write_text(text + before)
        engines(place, "door")[0].send(key=True)
        summary: str = await gateway.reload(load())
        engines(place, "door")[0].send(key=True)
        return summary

    async def status(path: str = "/api/cameras", method: str = "GET", **headers: str) -> int:
        answer = await client.request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})
        return int(answer.status)

    # On and off.
    assert await status() == 200
    assert await reload(auth) == "applied: AUTH_TOKEN"
    assert (await status(), await status(**token)) == (401, 200)
    assert await reload("") == "applied: AUTH_TOKEN"
    assert await status() == 200
    # Origins.
    assert await status(**wall) == 403
    assert await reload('cors_origins = ["https://wall.example.org"]\n') == "applied: CORS_ORIGINS"
    assert await status(**wall) == 200
    # Names.
    assert await status(Host="door.example") == 403
    await reload('allowed_hosts = ["door.example"]\n')
    assert (await status(Host="door.example"), await status(**wall)) == (200, 403)
    # Proxies: the client is the address that they forward for.
    await reload('trusted_proxies = ["127.0.0.0/8"]\n')
    await reload('trusted_proxies = ["127.0.0.0/8"]\nconnections_per_address = 4\n')
    held = [asyncio.create_task(status("/snapshot/yard.jpg", X_Forwarded_For="192.0.2.7")) for _ in range(4)]
    await eventually(lambda: service.camera("yard").viewers.get("snapshot") == 4, "four snapshots wait")
    assert await status(X_Forwarded_For="192.0.2.7") == 429
    assert await status(X_Forwarded_For="192.0.2.8") == 200
    await reload('trusted_proxies = ["127.0.0.0/8"]\nconnections_per_address = 5\n')
    assert await status(X_Forwarded_For="192.0.2.7") == 200
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    # Metadata addresses and ICE servers.
    new = {"camera_id": "new", "url": "rtsp://169.254.7.7/", "start": "on-demand", "record": "never"}
    assert (await client.post("/api/cameras", json=new)).status == 400
    await reload("allow_metadata_addresses = true\nice_servers = ['stun:stun.example']\n")
    assert (await client.post("/api/cameras", json=new)).status == 201
    assert "stun.example" in (await client.options("/whep/door")).headers["Link"]
    with pytest.raises(SettingsError, match="ICE_SERVERS"):
        await reload(auth + "ice_servers = ['nonsense']\n")
    assert await status() == 200, "all of the new settings apply, or none"

    await eventually(lambda: len(seen) == 17, "all requests are answered")
    assert set(seen) == {1}
    for camera_id in ("door", "yard"):
        assert len(engines(place, camera_id)) == 1
        assert not engines(place, camera_id)[0].interrupted


async def test_changed_tokens_apply_or_nothing_changes(place: Path, open_gateway: Callable[[], Any]) -> None:
    write(place, door={"start": "on-demand"})
    client = await open_gateway()
    file = place / "liveedge.toml"
    before = file.read_text()
    assert (await client.get("/api/cameras")).status == 200
    file.write_text('allowed_hosts = ["door.example"]\n' + before)
    assert (await client.get("/api/cameras", headers={"Host": "door.example"})).status == 403
    assert await client.app[GATEWAY].reload(load()) == "applied: ALLOWED_HOSTS"
    assert (await client.get("/api/cameras", headers={"Host": "door.example"})).status == 200
    file.write_text('auth_token = "a-token-of-sixteen-and-more"\n' + before)
    assert await client.app[GATEWAY].reload(load()) == "applied: ALLOWED_HOSTS, AUTH_TOKEN"
    assert (await client.get("/api/cameras")).status == 401

    contradiction = 'auth_token = "a-token-of-sixteen-and-more"\nauth_disabled = true\n'
    file.write_text(contradiction + before.replace("door", "yard"))
    with pytest.raises(SettingsError):
        await client.app[GATEWAY].reload(load())
    assert set(client.app[GATEWAY].service.cameras) == {"door"}
    assert (await client.get("/api/cameras")).status == 401
