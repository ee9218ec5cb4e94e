"""Talk-back over HTTP: people with microphones, the gateway, and a camera that writes down what it hears."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCPeerConnection

from gateway.talk.camera_talk import CameraTalk
from gateway.talk.floor import CONNECT_S
from gateway.talk.viewer_voice import ViewerVoice
from gateway.webrtc.media_transport import MediaTransport
from gateway.webrtc.rtp.audio_sender import AudioSender
from tests.support.auth_gateway import ADMIN_TOKEN, Client, auth_gateway, bearer
from tests.support.eventually import eventually
from tests.support.talk import TRIES, TalkCamera, Tone, connect, is_heard, new_peer, talk_offer, watch_offer
from web.auth.authenticator import AUTHENTICATOR
from web.gateway import GATEWAY
from web.settings import load_settings

pytestmark = pytest.mark.integration

SDP = {"Content-Type": "application/sdp"}
TOKENS: dict[str, dict[str, Any]] = {
    "talker": {"token": "a-token-of-one-who-talks", "scopes": ["view", "talk"]},
    "other": {"token": "a-token-of-another-one", "scopes": ["view", "talk"]},
    "viewer": {"token": "a-token-of-one-who-watches", "scopes": ["view"]},
}
TALKER, OTHER, VIEWER = (bearer(each["token"]) for each in TOKENS.values())


@pytest.fixture(scope="module")
def talk_camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TalkCamera]:
    with TalkCamera(tmp_path_factory.mktemp("heard")) as camera:
        yield camera


@pytest.fixture
async def client(talk_camera: TalkCamera, tmp_path: Path) -> AsyncIterator[Client]:
    """A gateway with a camera for each format, all with Digest; ``deaf`` has no back channel."""
    names = ("pcmu", "aac", "deaf")
    common = {"start": "on-demand", "record": "never"}
    cameras = {name: common | {"url": talk_camera.guarded_url(name)} for name in names}
    cameras["gone"] = common | {"url": "rtsp://127.0.0.1:1/"}
    cameras["demo"] = common | {"url": "fake://demo", "engine": "fake"}
    for name in names:
        talk_camera.forget(name)
    async with auth_gateway(tmp_path, cameras=cameras, auth={"tokens": TOKENS}) as client:
        yield client


@pytest.fixture
async def peers() -> AsyncIterator[Callable[[], RTCPeerConnection]]:
    made: list[RTCPeerConnection] = []

    def make() -> RTCPeerConnection:
        made.append(new_peer())
        return made[-1]

    yield make
    await asyncio.gather(*(peer.close() for peer in made))


Talk = Callable[..., Awaitable[str]]


@pytest.fixture
async def talk(client: Client, peers: Callable[[], RTCPeerConnection]) -> Talk:
    """Talk to a camera; returns the session's address when the microphone is on."""

    async def talk(camera: str, token: dict[str, str] = TALKER, tone: Tone | None = None) -> str:
        peer = peers()
        offer = await talk_offer(peer, tone or Tone())
        async with client.post(f"/talk/{camera}", data=offer, headers=SDP | token) as answer:
            assert answer.status == 201, await answer.text()
            location = answer.headers["Location"]
            await connect(peer, await answer.text())
        return location

    return talk


@asynccontextmanager
async def offer_to(client: Client, camera: str, token: dict[str, str] = TALKER) -> AsyncIterator[tuple[int, Any]]:
    """The status and body of the answer to an offer to talk."""
    peer = new_peer()
    offer = await talk_offer(peer, Tone())
    async with client.post(f"/talk/{camera}", data=offer, headers=SDP | token) as answer:
        yield answer.status, await answer.json() if answer.content_type == "application/json" else None
    await peer.close()


def talk_of(client: Client, name: str) -> CameraTalk:
    assert client.app is not None
    gateway = client.app[GATEWAY]
    return gateway.talk.of(gateway.service.camera(name))


async def gets_receiver_reports(peer: RTCPeerConnection) -> None:
    async with asyncio.timeout(60):
        while "remote-inbound-rtp" not in {each.type for each in (await peer.getStats()).values()}:
            await asyncio.sleep(0.05)


async def talker_of(client: Client, name: str) -> str | None:
    async with client.get(f"/talk/{name}", headers=TALKER) as answer:
        assert answer.status == 200, await answer.text()
        found: str | None = (await answer.json())["talker"]
        return found


@pytest.mark.parametrize(("name", "codec"), [("pcmu", "PCMU"), ("aac", "AAC")])
async def test_a_camera_hears_who_talks(
    client: Client, talk: Talk, talk_camera: TalkCamera, name: str, codec: str
) -> None:
    async with client.get(f"/talk/{name}", headers=TALKER) as answer:
        assert await answer.json() == {"codec": codec, "talker": None, "since": None, "max_seconds": 120.0}
    for _ in range(TRIES):
        location = await talk(name)
        assert await talker_of(client, name) == "token talker"
        if await is_heard(lambda: talk_camera.has_heard(name)):
            break
        await client.delete(location, headers=TALKER)
    assert talk_camera.has_heard(name)
    assert talk_of(client, name).counters.packets_dropped == 0
    async with client.get("/metrics", headers=bearer(ADMIN_TOKEN)) as answer:
        assert f'liveedge_talk_talking{{camera="{name}"}} 1.0' in await answer.text()
    async with client.delete(location, headers=TALKER) as answer:
        assert answer.status == 200
    assert await talker_of(client, name) is None
    async with client.get(location, headers=TALKER) as answer:
        assert (answer.status, "ended the session" in (await answer.json())["message"]) == (404, True)


