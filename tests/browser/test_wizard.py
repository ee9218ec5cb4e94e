"""A camera with ONVIF on the page, in a real Chromium: found, added, watched and moved."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.support.browser import assert_moving_picture, look
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.onvif_camera import OnvifCamera
from tests.support.player import TIMEOUT_MS
from tests.support.rtsp import RtspServer

PASSWORD = "p@ss:w&rd <1>"


@pytest.fixture
def camera(rtsp_server: RtspServer) -> Iterator[OnvifCamera]:
    with OnvifCamera("admin", PASSWORD) as camera:
        camera.stream_url = f"rtsp://127.0.0.1:{rtsp_server.port}/cam?main"
        yield camera


async def answer_nothing(route: Route) -> None:
    await route.fulfill(json={"devices": [], "is_complete": True})


async def test_a_camera_is_found_added_watched_and_moved(
    page: Page, gateways: Callable[..., GatewayProcess], tmp_path: Path, camera: OnvifCamera
) -> None:
    (tmp_path / "liveedge.toml").write_text('start = "on-demand"\nrecord = "never"\n[cameras]\n')
    gateway = gateways()
    # The dialog begins with a search by multicast, which would ask the network of the machine.
    await page.route("**/api/discover", answer_nothing, times=1)
    await page.goto(f"{gateway.url}/?lang=en")
    await page.get_by_role("button", name="Add a camera").first.click()
    wizard = page.get_by_role("dialog")
    await expect(wizard.get_by_role("status")).to_contain_text("No camera")
    await wizard.locator("#addresses").fill(f"127.0.0.1:{camera.port}")
    await wizard.get_by_role("button", name="Search").click()
    await wizard.locator(".devices button").click()
    await wizard.locator("#password").fill(PASSWORD)
    show = wizard.get_by_role("button", name="Show streams")
    background = await show.evaluate("(button) => getComputedStyle(button).backgroundColor")
    await show.hover()
    await expect(show).to_have_css("background-color", background)  # what its text can be read on
    await show.click()
    picture = wizard.locator(".streams img").first
    await expect(picture).to_be_visible()
    assert await picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 100
    await wizard.locator("#camera-id").fill("yard")
    await wizard.get_by_role("button", name="Add", exact=True).click()
    await expect(wizard).to_have_count(0)

    await page.goto(f"{gateway.url}/?lang=en#/camera/yard")
    assert_moving_picture(await look(page, frames=3))
    assert gateway.camera("yard")["has_onvif"]
    saved = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and "yard" in path.read_text("latin-1")]
    assert {path.stat().st_mode & 0o77 for path in saved} == {0}  # the password is in it
    assert camera.refused == 0
    assert camera.in_clear == []

    right = page.get_by_role("button", name="Right", exact=True)
    await right.dispatch_event("pointerdown", {"pointerId": 1, "isPrimary": True})
    await eventually(lambda: [name for name, _ in camera.moves] == ["ContinuousMove"], "it turns")
    pan_tilt = camera.moves[0][1].find(".//{*}PanTilt")
    assert pan_tilt is not None
    assert float(pan_tilt.get("x", "")) > 0
    await page.close()  # with the button held
    await eventually(lambda: camera.moves[-1][0] == "Stop", "it stops when the page is gone")


async def test_a_camera_is_added_by_address_renamed_paused_and_removed(
    page: Page, gateways: Callable[..., GatewayProcess], tmp_path: Path, rtsp_server: RtspServer
) -> None:
    (tmp_path / "liveedge.toml").write_text('start = "on-demand"\nrecord = "never"\n[cameras]\n')
    gateway = gateways()
    await page.route("**/api/discover", answer_nothing)
    await page.goto(f"{gateway.url}/?lang=en")
    await page.get_by_role("button", name="Add a camera").first.click()
    await page.get_by_role("button", name="Add by its address").click()
    await page.get_by_label("Id", exact=True).fill("yard")
    await page.get_by_label("Address of the main stream").fill("nonsense")
    await page.get_by_role("button", name="Add", exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("Address of the main stream: it does not start")
    await page.get_by_label("Address of the main stream").fill(rtsp_server.url("/video"))
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_role("link", name="yard", exact=True).click()
    assert_moving_picture(await look(page, frames=3))

    async def change(button: str) -> None:
        await page.get_by_role("button", name="Settings", exact=True).click()
        await dialog.get_by_role("button", name=button).click()
        await expect(dialog).to_have_count(0)

    await page.get_by_role("button", name="Settings", exact=True).click()
    await dialog.get_by_label("Name").fill("뒷마당")
    await dialog.get_by_label("Recording", exact=True).select_option("on events")
    await dialog.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", name="뒷마당")).to_be_visible()
    assert {key: gateway.camera("yard")[key] for key in ("record", "rtsp_url")} == {
        "record": "events",
        "rtsp_url": rtsp_server.url("/video"),
    }
    await change("Pause the camera")
    await expect(page.locator(".details")).to_contain_text("This camera is paused", ignore_case=True)
    await change("Resume the camera")
    assert_moving_picture(await look(page, frames=3))
    page.on("dialog", lambda confirm: confirm.accept())
    await change("Remove the camera")
    await expect(page.get_by_role("link", name="demo", exact=True)).to_be_visible()  # in place of no camera at all
    assert [each["camera_id"] for each in gateway.json("/api/cameras")["cameras"]] == ["demo"]


async def test_the_settings_of_a_camera_follow_what_somebody_else_changes(page: Page, door: GatewayProcess) -> None:
    def others_change(**settings: object) -> None:
        door.json("/api/cameras/door", "PATCH", settings)

    await page.goto(f"{door.url}/?lang=en#/camera/door")
    await page.get_by_role("button", name="Settings", exact=True).click()
    dialog = page.get_by_role("dialog")
    name, recording = dialog.get_by_label("Name"), dialog.get_by_label("Recording", exact=True)
    alert, save = dialog.get_by_role("alert"), dialog.get_by_role("button", name="Save")
    await expect(dialog.get_by_role("button", name="Pause the camera")).to_be_visible()
    others_change(paused=True)
    await expect(dialog.get_by_role("button", name="Resume the camera")).to_be_visible(timeout=TIMEOUT_MS)
    await expect(alert).to_have_count(0)  # an empty one is hidden

    await name.fill("Porch")
    others_change(record="never", name="Gate")
    await expect(recording).to_have_value("never", timeout=TIMEOUT_MS)
    await expect(name).to_have_value("Porch")
    await expect(alert).to_contain_text("Somebody else has changed this camera")

    # Before the page knows.
    may_know = asyncio.Event()

    async def late(route: Route) -> None:
        await may_know.wait()
        await route.continue_()

    await page.route("**/api/status", late)
    others_change(name="Yard")
    async with page.expect_response(lambda response: response.status == 409):
        await save.click()
    may_know.set()
    await expect(alert).to_contain_text("Save again to replace what they changed", timeout=TIMEOUT_MS)
    assert door.camera("door")["name"] == "Yard"
    await save.click()
    await expect(dialog).to_have_count(0)
    assert [door.camera("door")[key] for key in ("name", "record", "paused")] == ["Porch", "never", True]
