"""WebRTC stacks of other projects watch a camera with sound and one without, and both through a restart of the camera.

docs/clients.md shows the result with versions.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import RtspServer
from tests.support.whep_clients import CLIENTS, NO_PICTURES, Watching, offering

CAMERAS = """
[cameras.sound]
url = "{cam}"
record = "never"
connection_retry_delay = 0.2

[cameras.silent]
url = "{video}"
record = "never"
connection_retry_delay = 0.2

# On demand: GStreamer's server aborts where two clients come back to one mount at the same moment.
[cameras.hevc]
url = "{hevc}"
start = "on-demand"
record = "never"

[cameras.both]
url = "{hevc}"
sub_url = "{gop1}"
start = "on-demand"
record = "never"
"""

H265_CLIENTS = ("pion", "webrtcbin")
"""Those with H.265."""

OTHER_OFFERS = [
    ("webrtcbin", "none", ("inactive-video", "audio", "video")),
    ("werift", "disable", ("audio", "video")),
    ("aiortc", "max-bundle", ("data", "audio", "video")),
]
"""Without BUNDLE, each section has a transport of its own."""

ENOUGH = 20
"""Packets that show that a stream flows."""


@pytest.fixture(scope="module")
def source() -> Iterator[RtspServer]:
    with RtspServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(source: RtspServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    urls = {name: source.url(f"/{name}") for name in ("cam", "video", "hevc", "gop1")}
    (folder / "liveedge.toml").write_text(CAMERAS.format(**urls))
    with GatewayProcess(folder, WEBRTC_HOSTS="127.0.0.1") as gateway:
        yield gateway


async def flows(watching: Watching, wanted: set[str], what: str) -> Counter[str]:
    """Wait until ``ENOUGH`` more of each kind has come, and a picture more."""
    before = Counter(await watching.counts())

    async def more() -> bool:
        now = await watching.counts()
        grown = {kind: now[kind] - before[kind] for kind in wanted}
        return all(count >= (1 if kind == "pictures" else ENOUGH) for kind, count in grown.items())

    try:
        await eventually(more, what)
    except AssertionError as error:
        raise AssertionError(f"{error}; before {before}, now {await watching.counts()}") from None
    return await watching.counts()


def viewers(gateway: GatewayProcess) -> dict[str, int]:
    return {camera: gateway.camera(camera)["webrtc"]["viewers"] for camera in ("sound", "silent")}


def is_back(gateway: GatewayProcess, camera: str, reconnects: int) -> bool:
    """Whether a camera has connected again, and plays."""
    now = gateway.camera(camera)
    return bool(now["state"] == "live" and now["reconnects"] > reconnects)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_plays_with_and_without_sound_and_through_a_restart(
    name: str, gateway: GatewayProcess, source: RtspServer
) -> None:
    for camera in ("sound", "silent"):
        gateway.wait_for_state("live", camera)
    video = {"video"} if name in NO_PICTURES else {"video", "pictures"}
    endpoints = [f"{gateway.url}/whep/{camera}" for camera in ("sound", "silent")]
    async with CLIENTS[name](endpoints) as (sound, silent):
        await flows(sound, video | {"audio"}, f"{name} plays picture and sound")
        assert not (await flows(silent, video, f"{name} plays a camera without sound"))["audio"]
        assert viewers(gateway) == {"sound": 1, "silent": 1}
        before = {camera: gateway.camera(camera)["reconnects"] for camera in ("sound", "silent")}
        source.restart()
        for camera, reconnects in before.items():
            await eventually(lambda: is_back(gateway, camera, reconnects), f"camera {camera} is back")  # noqa: B023
        await flows(sound, video | {"audio"}, f"{name} plays picture and sound after the restart")
        await flows(silent, video, f"{name} plays a camera without sound after the restart")
        assert viewers(gateway) == {"sound": 1, "silent": 1}, "the same connections"
    await eventually(lambda: viewers(gateway) == {"sound": 0, "silent": 0}, f"{name} has left")


@pytest.mark.parametrize(("name", "policy", "sections"), OTHER_OFFERS)
async def test_a_client_plays_with_other_offers(
    name: str, policy: str, sections: tuple[str, ...], gateway: GatewayProcess
) -> None:
    for camera in ("sound", "silent"):
        gateway.wait_for_state("live", camera)
    watch = offering(name, policy, *sections)
    async with watch([f"{gateway.url}/whep/{camera}" for camera in ("sound", "silent")]) as (sound, silent):
        await flows(sound, {"video", "pictures", "audio"}, f"{name} plays picture and sound")
        await flows(silent, {"video", "pictures"}, f"{name} plays a camera without sound")


@pytest.mark.parametrize("name", H265_CLIENTS)
async def test_a_client_with_h265_plays_it_from_the_gop_and_from_then_on(name: str, gateway: GatewayProcess) -> None:
    async with CLIENTS[name]([f"{gateway.url}/whep/hevc"]) as (watching,):
        await flows(watching, {"video", "pictures"}, f"{name} plays H.265")
        await flows(watching, {"video", "pictures"}, f"{name} goes on")


@pytest.mark.parametrize("name", H265_CLIENTS)
async def test_a_client_with_both_codecs_is_switched_between_streams_of_h265_and_h264(
    name: str, gateway: GatewayProcess
) -> None:
    async with CLIENTS[name]([f"{gateway.url}/whep/both?rendition=main"]) as (watching,):
        await flows(watching, {"video", "pictures"}, f"{name} plays the main stream, H.265")
        viewer = re.findall(r"camera both: viewer (\S+) is connected", gateway.log())[-1]
        path = f"/api/cameras/both/viewers/{viewer}"
        for rendition, codec in (("sub", "h264"), ("main", "hevc")):
            gateway.json(path, "PATCH", {"rendition": rendition})
            await eventually(lambda: gateway.json(path)["rendition"] == rendition, "it is switched")  # noqa: B023
            assert gateway.json(path)["codec"] == codec
            await flows(watching, {"video", "pictures"}, f"{name} plays the {rendition} stream, {codec}")
