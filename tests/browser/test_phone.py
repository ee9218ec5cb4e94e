"""The page as an app on a phone: it can be installed, starts without the gateway, and gets notifications."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, CDPSession, Page

from tests.support.accessibility import violations
from tests.support.browser import chromium
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS, cameras
from tests.support.push_service import PushService, push_service

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 700}, "has_touch": True, "is_mobile": True}

SUBSCRIBE = """([endpoint, p256dh, auth]) => {
  // A browser subscribes with the push service of its maker, which a test cannot reach.
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const keys = { p256dh: bytes(p256dh).buffer, auth: bytes(auth).buffer };
  let current = null;
  PushManager.prototype.getSubscription = async () => current;
  PushManager.prototype.subscribe = async (options) => current = {
    endpoint, options: { applicationServerKey: options.applicationServerKey.buffer },
    getKey: (name) => keys[name], unsubscribe: async () => { current = null; return true; },
  };
}"""

NOTIFICATIONS = """async () => {
  const found = await (await navigator.serviceWorker.ready).getNotifications();
  return found.map(({ title, body, tag, data }) => ({ title, body, tag, url: data.url }));
}"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The whole Chromium: its headless shell installs no pages, and shows no notifications."""
    async with chromium() as found:
        yield found


async def installed(page: Page) -> CDPSession:
    """Wait for the service worker, and return a session that can reach it."""
    await page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    return await page.context.new_cdp_session(page)


async def deliver(cdp: CDPSession, origin: str, text: str) -> None:
    """Give a message to the service worker, as the browser's push service would."""
    found: list[dict[str, Any]] = []
    cdp.on("ServiceWorker.workerRegistrationUpdated", lambda event: found.extend(event["registrations"]))
    await cdp.send("ServiceWorker.enable")
    await eventually(lambda: found, "the registration is known")
    message = {"origin": origin, "registrationId": found[0]["registrationId"], "data": text}
    await cdp.send("ServiceWorker.deliverPushMessage", message)
    await cdp.send("ServiceWorker.disable")


async def test_the_page_is_installed_and_starts_without_the_gateway(
    gateways: Callable[..., GatewayProcess], browser: Browser, tmp_path: Path
) -> None:
    cameras(tmp_path, "door", extra='record = "never"\nstart = "on-demand"\n')
    gateway = gateways()
    page = await browser.new_page(**PHONE, locale="en")
    await page.goto(gateway.url)
    cdp = await installed(page)
    # A browser of the test is incognito, which is the only thing that keeps it from installing the page.
    errors = (await cdp.send("Page.getInstallabilityErrors"))["installabilityErrors"]
    assert [each["errorId"] for each in errors] == ["in-incognito"]
    manifest = await cdp.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert json.loads(manifest["data"])["name"] == "liveedge"

    await page.locator('[data-camera="door"]').wait_for(timeout=TIMEOUT_MS)
    await page.reload()  # from now on, the service worker answers for the page
    await page.locator('[data-camera="door"]').wait_for(timeout=TIMEOUT_MS)
    kept = """async () => {
      const requests = await Promise.all((await caches.keys()).map(async (name) => (await caches.open(name)).keys()));
      return requests.flat().map(({ url }) => new URL(url).pathname);
    }"""
    paths: list[str] = await page.evaluate(kept)
    assert {"/", "/static/player.js", "/static/page.css"} <= set(paths)
    assert all(path == "/" or path.startswith("/static/") for path in paths)

    # A cache of an older version is deleted when the new one takes over.
    await page.evaluate("caches.open('liveedge-shell-older').then(() => null)")
    await page.evaluate("navigator.serviceWorker.getRegistration().then((found) => found.unregister())")
    await page.reload()
    await installed(page)
    await page.wait_for_function("caches.keys().then((names) => names.length === 1)", timeout=TIMEOUT_MS)
    assert await page.evaluate("caches.has('liveedge-shell-older')") is False

    await page.reload()
    await page.locator('[data-camera="door"]').wait_for(timeout=TIMEOUT_MS)
    gateway.kill()
    await page.reload()
    await page.get_by_text("The gateway does not answer.").wait_for(timeout=TIMEOUT_MS)
    gateway.start()
    await page.locator('[data-camera="door"]').wait_for(timeout=TIMEOUT_MS)