async def test_a_talker_is_told_how_its_voice_arrives_and_silence_does_not_keep_the_floor(
    client: Client, peers: Callable[[], RTCPeerConnection]
) -> None:
    peer, tone = peers(), Tone()
    tone.is_on = False
    offer = await talk_offer(peer, tone, ("audio/PCMU",))
    async with client.post("/talk/pcmu", data=offer, headers=SDP | TALKER) as answer:
        await connect(peer, await answer.text())
    await gets_receiver_reports(peer)
    talk = talk_of(client, "pcmu")
    assert talk.counters.packets_sent > 0
    assert talk._floor.over(talk.now() + CONNECT_S) == "nothing was heard for 15 s"


async def test_one_talks_at_a_time(client: Client, talk: Talk) -> None:
    location = await talk("pcmu")
    async with offer_to(client, "pcmu", OTHER) as (status, body):
        assert (status, body["error"]) == (409, "talk_busy")
    assert await talker_of(client, "pcmu") == "token talker"
    async with client.delete(location, headers=OTHER) as answer:
        assert answer.status == 404, "nobody ends the session of another one"
    async with client.delete(location, headers=TALKER) as answer:
        assert answer.status == 200
    await talk("pcmu", OTHER)
    assert await talker_of(client, "pcmu") == "token other"


async def test_who_leaves_without_a_word_gives_the_floor_back(
    client: Client, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = await talk("pcmu")
    talker = talk_of(client, "pcmu").turn
    assert talker is not None
    # As for a network that is gone: no datagram comes any more.
    monkeypatch.setattr(MediaTransport, "tick", lambda self, now: self._end("silent for 10 s"))
    await eventually(lambda: talk_of(client, "pcmu").turn is None, "the floor is free")
    await talker.closed.wait()
    async with client.get(location, headers=TALKER) as answer:
        assert "silent" in (await answer.json())["message"]


async def test_a_camera_that_is_lost_ends_the_talk(client: Client, tmp_path: Path, talk: Talk) -> None:
    (tmp_path / "heard").mkdir()
    with TalkCamera(tmp_path / "heard") as camera:
        async with client.patch(
            "/api/cameras/pcmu", json={"talk_url": camera.url("pcma")}, headers=bearer(ADMIN_TOKEN)
        ) as answer:
            assert answer.status == 200, await answer.text()
        location = await talk("pcmu")
        turn = talk_of(client, "pcmu").turn
        assert turn is not None
        assert turn.choice is not None
        assert turn.choice.codec == "PCMA", "talk_url is where the voice goes"
        camera.kill()
        await eventually(lambda: talk_of(client, "pcmu").turn is None, "the floor is free")
    async with client.get(location, headers=TALKER) as answer:
        assert "ended the stream" in (await answer.json())["message"]
    assert talk_of(client, "pcmu").counters.failed == 1


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("deaf", 409, "no_back_channel"),
        ("demo", 409, "no_back_channel"),
        ("gone", 503, "camera_unreachable"),
        ("ghost", 404, "not_found"),
    ],
)
async def test_a_camera_that_cannot_be_talked_to_says_why(client: Client, name: str, status: int, code: str) -> None:
    async with client.get(f"/talk/{name}", headers=TALKER) as answer:
        assert (answer.status, (await answer.json())["error"]) == (status, code)
    async with client.options(f"/talk/{name}", headers=TALKER) as answer:
        assert (answer.status, answer.headers["Allow"]) == (200, "GET, HEAD, OPTIONS")
    async with offer_to(client, name) as (found, body):
        assert (found, body["error"]) == (status, code)
    if name != "ghost":
        assert talk_of(client, name).turn is None


async def test_talking_can_be_switched_off(client: Client) -> None:
    async with client.options("/talk/pcmu", headers=TALKER) as answer:
        assert "POST" in answer.headers["Allow"]
    async with client.patch("/api/cameras/pcmu", json={"talk": "never"}, headers=bearer(ADMIN_TOKEN)) as answer:
        assert answer.status == 200
    async with offer_to(client, "pcmu") as (status, body):
        assert (status, body["error"]) == (409, "no_back_channel")


async def test_a_token_that_is_revoked_is_heard_no_more(client: Client, talk: Talk) -> None:
    await talk("pcmu")
    assert client.app is not None
    tokens = TOKENS | {"talker": TOKENS["talker"] | {"scopes": ["view"]}}
    client.app[AUTHENTICATOR].reload(load_settings(auth_token=ADMIN_TOKEN, auth={"tokens": tokens}))
    await eventually(lambda: talk_of(client, "pcmu").turn is None, "the floor is free")


