"""A gateway with a known secret in every setting that can hold one. All of its output is searched for them.

The search covers both outputs, with DEBUG on, every answer with its headers, and every file that it wrote. A secret
counts as found in each form that it could take: plain, percent-encoded, in Base64, in hexadecimal.
"""

import asyncio
import base64
import functools
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import AWKWARD, VIEWER, RtspServer

Gateways = Callable[..., GatewayProcess]

RTSP_PASSWORD = VIEWER[1]
"""Of a camera that accepts it."""

WRONG_PASSWORD = "Wr0ng-Camera/P@ss"
QUERY_KEY = "Camera-Query-K3y"
EMS_PASSWORD = "Ems-Userinfo-P4ss"
EMS_KEY = "Ems-Query-K3y"
EMS_TOKEN = "Ems-Socket-T0ken"
ADMIN = "Admin-Bearer-T0ken-of-this-gateway"
VIEW = "View-Bearer-T0ken-of-this-gateway"
JWT_SECRET = "Jwt-S3cret-of-this-gateway-which-is-long-enough"
SIGNING_KEY = "Signing-K3y-of-this-gateway-which-is-long-enough"
JWKS_KEY = "Jwks-Query-K3y"
TURN_SECRET = "Turn-Shared-S3cret"
TURN_PASSWORD = "Turn-User-P4ss"
"""Only viewers get it, because they need it."""

AWKWARD_PASSWORD = AWKWARD[1]
"""Of a camera that accepts it, too: percent-encoded in the URL; the camera gets a digest of it."""

BLANK_PASSWORD = "it's a Bl4nk, w\"rd"
"""Pasted into a URL without encoding."""

CRASH_PASSWORD = "Cr4sh/And:Burn"
"""Of a camera with a third-party engine, whose exception and its cause contain it."""

DATABASE_KEY = "Database-Query-K3y"
GUESS = "Wrong-Guess-that-is-the-T0ken-of-another-service"
API_PASSWORD = "Api-Camera-P4ss"
"""Of cameras added through the API. Only ``cameras.json`` contains it, which only its owner may read."""

WEBHOOK_PASSWORD = "Webhook-Userinfo-P4ss"
WEBHOOK_PATH = "Webhook-Path-K3y"
WEBHOOK_KEY = "Webhook-Signing-K3y-of-bytes"
MQTT_PASSWORD = "Mqtt-Br0ker-P@ss"

SECRETS = (
    RTSP_PASSWORD,
    WRONG_PASSWORD,
    QUERY_KEY,
    EMS_PASSWORD,
    EMS_KEY,
    EMS_TOKEN,
    ADMIN,
    VIEW,
    JWT_SECRET,
    SIGNING_KEY,
    JWKS_KEY,
    TURN_SECRET,
    TURN_PASSWORD,
    AWKWARD_PASSWORD,
    BLANK_PASSWORD,
    CRASH_PASSWORD,
    DATABASE_KEY,
    GUESS,
    API_PASSWORD,
    WEBHOOK_PASSWORD,
    WEBHOOK_PATH,
    WEBHOOK_KEY,
    MQTT_PASSWORD,
)


def forms(secret: str) -> Iterator[bytes]:
    """Every form in which a secret could be written."""
    raw = secret.encode()
    yield raw
    yield quote(secret).encode()
    yield quote(secret, safe="").encode()
    yield json.dumps(secret).encode()[1:-1]
    yield raw.hex().encode()
    for shift in range(3):
        # Base64 at every offset in the encoded text. The first and last characters depend on the text around it.
        encoded = base64.b64encode(b"\0" * shift + raw)
        yield encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]


def found_in(data: bytes) -> set[str]:
    """The secrets that these bytes contain."""
    return {secret for secret in SECRETS if any(form in data for form in forms(secret))}


