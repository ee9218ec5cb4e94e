"""The access table, compared with every route and every event."""

import re
from typing import Any

import pytest
import socketio
from aiohttp import ClientTimeout
from socketio.exceptions import ConnectionError as Refused

from gateway.access import Scope
from signaling.events import COMMANDS, Endpoint
from tests.support.auth_gateway import ADMIN_TOKEN, Client, bearer, close_failed
from web.auth.policy import EVENTS, ROUTES, CameraMatch, Rule

TOKENS = {
    Scope.VIEW: "may-view-the-door",
    Scope.CONTROL: "may-control-the-door",
    Scope.ARCHIVE: "may-rewind-the-door",
    Scope.PUBLISH: "may-publish-the-door",
    Scope.PTZ: "may-move-the-door",
    Scope.TALK: "may-talk-to-the-door",
    Scope.ADMIN: ADMIN_TOKEN,
}
OTHER_CAMERA = "may-all-of-the-yard"

NAMES = {
    "camera": "ghost",
    "viewer": "nobody",
    "publisher": "nobody",
    "talker": "nobody",
    "event": "01234567-89ab-4def-8123-456789abcdef",
    "segment": "segment_20261122T185000Z",
    "name": "part-1-1.m4s",
    "init": "0123456789abcdef",
    "file": "player.js",
    "tail": "live.m3u8",
    "export": "00000000-0000-4000-8000-00000000000e",
    "webhook": "nobody",
    "wall": "nowhere",
    "subscription": "nobody",
    "id": "nothing",
}

GUARDED = [(method, path, rule) for (method, path), rule in ROUTES.items() if not rule.is_public]
ASKED = [(method, path, rule) for method, path, rule in GUARDED if rule.scope is not None]


def address(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: NAMES[match[1]], path)


async def status_of(client: Client, method: str, path: str, token: str | None) -> tuple[int, dict[str, Any]]:
    headers = bearer(token) if token is not None else {}
    timeout = ClientTimeout(total=20)
    async with client.request(method, address(path), headers=headers, timeout=timeout) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else {}


