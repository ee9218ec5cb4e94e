"""web.onvif.client, against a real HTTP server: credentials, bounds, hostile answers."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.errors import ForbiddenError, LiveedgeError
from gateway.onvif import device, media
from gateway.onvif.errors import (
    OnvifError,
    OnvifLockedError,
    OnvifUnauthorizedError,
    OnvifUnreachableError,
    OnvifUnsupportedError,
)
from gateway.onvif.soap import NAMESPACES, Service, call
from gateway.onvif.xml import XML_MAX_BYTES, text
from gateway.rtsp.auth import Credentials
from tests.support.onvif_camera import ENVELOPE, OnvifCamera
from tests.support.rtsp import free_port
from web.checked_resolver import refuse_metadata
from web.onvif.client import OnvifClient, Tries


@pytest.fixture
def camera() -> Iterator[OnvifCamera]:
    with OnvifCamera() as camera:
        yield camera


@pytest.fixture
def tries() -> Tries:
    return Tries()


async def ask(camera: OnvifCamera, tries: Tries, password: str | None = None, calls: int = 1) -> str:
    """The model, asked ``calls`` times by one client."""
    client = OnvifClient(camera.url, Credentials(camera.user, password or camera.password), tries)
    try:
        await client.open()
        for _ in range(calls):
            answer = await client.call(device.GET_INFORMATION)
        return text(answer, "Model")
    finally:
        await client.close()


@pytest.mark.parametrize("challenge", [None, "digest"])
@pytest.mark.parametrize("offset_s", [0.0, -7200.0, 86_400.0])
async def test_a_user_is_accepted_whatever_the_cameras_clock_and_its_way(
    camera: OnvifCamera, tries: Tries, challenge: str | None, offset_s: float
) -> None:
    camera.challenge, camera.clock_offset_s = challenge, offset_s
    assert await ask(camera, tries, calls=3) == "Dome 4"
    assert camera.refused == 0
    assert camera.asked["GetDeviceInformation"] == 4  # the first without credentials, to learn what is wanted


async def test_services_are_asked_at_the_devices_own_address(camera: OnvifCamera, tries: Tries) -> None:
    client = OnvifClient(camera.url, Credentials(camera.user, camera.password), tries)
    await client.open()
    assert client.services[Service.MEDIA2] == "http://10.0.0.1/onvif/media2"
    assert len(media.parse_profiles(await client.call(media.GET_PROFILES_2))) == 2
    assert client.clock_offset_s == pytest.approx(0, abs=1.5)
    await client.close()


@pytest.mark.parametrize("challenge", [None, "digest"])
async def test_wrong_passwords_are_sent_twice_at_most_also_at_the_same_time(
    camera: OnvifCamera, tries: Tries, challenge: str | None
) -> None:
    camera.challenge = challenge
    asked = [ask(camera, tries, f"wrong {number}") for number in range(6)]
    errors = await asyncio.gather(*asked, *(ask(camera, tries, "wrong 0") for _ in range(3)), return_exceptions=True)
    assert camera.refused <= 2
    assert {type(each) for each in errors} == {OnvifUnauthorizedError, OnvifLockedError}
    with pytest.raises(OnvifLockedError, match="lock their account"):
        await ask(camera, tries)  # the right one now is too late
    assert camera.refused <= 2


async def test_two_names_of_a_device_are_one_device(camera: OnvifCamera, tries: Tries) -> None:
    for host, password in (("127.0.0.1", "one"), ("localhost", "two"), ("localhost", "three"), ("127.0.0.1", "four")):
        url = camera.url.replace("127.0.0.1", host)
        client = OnvifClient(url, Credentials("admin", password), tries)
        await client.open()
        with pytest.raises(OnvifUnauthorizedError if camera.refused < 2 else OnvifLockedError):
            await client.call(device.GET_INFORMATION)
        await client.close()
    assert camera.refused == 2


async def test_a_wrong_password_that_was_refused_is_not_sent_again_and_a_right_one_is_accepted(
    camera: OnvifCamera, tries: Tries
) -> None:
    for _ in range(3):
        with pytest.raises(OnvifUnauthorizedError):
            await ask(camera, tries, "wrong")
    assert camera.refused == 1
    assert await ask(camera, tries) == "Dome 4"


async def test_a_camera_that_refuses_passwords_by_no_answer_gets_two(camera: OnvifCamera, tries: Tries) -> None:
    camera.hangs_up_on_refusal = True
    for number in range(4):
        with pytest.raises(OnvifUnreachableError if number < 2 else OnvifLockedError):
            await ask(camera, tries, f"wrong {number}")
    assert camera.refused == 2


async def test_a_service_whose_address_cannot_be_read_is_left_out(camera: OnvifCamera, tries: Tries) -> None:
    listed = "".join(
        f"<tds:Service><tds:Namespace>{NAMESPACES[service]}</tds:Namespace><tds:XAddr>{address}</tds:XAddr></tds:Service>"
        for service, address in ((Service.EVENTS, "http://[bad"), (Service.MEDIA, "http://10.0.0.1/onvif/media"))
    )
    camera.replies["GetServices"] = ENVELOPE.format(f"<tds:X>{listed}</tds:X>").encode()
    client = OnvifClient(camera.url, Credentials(camera.user, camera.password), tries)
    await client.open()
    assert (client.has(Service.EVENTS), client.has(Service.MEDIA)) == (False, True)
    await client.close()


@pytest.mark.parametrize("challenge", [None, "digest"])
async def test_a_password_that_is_changed_on_the_camera_is_sent_twice_at_most(
    camera: OnvifCamera, tries: Tries, challenge: str | None
) -> None:
    camera.challenge, camera.has_fresh_nonces = challenge, True
    known = Credentials(camera.user, camera.password)
    client = OnvifClient(camera.url, known, tries)
    await client.open()
    await client.call(device.GET_INFORMATION)
    camera.password = "another"
    for _ in range(3):
        with pytest.raises(OnvifUnauthorizedError):
            await client.call(device.GET_INFORMATION)
        await client.close()
        client = OnvifClient(camera.url, known, tries)
        await client.open()
    await client.close()
    assert 1 <= camera.refused <= 2


async def test_a_password_is_never_sent_in_clear(camera: OnvifCamera, tries: Tries) -> None:
    camera.challenge = "basic"
    with pytest.raises(OnvifUnauthorizedError):
        await ask(camera, tries)
    assert camera.in_clear == []
    assert not any(camera.password in body for body in camera.bodies)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "document type"),
        (b"x" * (XML_MAX_BYTES + 1), "longer than"),
        (b"<html>login</html>", "not a SOAP message"),
        (b"", "not XML"),
    ],
)
async def test_hostile_answers_are_errors_that_say_why(
    camera: OnvifCamera, tries: Tries, reply: bytes, why: str
) -> None:
    camera.replies["GetDeviceInformation"] = reply
    with pytest.raises(OnvifError, match=why):
        await ask(camera, tries)


async def test_a_call_is_bounded_in_time(camera: OnvifCamera, tries: Tries) -> None:
    camera.delay_s = 0.5
    client = OnvifClient(camera.url, None, tries)
    with pytest.raises(OnvifUnreachableError, match=r"within 0\.1 s"):
        await client.call(device.GET_CLOCK, 0.1)
    await client.close()


async def test_what_the_camera_has_not_and_what_is_not_there_are_told(camera: OnvifCamera, tries: Tries) -> None:
    client = OnvifClient(camera.url, Credentials(camera.user, camera.password), tries)
    with pytest.raises(OnvifUnsupportedError, match="GetDot11Status"):
        await client.call(call(Service.DEVICE, "GetDot11Status"))
    with pytest.raises(OnvifUnsupportedError, match="no service"):
        await client.call(call(Service.PTZ, "GetNodes"))
    await client.close()
    nobody = OnvifClient(f"http://127.0.0.1:{free_port()}/", None, tries)
    with pytest.raises(OnvifUnreachableError, match="no connection"):
        await nobody.open()
    await nobody.close()


async def test_no_connection_is_made_to_where_no_camera_can_be(tries: Tries) -> None:
    client = OnvifClient("http://169.254.169.254/latest/meta-data", None, tries, refuse_metadata)
    with pytest.raises(LiveedgeError) as caught:
        await client.open()
    assert isinstance(caught.value, ForbiddenError)
    await client.close()