class SecretsScan:
    """Send requests, and keep every answer."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.answers: list[tuple[str, bytes]] = []

    def is_live(self, camera: str) -> bool:
        """Whether a camera sends pictures."""
        return self.state(camera) == "live"

    def has_failed(self, camera: str) -> bool:
        """Whether a camera sends no pictures."""
        return self.state(camera) in ("retrying", "failed")

    def state(self, camera: str) -> str:
        """The state of a camera's capture."""
        state: str = self.ask(f"/api/cameras/{camera}")[1]["state"]
        return state

    def note(self, name: str, *data: object) -> None:
        """Keep data that was not requested."""
        self.answers.append((name, repr(data).encode()))

    def ask(
        self, path: str, method: str = "GET", body: object = None, token: str | None = ADMIN, **headers: str
    ) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        status, answered, content = self.gateway.fetch(path, method, data, sent)
        told = "\n".join(f"{name}: {value}" for name, value in answered.items()).encode()
        self.answers.append((f"{method} {path} {status}", told + b"\n\n" + content))
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content


@pytest.fixture
def configuration(tmp_path: Path, rtsp_server: RtspServer, free_port: int) -> dict[str, str]:
    """Settings with a secret each, and a settings file with more of them."""
    host = f"127.0.0.1:{rtsp_server.guarded_port}"
    (tmp_path / "liveedge.toml").write_text(f"""
[cameras.wrong]
url = "rtsp://viewer:{WRONG_PASSWORD}@{host}/video"
capture_timeout = 2000
connection_retry_attempts = 2
[cameras.dead]
url = "rtsp://viewer:{WRONG_PASSWORD}@127.0.0.1:{free_port}/stream?password={QUERY_KEY}"
capture_timeout = 2000
connection_retry_attempts = 2
[cameras.opencv]
url = "rtsp://viewer:{WRONG_PASSWORD}@{host}/video?auth={QUERY_KEY}"
engine = "opencv"
capture_timeout = 2000
connection_retry_attempts = 2
[cameras.awkward]
url = "{rtsp_server.guarded_url("video", *AWKWARD)}"
[cameras.blank]
url = {json.dumps(f"rtsp://viewer:{BLANK_PASSWORD}@{host}/video?password={BLANK_PASSWORD}")}
capture_timeout = 2000
connection_retry_attempts = 2
[cameras.nohost]
url = {json.dumps(f"rtsp://viewer:{BLANK_PASSWORD}")}
capture_timeout = 2000
connection_retry_attempts = 2
[cameras.tls]
url = "rtsps://viewer:{WRONG_PASSWORD}@{host}/video"
capture_tls_verify = true
capture_timeout = 2000
connection_retry_attempts = 2
[cameras.crash]
url = "crash://viewer:{CRASH_PASSWORD}@{host}/video?key={QUERY_KEY}"
engine = "tests.support.crashing_engine:Engine"
capture_timeout = 2000
connection_retry_attempts = 2
[auth.tokens.viewer]
token = "{VIEW}"
scopes = ["view"]
[webhooks.home]
url = "http://user:{WEBHOOK_PASSWORD}@127.0.0.1:{free_port}/{WEBHOOK_PATH}?key={WEBHOOK_PATH}"
secret = "whsec_{base64.b64encode(WEBHOOK_KEY.encode()).decode()}"
""")
    # Nothing listens there.
    ems = f"http://user:{EMS_PASSWORD}@127.0.0.1:{free_port}/?apikey={EMS_KEY}"
    return {
        "RTSP_URL": rtsp_server.guarded_url("video"),
        "SOCKETIO_SERVER_URL": ems,
        "SOCKETIO_AUTH_TOKEN": EMS_TOKEN,
        "AUTH_TOKEN": ADMIN,
        "AUTH_JWT_SECRET": JWT_SECRET,
        "AUTH_SIGNING_KEY": SIGNING_KEY,
        "AUTH_JWKS_URL": f"http://user:{JWKS_KEY}@127.0.0.1:{free_port}/keys?key={JWKS_KEY}",
        "AUTH_JWT_AUDIENCE": "liveedge",
        "ICE_SERVERS": f"turn:{TURN_SECRET}@127.0.0.1:{free_port},turn:user:{TURN_PASSWORD}@127.0.0.1:{free_port}",
        "DATABASE_URL": f"sqlite:///{tmp_path}/index.db?secret={DATABASE_KEY}",
        "MQTT_URL": f"mqtt://user:{MQTT_PASSWORD}@127.0.0.1:{free_port}",
        "START": "always",
        "RECORD": "capture",
        "DEBUG": "true",
        "CONNECTION_RETRY_DELAY": "0.1",
    }


