"""Sign-in at a real provider of OpenID Connect, in a real Chromium."""

from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Browser

from tests.support.accessibility import violations
from tests.support.gateway_process import GatewayProcess
from tests.support.oidc import OidcServer
from tests.support.player import TIMEOUT_MS, cameras, plays


async def test_people_sign_in_watch_by_cookie_and_sign_out(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, browser: Browser
) -> None:
    cameras(tmp_path, "door")
    async with OidcServer() as provider:
        gateway = gateways(OIDC_NAME="Example", **{key.upper(): value for key, value in provider.settings.items()})
        await provider.accept(f"{gateway.url}/")
        context = await browser.new_context(locale="en")
        # The provider's pages want a font of another site.
        await context.route(lambda url: "//127.0.0.1:" not in url, lambda route: route.abort())
        page = await context.new_page()

        async def sign_in(login: str) -> None:
            await page.get_by_role("button", name="Sign in with Example").press("Enter")
            await page.locator("[name=login]").fill(login, timeout=TIMEOUT_MS)
            await page.locator("[name=password]").fill("any")
            await page.locator("[type=submit]").click()
            await page.get_by_role("button", name="Continue").click()

        await page.goto(f"{gateway.url}/#/camera/door")
        await page.get_by_role("button", name="Sign in with Example").wait_for(timeout=TIMEOUT_MS)
        assert await violations(page) == []
        await sign_in("nobody")
        await page.get_by_text("Your account has no role here.").wait_for(timeout=TIMEOUT_MS)
        await context.clear_cookies()  # the provider forgets nobody
        await page.goto(f"{gateway.url}/#/camera/door")
        await sign_in("olga")
        await page.wait_for_url(f"{gateway.url}/#/camera/door")
        await page.locator("live-edge-player").wait_for(timeout=TIMEOUT_MS)
        for transport in ("webrtc", "hls", "jpeg", "mjpeg"):
            await page.eval_on_selector(
                "live-edge-player", "(player, transport) => { player.transports = [transport] }", transport
            )
            await plays(page, transport)
        # The provider is on the same host, and browsers do not tell ports apart in cookies.
        own = [each for each in await context.cookies(gateway.url) if each.get("name", "").startswith("liveedge")]
        (cookie,) = own
        assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
        other = await context.new_page()
        await other.goto(gateway.url)
        await plays(other, "webrtc")
        recordings = other.get_by_role("button", name="Play the recordings")
        await recordings.wait_for()
        # It is signed out at the gateway at once, and at the provider if one says so there.
        await page.get_by_role("button", name="Sign out").press("Enter")
        await page.get_by_role("button", name="Yes, sign me out").click(timeout=TIMEOUT_MS)
        await page.get_by_role("button", name="Sign in with Example").wait_for(timeout=TIMEOUT_MS)
        left = [each.get("name", "") for each in await context.cookies(gateway.url)]
        assert [name for name in left if name.startswith("liveedge")] == []

        # The other tab asks for a sign-in as well, until somebody signs in again. It has the buttons of the new role.
        await other.get_by_role("button", name="Sign in with Example").wait_for(timeout=TIMEOUT_MS)
        await other.evaluate("window.isOld = true")
        await sign_in("vera")
        await other.wait_for_function("() => !window.isOld", timeout=TIMEOUT_MS)
        await plays(other, "webrtc")
        assert await recordings.count() == 0
