"""What axe-core finds on a page."""

from pathlib import Path

from playwright.async_api import Page

AXE = Path(__file__).parents[2] / "web" / "player" / "node_modules" / "axe-core" / "axe.min.js"


async def serious_violations(page: Page) -> list[str]:
    """The serious and critical violations of the page as it is, with the element of each."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