async def test_the_table_has_exactly_the_routes_of_the_router(auth_client: Client) -> None:
    assert auth_client.app is not None
    routes = {
        (route.method, route.resource.canonical)
        for route in auth_client.app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert routes - set(ROUTES) == set(), "a route without a rule is refused: give it a row in web/auth/policy.py"
    assert set(ROUTES) - routes == set(), "a rule without a route"


def test_public_routes_only_read_and_admin_needs_all_cameras() -> None:
    for (method, path), rule in ROUTES.items():
        if rule.is_public:
            assert method in ("GET", "OPTIONS") or path in ("/socket.io/", "/auth/logout"), path
        if rule.scope is Scope.ADMIN:
            assert rule.cameras is CameraMatch.ALL
        if "{camera}" in path and not (rule.is_public or rule.is_for_nodes):
            assert rule.scope is not None, path


async def test_without_a_token_only_public_routes_answer(auth_client: Client) -> None:
    for method, path, _ in GUARDED:
        status, body = await status_of(auth_client, method, path, None)
        assert (status, body["error"]) == (401, "unauthorized"), (method, path)
    for (method, path), rule in ROUTES.items():
        if rule.is_public:
            status, _ = await status_of(auth_client, method, path, None)
            assert status not in (401, 403), (method, path)


async def test_head_needs_the_scope_of_get(auth_client: Client) -> None:
    for method, path, _ in GUARDED:
        if method == "GET":
            async with auth_client.head(address(path)) as answer:
                assert answer.status == 401, path


async def test_a_token_without_the_scope_is_answered_403_with_the_scope(auth_client: Client) -> None:
    for method, path, rule in ASKED:
        for scope, token in TOKENS.items():
            if scope in (rule.scope, Scope.ADMIN):
                continue
            status, body = await status_of(auth_client, method, path, token)
            assert (status, body["error"], body["scope"]) == (403, "forbidden", rule.scope), (method, path, scope)


async def test_the_wrong_camera_is_refused_whether_it_exists_or_not(auth_client: Client) -> None:
    for method, path, rule in ASKED:
        if rule.cameras is CameraMatch.ANY:
            continue
        status, body = await status_of(auth_client, method, path, OTHER_CAMERA)
        assert (status, body["error"]) == (403, "forbidden"), (method, path)


async def test_a_token_with_the_scope_is_accepted(auth_client: Client) -> None:
    for method, path, rule in GUARDED:
        if rule.is_for_nodes:
            assert (await status_of(auth_client, method, path, ADMIN_TOKEN))[0] == 401
            continue
        token = TOKENS[rule.scope] if rule.scope is not None else TOKENS[Scope.VIEW]
        if (rule.scope, rule.cameras) == (Scope.VIEW, CameraMatch.ALL):
            token = "may-view-everything"
        for each in {token, ADMIN_TOKEN}:
            status, body = await status_of(auth_client, method, path, each)
            assert status not in (401, 403), (method, path, body)


async def test_every_route_that_shows_recordings_needs_archive(auth_client: Client) -> None:
    recorded = [(method, path, rule) for method, path, rule in GUARDED if rule.archive_parameter is not None]
    assert recorded
    for method, path, rule in recorded:
        moment = f"{path}?{rule.archive_parameter}=2026-11-22T18:50:00Z"
        assert (await status_of(auth_client, method, moment, TOKENS[Scope.VIEW]))[0] == 403
        assert (await status_of(auth_client, method, moment, TOKENS[Scope.ARCHIVE]))[0] not in (401, 403)


async def test_a_route_without_a_rule_is_refused(auth_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dict(ROUTES)
    del table["GET", "/api/cameras"]
    monkeypatch.setattr("web.auth.policy.ROUTES", table)
    status, body = await status_of(auth_client, "GET", "/api/cameras", ADMIN_TOKEN)
    assert (status, body["error"]) == (403, "forbidden")


async def test_lists_contain_only_cameras_of_the_token(auth_client: Client) -> None:
    for path in ("/api/cameras", "/api/status"):
        for token, seen in ((OTHER_CAMERA, ["yard"]), (TOKENS[Scope.VIEW], ["door"]), (ADMIN_TOKEN, ["door", "yard"])):
            _, body = await status_of(auth_client, "GET", path, token)
            assert [camera["camera_id"] for camera in body["cameras"]] == seen
            if path == "/api/status" and token is not ADMIN_TOKEN:
                assert set(body["archive"]["cameras"]) <= set(seen)


def test_a_rule_is_not_public_by_default() -> None:
    assert not Rule().is_public


# --- Socket.IO

PAYLOADS: dict[str, dict[str, Any]] = {
    "capture_start_request": {"client_id": "c", "metadata": {"camera_id": "CAMERA"}},
    "capture_stop_request": {"client_id": "c", "metadata": {"camera_id": "CAMERA"}},
    "capture_status_request": {"requesting_client": "c", "camera_id": "CAMERA"},
    "webrtc_offer": {"client_id": "c", "camera_id": "CAMERA", "sdp": "v=0"},
    "webrtc_rendition_request": {"client_id": "c", "rendition": "sub"},
    "webrtc_ice_candidate": {"client_id": "c", "candidate": None},
    "webrtc_close": {"client_id": "c"},
    "frames_subscribe": {"camera_id": "CAMERA"},
    "frames_unsubscribe": {"camera_id": "CAMERA"},
    "ptz_request": {"camera_id": "CAMERA", "action": "stop"},
    "snapshot_request": {"camera_id": "CAMERA", "wait": 0.0},
    "segments_list_request": {"camera_id": "CAMERA"},
    "segment_at_request": {"camera_id": "CAMERA", "time": 5},
    "event_create_request": {"camera_id": "CAMERA", "label": "person"},
    "event_update_request": {"event_id": NAMES["event"], "reviewed": True},
    "event_list_request": {"camera_id": "CAMERA"},
}


def payload(event: str, camera_id: str) -> dict[str, Any]:
    data = {name: camera_id if value == "CAMERA" else value for name, value in PAYLOADS[event].items()}
    if "metadata" in data:
        data["metadata"] = {"camera_id": camera_id}
    return data


class Socket:
    """A Socket.IO client with a token, and the status events that it received."""

    def __init__(self, client: Client, auth: object) -> None:
        self._url = str(client.make_url("/"))
        self._auth = auth
        self.sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.refusal: dict[str, Any] = {}
        self.told: list[str] = []
        self.sio.on("connect_error", self._refused)
        self.sio.on("capture_status_response", self._told)

    def _refused(self, data: dict[str, Any]) -> None:
        self.refusal = data

    def _told(self, data: dict[str, Any]) -> None:
        # A refusal repeats the name that was asked for, and says nothing of a camera.
        if "error" not in data or data["rtsp_url"]:
            self.told.append(data.get("camera_id", "?"))

    async def __aenter__(self) -> "Socket":
        try:
            await self.sio.connect(self._url, auth=self._auth, transports=["websocket"])
        except BaseException:
            await close_failed(self.sio)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sio.disconnect()

    async def call(self, event: str, camera_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = await self.sio.call(event, payload(event, camera_id), timeout=20)
        return answer


def test_the_table_has_exactly_the_commands_of_browsers() -> None:
    assert set(EVENTS) == {name for name, event in COMMANDS.items() if Endpoint.BROWSER in event.endpoints}
    assert set(EVENTS) == set(PAYLOADS)


@pytest.mark.parametrize("auth", [None, {}, {"token": None}, {"token": "no-token-that-is-known"}, "text", {"token": 5}])
async def test_socketio_refuses_an_invalid_token(auth_client: Client, auth: object) -> None:
    socket = Socket(auth_client, auth)
    with pytest.raises(Refused):
        async with socket:
            pass
    assert socket.refusal["data"]["status"] == 401
    assert socket.refusal["data"]["error"] == "unauthorized"
    assert socket.refusal["message"]


async def test_each_event_needs_its_scope_and_camera(auth_client: Client) -> None:
    sockets = {scope: Socket(auth_client, {"token": token}) for scope, token in TOKENS.items()}
    async with (
        sockets[Scope.VIEW],
        sockets[Scope.CONTROL],
        sockets[Scope.ARCHIVE],
        sockets[Scope.PUBLISH],
        sockets[Scope.PTZ],
        sockets[Scope.TALK],
        sockets[Scope.ADMIN],
        Socket(auth_client, {"token": OTHER_CAMERA}) as other,
    ):
        for event, needed in EVENTS.items():
            for scope, socket in sockets.items():
                answer = await socket.call(event, "ghost")
                is_allowed = scope in (needed, Scope.ADMIN)
                assert (answer.get("error") != "forbidden") == is_allowed, (event, scope, answer)
            answer = await other.call(event, "door")
            has_camera = "CAMERA" in str(PAYLOADS[event])
            assert (answer.get("error") == "forbidden") == has_camera, (event, answer)


async def test_socketio_sends_no_status_of_other_cameras(auth_client: Client) -> None:
    async with (
        Socket(auth_client, {"token": OTHER_CAMERA}) as other,
        Socket(auth_client, {"token": ADMIN_TOKEN}) as admin,
    ):
        await admin.call("capture_start_request", "door")
        await admin.call("capture_start_request", "yard")
        # Refused, malformed and meant for the default camera, which is the door: none of it may tell of the door.
        await other.call("capture_start_request", "door")
        await other.sio.call("capture_start_request", {"client_id": 5, "metadata": {"camera_id": "door"}}, timeout=20)
        await other.sio.call("capture_status_request", {"requesting_client": "c"}, timeout=20)
        await other.call("capture_status_request", "yard")
        assert "door" in admin.told
        assert "yard" in other.told
        assert "door" not in other.told


async def test_an_event_without_a_rule_is_refused(auth_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.auth.policy.EVENTS", {})
    async with Socket(auth_client, {"token": ADMIN_TOKEN}) as socket:
        assert (await socket.call("frames_subscribe", "ghost"))["error"] == "forbidden"