# --- WHEP


async def watch(
    client: Client, peer: RTCPeerConnection, name: str, token: dict[str, str], tone: Tone | None
) -> tuple[str, str]:
    """Watch a camera, and talk; returns the answer, and the session's address."""
    offer = await watch_offer(peer, tone)
    async with client.post(f"/whep/{name}", data=offer, headers=SDP | token) as answer:
        text = await answer.text()
        assert answer.status == 201, text
        await connect(peer, text)
        return text, answer.headers["Location"]


def audio_of(sdp: str) -> str:
    return next(section for section in sdp.split("m=") if section.startswith("audio"))


def sound_of(client: Client) -> AudioSender:
    """What the only viewer is sent."""
    assert client.app is not None
    (viewer,) = client.app[GATEWAY].webrtc.viewers.values()
    assert viewer._session is not None
    assert viewer._session.audio is not None
    return viewer._session.audio


async def test_a_viewer_with_a_microphone_is_heard(
    client: Client, peers: Callable[[], RTCPeerConnection], talk_camera: TalkCamera, talk: Talk
) -> None:
    tone = Tone()
    assert await talker_of(client, "pcmu") is None, "what the camera takes is known from now on"
    peer = peers()
    answer, _ = await watch(client, peer, "pcmu", TALKER, tone)
    for _ in range(TRIES):
        if await is_heard(lambda: talk_camera.has_heard("pcmu")):
            break
        tone.is_on = False
        await eventually(lambda: talk_of(client, "pcmu").turn is None, "the floor is free")
        tone.is_on = True
    assert "a=sendrecv" in audio_of(answer)
    assert audio_of(answer).split("\r\n")[0].split()[3:] == ["0", "8"], "its voice as PCMU, the camera's sound as PCMA"
    assert talk_camera.has_heard("pcmu")
    await gets_receiver_reports(peer)
    assert await talker_of(client, "pcmu") == "token talker"
    sound = sound_of(client)
    assert sound.packets_sent > 0
    sent = sound.packets_sent
    async with offer_to(client, "pcmu", OTHER) as (status, body):
        assert (status, body["error"]) == (409, "talk_busy")
    await asyncio.sleep(0.2)
    assert sound.packets_sent == sent, "who talks is sent no sound"
    tone.is_on = False
    await eventually(lambda: talk_of(client, "pcmu").turn is None, "a microphone that is muted gives the floor back")
    await eventually(lambda: sound.packets_sent > sent, "it is sent the sound again")
    await talk("pcmu", OTHER)
    tone.is_on = True
    await eventually(lambda: talk_of(client, "pcmu").counters.refused == 2, "the viewer is refused")
    assert await talker_of(client, "pcmu") == "token other"


async def test_a_viewer_without_the_scope_is_not_heard(
    client: Client, peers: Callable[[], RTCPeerConnection], talk_camera: TalkCamera
) -> None:
    answer, _ = await watch(client, peers(), "pcmu", VIEWER, Tone())
    assert "a=sendonly" in audio_of(answer)
    async with client.get("/talk/pcmu", headers=VIEWER) as refused:
        assert (refused.status, (await refused.json())["scope"]) == (403, "talk")
    await asyncio.sleep(0.5)
    assert talk_of(client, "pcmu").counters.turns == 0
    assert not len(talk_camera.heard("pcmu"))


async def test_a_viewer_of_a_camera_without_a_loudspeaker_watches(
    client: Client, peers: Callable[[], RTCPeerConnection]
) -> None:
    answer, _ = await watch(client, peers(), "deaf", TALKER, None)
    assert "a=sendrecv" in audio_of(answer), "it did not wait for the camera, which is asked meanwhile"
    await eventually(lambda: not talk_of(client, "deaf").may_have_back_channel, "the camera has answered")
    answer, _ = await watch(client, peers(), "deaf", TALKER, Tone())
    assert "a=sendonly" in audio_of(answer)


async def test_a_viewer_whose_camera_takes_no_voice_watches_on(
    client: Client, peers: Callable[[], RTCPeerConnection]
) -> None:
    await watch(client, peers(), "deaf", TALKER, Tone())
    sound = sound_of(client)
    assert client.app is not None
    (viewer,) = client.app[GATEWAY].webrtc.viewers.values()
    voice = viewer.voice
    assert isinstance(voice, ViewerVoice)
    await eventually(lambda: voice._is_closed, "it is known that nobody hears it")
    assert talk_of(client, "deaf").turn is None
    sent = sound.packets_sent
    await eventually(lambda: sound.packets_sent > sent + 10, "it hears the camera")
    assert viewer.reason is None


async def test_a_viewer_that_leaves_gives_the_floor_back(
    client: Client, peers: Callable[[], RTCPeerConnection]
) -> None:
    _, location = await watch(client, peers(), "pcmu", TALKER, Tone())
    await eventually(lambda: talk_of(client, "pcmu").turn is not None, "it talks")
    async with client.delete(location, headers=TALKER) as answer:
        assert answer.status == 200
    assert talk_of(client, "pcmu").turn is None