FAILING = ("wrong", "dead", "opencv", "blank", "nohost", "tls", "crash")


def questions(scan: SecretsScan) -> None:
    """Every route, with every kind of permission, and with invalid parameters."""
    cameras = ("default", *FAILING, "awkward", "nosuch")
    paths = ["/", "/health", "/metrics", "/api/status", "/api/cameras", "/api/access", "/api/time", "/nowhere"]
    paths += ["/openapi.json", "/asyncapi.json", "/static/player.js", "/api/webhooks"]
    for camera in cameras:
        paths += [f"/api/cameras/{camera}", f"/api/cameras/{camera}/segments", f"/snapshot/{camera}.jpg?width=x"]
        paths += [f"/api/cameras/{camera}/segments/at?time=now", f"/mjpeg/{camera}?frame_rate=x"]
        paths += [f"/hls/{camera}/part-1.m4s", f"/hls/{camera}/dvr.m3u8", f"/api/cameras/{camera}/clip.mp4?start=1"]
        paths += [f"/archive/{camera}/segment_20261122T185000Z.mp4", f"/archive/{camera}/x.jpg"]
    for path in paths:
        for token in (ADMIN, VIEW, None):
            scan.ask(path, token=token)
    scan.ask("/hls/default/index.m3u8")
    scan.ask("/hls/default/live.m3u8")
    for token in (GUESS, f"eyJhbGciOiJSUzI1NiJ9.{GUESS}.AAAA", "x"):
        scan.ask("/api/cameras", token=token)
        scan.ask(f"/hls/default/index.m3u8?token={token}", token=None)
        scan.ask(f"/api/cameras?token={token}", token=None)
    for body in (b"{", b"[]", b"\xff", {"client_id": 5}, {"metadata": {"password": "x" * 9000}}):
        scan.ask("/api/cameras/default/capture/start", "POST", body)
        scan.ask("/api/sign", "POST", body)
    scan.ask("/api/sign", "POST", {"path": f"/nowhere?token={GUESS}"})
    for camera in cameras:
        scan.ask(f"/whep/{camera}")
        scan.ask(f"/whep/{camera}", token=None)
        scan.ask(f"/whep/{camera}", "OPTIONS")
        scan.ask(f"/whep/{camera}", "OPTIONS", token=None)
        scan.ask(f"/whep/{camera}", "POST", b"v=0\r\n", Content_Type="application/sdp")
    for number, url in enumerate(
        (
            f"rtsp://viewer:{API_PASSWORD}@169.254.169.254/",
            f"http://viewer:{API_PASSWORD}@127.0.0.1/",
            f"rtsp://viewer:{API_PASSWORD}@no-such-camera.invalid/",
            f"rtsp://viewer:{API_PASSWORD}@127.0.0.1:1/user=admin_password={API_PASSWORD}_channel=1",
            f"{API_PASSWORD}",
            f"rtsp://viewer:{API_PASSWORD}@[::1",
        )
    ):
        scan.ask("/api/cameras", "POST", {"camera_id": f"api-{number}", "url": url})
    scan.ask(
        "/api/cameras",
        "POST",
        {"camera_id": "api", "url": f"rtsp://viewer:{API_PASSWORD}@127.0.0.1:1/?pwd={API_PASSWORD}"},
    )
    scan.ask("/api/cameras/api", "PATCH", {"url": f"ftp://viewer:{API_PASSWORD}@127.0.0.1/"})
    scan.ask("/api/cameras/api", "PATCH", {"capture_timeout": API_PASSWORD})
    scan.ask("/api/cameras/api", "PATCH", {API_PASSWORD[:0] + "unknown": API_PASSWORD})