async def turn_on(page: Page, service: PushService, name: str) -> None:
    """Subscribe with the keyboard."""
    subscription = service.subscribe(name)
    await page.evaluate(SUBSCRIBE, [subscription.endpoint, *subscription.keys.values()])
    await page.get_by_role("button", name="알림").press("Enter")
    dialog = page.get_by_role("dialog", name="알림")
    await dialog.get_by_label("카메라 영상 복구").press("Space")
    await dialog.get_by_label("다음 라벨의 이벤트만").fill("person, ring")
    await dialog.get_by_label("방해 금지 시간").press("Space")
    await dialog.get_by_label("방해 금지 시간").press("Space")
    await dialog.get_by_label("yard").press("Space")
    assert await violations(page) == []
    await dialog.get_by_role("button", name="켜기").press("Enter")
    await dialog.get_by_text("알림이 켜졌습니다.").wait_for(timeout=TIMEOUT_MS)


async def test_a_browser_is_notified_and_opens_the_moment(
    gateways: Callable[..., GatewayProcess], browser: Browser, tmp_path: Path
) -> None:
    cameras(tmp_path, "door", "yard", extra='record = "never"\nstart = "on-demand"\n')
    async with push_service() as service:
        gateway = gateways(PUSH_SERVICES=service.url)
        page = await browser.new_page(**PHONE, locale="ko", permissions=["notifications"], color_scheme="dark")
        await page.goto(gateway.url)
        cdp = await installed(page)
        await turn_on(page, service, "phone")
        (subscription,) = gateway.json("/api/push/subscriptions")["subscriptions"]
        assert subscription["kinds"] == ["event.created", "camera.down", "camera.up"]
        assert subscription["cameras"] == ["door"]
        assert subscription["labels"] == ["person", "ring"]
        assert subscription["language"] == "ko"
        dialog = page.get_by_role("dialog", name="알림")
        await dialog.get_by_role("button", name="시험 알림 보내기", exact=True).press("Enter")
        await dialog.get_by_text("푸시 서비스가 시험 알림을 받았습니다.").wait_for(timeout=TIMEOUT_MS)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        event = gateway.json("/api/events", "POST", {"camera_id": "door", "label": "person"})
        await eventually(
            lambda: len(service.of("phone")) == 2, "the event arrives, and nothing of cameras that are live"
        )
        said = service.of("phone")[1]
        await deliver(cdp, gateway.url, said.text)
        url = f"#/camera/door?t={event['start']}"

        async def shown() -> Any:
            return [each for each in await page.evaluate(NOTIFICATIONS) if each["url"] == url]

        (notification,) = await eventually(shown, "the notification is shown")
        assert notification["title"] == "door"
        assert notification["body"] == "이벤트: person"
        # What is no message of this gateway is shown, too: a browser ends a subscription that shows nothing.
        await deliver(cdp, gateway.url, "no JSON")
        await page.wait_for_function(f"async () => (await ({NOTIFICATIONS})()).length === 2", timeout=TIMEOUT_MS)

        # A click on it is not possible here: the worker sends this message to the page that is open.
        worker = page.context.service_workers[0]
        await worker.evaluate(
            """async (hash) => {
              const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
              const click = new Event("notificationclick");
              click.notification = { close() {}, data: { url: hash } };
              click.waitUntil = () => {};
              pages.forEach((page) => { page.focus = async () => page; });
              self.dispatchEvent(click);
            }""",
            url,
        )
        await page.wait_for_url(f"**/{url}", timeout=TIMEOUT_MS)

        await page.get_by_role("button", name="알림").press("Enter")
        await page.get_by_role("dialog", name="알림").get_by_role("button", name="이 브라우저에서 끄기").press("Enter")
        await page.wait_for_function(
            "fetch('/api/push/subscriptions').then((r) => r.json()).then((found) => found.subscriptions.length === 0)",
            timeout=TIMEOUT_MS,
        )
