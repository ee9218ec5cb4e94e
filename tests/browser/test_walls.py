"""Saved walls on the page, in a real Chromium: made, changed and removed in the dialog, opened by URL, and the tour."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Dialog, Page

from tests.support.accessibility import violations
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras, plays


async def tiles(page: Page) -> list[str]:
    found: list[str] = await page.eval_on_selector_all(".tile", "(tiles) => tiles.map((tile) => tile.dataset.camera)")
    return found


async def shows(page: Page, *names: str) -> None:
    await page.wait_for_function(
        """(names) => {
          const tiles = [...document.querySelectorAll(".tile")].map((tile) => tile.dataset.camera);
          return JSON.stringify(tiles) === JSON.stringify(names);
        }""",
        arg=list(names),
    )


async def test_a_wall_is_made_changed_opened_by_url_toured_and_removed(
    gateways: Callable[..., GatewayProcess], page: Page, tmp_path: Path
) -> None:
    cameras(tmp_path, "door", "gate", "yard")
    gateway = gateways()
    await page.goto(gateway.url)
    await shows(page, "door", "gate", "yard")
    await page.get_by_role("button", name="Save a wall").click()
    dialog = page.get_by_role("dialog", name="Save a wall")
    await dialog.get_by_label("Name").fill("정문")
    await dialog.get_by_role("button", name="Take gate off the wall").click()
    await dialog.get_by_role("button", name="Move yard up").click()
    await dialog.get_by_label("Stream of yard").select_option("main")
    assert await violations(page) == []
    await dialog.get_by_role("button", name="Save").click()
    await page.wait_for_url("**/#/?wall=wall")
    await shows(page, "yard", "door")
    assert (
        await page.eval_on_selector('[data-camera="yard"] live-edge-player', "(player) => player.rendition") == "main"
    )
    await plays(page, "webrtc", '[data-camera="yard"] live-edge-player')

    # The way back from a camera is the wall.
    await page.click('[data-camera="door"] live-edge-player')
    await page.get_by_role("link", name="All cameras").click()
    await shows(page, "yard", "door")

    await page.get_by_role("button", name="Change the wall").click()
    dialog = page.get_by_role("dialog", name="Change the wall")
    await dialog.get_by_label("Seconds in the tour").fill("3")
    await dialog.get_by_label("Add a camera").select_option("gate")
    await dialog.get_by_role("button", name="Save").click()
    await shows(page, "yard", "door", "gate")

    other: dict[str, Any] = {"name": "Gate", "tiles": [{"camera_id": "gate", "rendition": "auto"}], "tour_s": 3}
    gateway.json("/api/walls/gate", "PUT", other)
    await page.goto(f"{gateway.url}/#/wall?wall=gate")
    await page.reload()
    await shows(page, "gate")
    await page.locator("header").wait_for(state="hidden")
    await page.goto(f"{gateway.url}/#/wall?wall=tour")
    await shows(page, "yard", "door", "gate")
    await shows(page, "gate")

    # The walls are read again every 30 s, which makes the time of none of them longer.
    for wall in gateway.json("/api/walls")["walls"]:
        gateway.json(f"/api/walls/{wall['wall_id']}", "PUT", wall | {"tour_s": 3600})
    await page.clock.install()
    await page.goto(f"{gateway.url}/#/?wall=tour")
    await page.reload()
    await shows(page, "yard", "door", "gate")
    async with page.expect_response("**/api/walls") as read:
        await page.clock.fast_forward(3_590_000)
    await (await read.value).finished()
    await page.get_by_label("Walls").get_by_text("Gate").wait_for(state="attached")
    await page.clock.fast_forward(20_000)
    await shows(page, "gate")
    await page.clock.resume()

    # A camera of a wall that is removed is named, and shown again when it is there again.
    path = gateway.folder / "liveedge.toml"
    before = path.read_text()
    path.write_text(before.replace("[cameras.yard]", "[cameras.other]"))
    await page.goto(f"{gateway.url}/#/?wall=wall")
    await page.get_by_text("There is no camera “yard”.").wait_for(timeout=TIMEOUT_MS)
    await shows(page, "door", "gate")
    path.write_text(before)
    await shows(page, "yard", "door", "gate")
    await page.locator(".missing").wait_for(state="detached")

    async def accept(dialog: Dialog) -> None:
        await dialog.accept()

    page.on("dialog", accept)
    await page.goto(f"{gateway.url}/#/?wall=gate")
    await shows(page, "gate")
    await page.get_by_role("button", name="Change the wall").click()
    await page.get_by_role("button", name="Remove the wall").click()
    await shows(page, "door", "gate", "yard")
    # Who opens it finds all cameras, and reads why.
    await page.goto(f"{gateway.url}/#/wall?wall=gate")
    await page.get_by_text("There is no wall “gate”.").wait_for()
    await shows(page, "door", "gate", "yard")
    assert [each["name"] for each in gateway.json("/api/walls")["walls"]] == ["정문"]


async def test_two_people_who_change_a_wall_learn_of_each_other(
    gateways: Callable[..., GatewayProcess], page: Page, tmp_path: Path
) -> None:
    cameras(tmp_path, "door", "gate")
    gateway = gateways()
    tiles_of = [{"camera_id": "door", "rendition": "auto"}, {"camera_id": "gate", "rendition": "auto"}]
    gateway.json("/api/walls/both", "PUT", {"name": "Both", "tiles": tiles_of})
    await page.goto(f"{gateway.url}/?lang=en#/?wall=both")
    await shows(page, "door", "gate")
    await page.get_by_role("button", name="Change the wall").click()
    dialog = page.get_by_role("dialog", name="Change the wall")
    await dialog.get_by_label("Name").fill("Mine")
    # A stream that is chosen is not shown before it is saved.
    await dialog.get_by_label("Stream of door").select_option("sub")
    gateway.json("/api/walls/both", "PUT", {"name": "Yours", "tiles": tiles_of[:1]})
    await dialog.get_by_role("button", name="Save").click()
    await dialog.get_by_text("somebody else has saved this wall").wait_for()
    assert await dialog.get_by_label("Name").input_value() == "Mine", "nothing in the form is lost"
    assert gateway.json("/api/walls")["walls"][0]["name"] == "Yours"
    assert (
        await page.eval_on_selector('[data-camera="door"] live-edge-player', "({ rendition }) => rendition") == "auto"
    )
    await dialog.get_by_role("button", name="Save").click()
    await dialog.wait_for(state="detached")
    assert [(each["name"], len(each["tiles"])) for each in gateway.json("/api/walls")["walls"]] == [("Mine", 2)]