async def sockets(scan: SecretsScan) -> None:
    """Socket.IO, with right and wrong tokens, and invalid commands."""
    for auth in ({"token": GUESS}, {"token": VIEW}, {"token": ADMIN}, GUESS):
        sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        sio.on("*", scan.note)
        sio.on("connect_error", functools.partial(scan.note, "connect_error"))
        try:
            await sio.connect(scan.gateway.url, auth=auth, transports=["websocket"])
        except Refused as error:
            scan.answers.append(("refused", repr(error).encode()))
            continue
        for event, data in (
            ("capture_start_request", {"client_id": "c", "metadata": {"camera_id": "wrong"}}),
            ("capture_status_request", {"requesting_client": "c", "camera_id": "dead"}),
            ("capture_status_request", {"requesting_client": 5}),
            ("webrtc_offer", {"client_id": "c", "camera_id": "wrong", "sdp": "v=0"}),
            ("frames_subscribe", {"camera_id": "opencv"}),
            ("no_such_event", {}),
        ):
            answer = await sio.call(event, data, timeout=30)
            scan.answers.append((event, repr(answer).encode()))
        await sio.disconnect()


def test_no_secret_leaves(gateways: Gateways, tmp_path: Path, configuration: dict[str, str]) -> None:
    gateway = gateways(**configuration)
    scan = SecretsScan(gateway)
    for camera in ("default", "awkward"):
        eventually_sync(functools.partial(scan.is_live, camera), f"camera {camera!r} is live")
    for camera in FAILING:
        eventually_sync(functools.partial(scan.has_failed, camera), f"camera {camera!r} has failed")
    questions(scan)
    signed = [
        scan.ask("/api/sign", "POST", {"path": path})[1] for path in ("/hls/default/index.m3u8", "/snapshot/x.jpg")
    ]
    for each in signed:
        scan.ask(each["url"], token=None)
        scan.ask(each["url"] + "x", token=None)
    asyncio.run(sockets(scan))
    eventually_sync(lambda: scan.ask("/api/cameras/default/segments")[1]["segments"], "a segment is listed")
    gateway.stop()
    assert gateway.process is not None
    assert gateway.process.stdout is not None
    said = gateway.process.stdout.read().encode() + gateway.log().encode()
    # The scan was complete: live and failed cameras, refusals of every kind, and a full log.
    statuses = {int(name.split()[2]) for name, _ in scan.answers if name.count(" ") == 2}
    assert {200, 400, 401, 403, 404} <= statuses
    assert b"DEBUG" in said
    assert b"wrong token from" in said
    assert b"AUTH_JWKS_URL" in said
    assert b"webhook home: no connection" in said
    assert b"MQTT broker mqtt://127.0.0.1" in said

    assert found_in(said) == set(), gateway.log()
    assert b"Traceback" in said, "of an engine, with its cause"
    assert b"the direct cause of" in said
    for each in signed:
        assert each["token"].encode() not in said
    for name, answer in scan.answers:
        is_viewers = name.startswith(("GET /whep/", "OPTIONS /whep/", "POST /whep/")) and name.endswith(
            (" 200", " 201")
        )
        assert found_in(answer) - ({TURN_PASSWORD} if is_viewers else set()) == set(), (name, answer[:2000])
    searched = 0
    for path in tmp_path.rglob("*"):
        if not path.is_file() or path.name in ("liveedge.toml", "gateway.log"):
            continue
        searched += 1
        found = found_in(path.read_bytes()) | found_in(os.fsencode(path.relative_to(tmp_path)))
        if path.name == "cameras.json":
            assert found == {API_PASSWORD}
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        else:
            assert found == set(), path
    assert searched >= 3, "index, recording, cameras"


