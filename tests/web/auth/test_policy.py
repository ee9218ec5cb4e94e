"""The table of access, walked route by route and event by event."""

import re
from typing import Any

import pytest
import socketio
from aiohttp import ClientTimeout
from socketio.exceptions import ConnectionError as Refused

from gateway.access import Scope
from signaling.events import COMMANDS, Endpoint
from tests.support.guarded import ADMIN_TOKEN, Client, bearer
from web.auth.policy import EVENTS, ROUTES, CameraMatch, Rule

TOKENS = {
    Scope.VIEW: "may-view-the-door",
    Scope.CONTROL: "may-control-the-door",
    Scope.ARCHIVE: "may-rewind-the-door",
    Scope.ADMIN: ADMIN_TOKEN,
}
OTHER_CAMERA = "may-all-of-the-yard"

NAMES = {
    "camera": "ghost",
    "viewer": "nobody",
    "segment": "segment_20261122T185000Z",
    "name": "part-1-1.m4s",
    "init": "0123456789abcdef",
    "file": "player.js",
    "tail": "live.m3u8",
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


async def test_every_route_is_in_the_table_and_every_row_leads_somewhere(shut: Client) -> None:
    assert shut.app is not None
    routes = {
        (route.method, route.resource.canonical)
        for route in shut.app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert routes - set(ROUTES) == set(), "a route without a rule is shut: give it a row in web/auth/policy.py"
    assert set(ROUTES) - routes == set(), "a rule without a route"


def test_what_changes_something_is_not_open_and_admin_is_not_for_some_cameras() -> None:
    for (method, path), rule in ROUTES.items():
        if rule.is_public:
            assert method in ("GET", "OPTIONS") or path == "/socket.io/", path
        if rule.scope is Scope.ADMIN:
            assert rule.cameras is CameraMatch.ALL
        if "{camera}" in path and not rule.is_public:
            assert rule.scope is not None, path


async def test_without_a_token_nothing_but_what_is_open(shut: Client) -> None:
    for method, path, _ in GUARDED:
        status, body = await status_of(shut, method, path, None)
        assert (status, body["error"]) == (401, "unauthorized"), (method, path)
    for (method, path), rule in ROUTES.items():
        if rule.is_public:
            status, _ = await status_of(shut, method, path, None)
            assert status not in (401, 403), (method, path)


async def test_head_needs_what_get_needs(shut: Client) -> None:
    for method, path, _ in GUARDED:
        if method == "GET":
            async with shut.head(address(path)) as answer:
                assert answer.status == 401, path


async def test_the_wrong_scope_is_refused_and_told(shut: Client) -> None:
    for method, path, rule in ASKED:
        for scope, token in TOKENS.items():
            if scope in (rule.scope, Scope.ADMIN):
                continue
            status, body = await status_of(shut, method, path, token)
            assert (status, body["error"], body["scope"]) == (403, "forbidden", rule.scope), (method, path, scope)


async def test_the_wrong_camera_is_refused_whether_it_exists_or_not(shut: Client) -> None:
    for method, path, rule in ASKED:
        if rule.cameras is CameraMatch.ANY:
            continue
        status, body = await status_of(shut, method, path, OTHER_CAMERA)
        assert (status, body["error"]) == (403, "forbidden"), (method, path)


async def test_the_right_scope_is_let_in(shut: Client) -> None:
    for method, path, rule in GUARDED:
        token = TOKENS[rule.scope] if rule.scope is not None else TOKENS[Scope.VIEW]
        if (rule.scope, rule.cameras) == (Scope.VIEW, CameraMatch.ALL):
            token = "may-view-everything"
        for each in {token, ADMIN_TOKEN}:
            status, body = await status_of(shut, method, path, each)
            assert status not in (401, 403), (method, path, body)


async def test_a_recording_needs_archive_wherever_it_is_shown(shut: Client) -> None:
    recorded = [(method, path, rule) for method, path, rule in GUARDED if rule.archive_parameter is not None]
    assert recorded
    for method, path, rule in recorded:
        moment = f"{path}?{rule.archive_parameter}=2026-11-22T18:50:00Z"
        assert (await status_of(shut, method, moment, TOKENS[Scope.VIEW]))[0] == 403
        assert (await status_of(shut, method, moment, TOKENS[Scope.ARCHIVE]))[0] not in (401, 403)


async def test_a_route_that_the_table_forgot_is_shut(shut: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dict(ROUTES)
    del table["GET", "/api/cameras"]
    monkeypatch.setattr("web.auth.policy.ROUTES", table)
    status, body = await status_of(shut, "GET", "/api/cameras", ADMIN_TOKEN)
    assert (status, body["error"]) == (403, "forbidden")


async def test_lists_show_what_one_may_view(shut: Client) -> None:
    for path in ("/api/cameras", "/api/status"):
        for token, seen in ((OTHER_CAMERA, ["yard"]), (TOKENS[Scope.VIEW], ["door"]), (ADMIN_TOKEN, ["door", "yard"])):
            _, body = await status_of(shut, "GET", path, token)
            assert [camera["camera_id"] for camera in body["cameras"]] == seen
            if path == "/api/status" and token is not ADMIN_TOKEN:
                assert set(body["archive"]["cameras"]) <= set(seen)


def test_with_nothing_asked_for_a_rule_is_shut() -> None:
    assert not Rule().is_public


# --- Socket.IO

PAYLOADS: dict[str, dict[str, Any]] = {
    "capture_start_request": {"client_id": "c", "metadata": {"camera_id": "CAMERA"}},
    "capture_stop_request": {"client_id": "c", "metadata": {"camera_id": "CAMERA"}},
    "capture_status_request": {"requesting_client": "c", "camera_id": "CAMERA"},
    "webrtc_offer": {"client_id": "c", "camera_id": "CAMERA", "sdp": "v=0"},
    "webrtc_ice_candidate": {"client_id": "c", "candidate": None},
    "webrtc_close": {"client_id": "c"},
    "frames_subscribe": {"camera_id": "CAMERA"},
    "frames_unsubscribe": {"camera_id": "CAMERA"},
}


def payload(event: str, camera_id: str) -> dict[str, Any]:
    data = {name: camera_id if value == "CAMERA" else value for name, value in PAYLOADS[event].items()}
    if "metadata" in data:
        data["metadata"] = {"camera_id": camera_id}
    return data


class Socket:
    """A Socket.IO client with a token, and what it was told."""

    def __init__(self, client: Client, auth: object) -> None:
        self._url = str(client.make_url("/"))
        self._auth = auth
        self.sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.refusal: dict[str, Any] = {}
        self.told: list[str] = []
        self.sio.on("connect_error", self._refused)
        self.sio.on("capture_status_response", lambda data: self.told.append(data.get("camera_id", "?")))

    def _refused(self, data: dict[str, Any]) -> None:
        self.refusal = data

    async def __aenter__(self) -> "Socket":
        try:
            await self.sio.connect(self._url, auth=self._auth, transports=["websocket"])
        except BaseException:
            await self.sio.shutdown()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sio.disconnect()

    async def call(self, event: str, camera_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = await self.sio.call(event, payload(event, camera_id), timeout=20)
        return answer


def test_every_command_of_a_browser_is_in_the_table() -> None:
    assert set(EVENTS) == {name for name, event in COMMANDS.items() if Endpoint.BROWSER in event.endpoints}
    assert set(EVENTS) == set(PAYLOADS)


@pytest.mark.parametrize("auth", [None, {}, {"token": None}, {"token": "no-token-that-is-known"}, "text", {"token": 5}])
async def test_socketio_without_a_right_token(shut: Client, auth: object) -> None:
    socket = Socket(shut, auth)
    with pytest.raises(Refused):
        async with socket:
            pass
    assert socket.refusal["data"]["status"] == 401
    assert socket.refusal["data"]["error"] == "unauthorized"
    assert socket.refusal["message"]


async def test_events_one_by_one(shut: Client) -> None:
    sockets = {scope: Socket(shut, {"token": token}) for scope, token in TOKENS.items()}
    async with (
        sockets[Scope.VIEW],
        sockets[Scope.CONTROL],
        sockets[Scope.ARCHIVE],
        sockets[Scope.ADMIN],
        Socket(shut, {"token": OTHER_CAMERA}) as other,
    ):
        for event, needed in EVENTS.items():
            for scope, socket in sockets.items():
                answer = await socket.call(event, "ghost")
                is_allowed = scope in (needed, Scope.ADMIN)
                assert (answer.get("error") != "forbidden") == is_allowed, (event, scope, answer)
            answer = await other.call(event, "door")
            has_camera = "CAMERA" in str(PAYLOADS[event])
            assert (answer.get("error") == "forbidden") == has_camera, (event, answer)


async def test_socketio_tells_nobody_of_a_camera_that_is_not_theirs(shut: Client) -> None:
    async with Socket(shut, {"token": OTHER_CAMERA}) as other, Socket(shut, {"token": ADMIN_TOKEN}) as admin:
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


async def test_an_event_that_the_table_forgot_is_shut(shut: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.auth.policy.EVENTS", {})
    async with Socket(shut, {"token": ADMIN_TOKEN}) as socket:
        assert (await socket.call("frames_subscribe", "ghost"))["error"] == "forbidden"