BAD_STARTS: list[dict[str, str]] = [
    {"DATABASE_URL": f"postgresql://user:{DATABASE_KEY}@127.0.0.1:1/index"},
    {"DATABASE_URL": f"mysql://user:{DATABASE_KEY}@127.0.0.1:1/index"},
    {"DATABASE_URL": f"no-such-kind://user:{DATABASE_KEY}@127.0.0.1/index"},
    {"DATABASE_URL": f"postgresql://user:{DATABASE_KEY}@127.0.0.1:port/index"},
    {"DATABASE_URL": f"postgresql://user:pass@{DATABASE_KEY}:{DATABASE_KEY}@127.0.0.1/index"},
    {"DATABASE_URL": f"postgresql://user@127.0.0.1:1/index?password={DATABASE_KEY}"},
    {"DATABASE_URL": f"postgresql+psycopg://user:{DATABASE_KEY}@[::1/index"},
    {"DATABASE_URL": DATABASE_KEY},
    {"RTSP_URL": f"ftp://viewer:{WRONG_PASSWORD}@127.0.0.1/"},
    {"RTSP_URL": WRONG_PASSWORD},
    {"SOCKETIO_SERVER_URL": f"ftp://user:{EMS_PASSWORD}@127.0.0.1/"},
    {"SOCKETIO_SERVER_URL": EMS_PASSWORD},
    {"AUTH_TOKEN": ADMIN, "AUTH_DISABLED": "true"},
    {"AUTH_TOKEN": ADMIN[:12]},
    {"AUTH_JWT_SECRET": JWT_SECRET[:20]},
    {"AUTH_JWKS_URL": f"http://user:{JWKS_KEY}@issuer.example.org/", "AUTH_JWT_AUDIENCE": "x"},
    {"AUTH_JWKS_URL": JWKS_KEY},
    {"ICE_SERVERS": f"user:{TURN_SECRET}@127.0.0.1"},
    {"ICE_SERVERS": f"turn:user:{TURN_PASSWORD}"},
    {"AUTH_TOKEN": ADMIN, "AUTH_SIGNING_KEY": SIGNING_KEY[:20]},
    {"RTSP_URL": f"rtsps://viewer:{BLANK_PASSWORD}@127.0.0.1/", "CAPTURE_TLS_CA_FILE": f"/{WRONG_PASSWORD}.pem"},
    {"FILE": f'[auth.tokens.a]\ntoken = "{VIEW}"\nscopes = ["everything"]'},
    {"FILE": f'[auth.tokens.a]\ntoken = "{VIEW}"\ntoken_sha256 = "{VIEW}"\nscopes = ["view"]'},
    {"FILE": f'[auth.tokens.a]\ntoken = "{VIEW}\n'},
    {"FILE": f"[auth.tokens.a]\ntoken = {VIEW}\n"},
    {"FILE": f'auth_token = ["{ADMIN}"]'},
    {"FILE": f'[cameras.a]\nurl = "rtsp://user:{WRONG_PASSWORD}@127.0.0.1/"\nurl = "{WRONG_PASSWORD}"'},
    {"FILE": f'[cameras.a]\nurl = ["rtsp://user:{WRONG_PASSWORD}@127.0.0.1/"]'},
]
"""Invalid settings. ``FILE`` is the content of ``liveedge.toml``."""

START_EACH = """
import json, os, sys
from web.cli import main
environment = dict(os.environ)
for number, settings in enumerate(json.load(sys.stdin)):
    with open("liveedge.toml", "w") as file:
        file.write(settings.pop("FILE", ""))
    os.environ.clear()
    os.environ.update(environment | settings)
    print(f"--- {number}", file=sys.stderr, flush=True)
    print(f"--- {number} exit code {main(['serve'])}", flush=True)
"""
"""One process for all: importing takes most of the time."""


def test_a_failed_start_names_the_reason_and_no_secret(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", START_EACH],
        cwd=tmp_path,
        env=environment
        | {"PORT": "0", "WEBRTC_UDP_PORT": "0", "RTSP_PORT": "0", "DEBUG": "1", "ARCHIVE_MIN_FREE_BYTES": "0"},
        input=json.dumps(BAD_STARTS),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [f"--- {number} exit code 2" for number in range(len(BAD_STARTS))], done.stderr
    _, *told = re.split(r"^--- \d+$", done.stderr, flags=re.MULTILINE)
    for settings, text in zip(BAD_STARTS, told, strict=True):
        assert "liveedge: " in text, settings
        assert "Traceback" not in text, settings
        assert found_in(text.encode()) == set(), (settings, text)
        assert ADMIN[:12] not in text
        assert JWT_SECRET[:20] not in text
