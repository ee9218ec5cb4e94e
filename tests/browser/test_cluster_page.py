"""The page at a node of a cluster, while another node is away: it says that evidence may be incomplete."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

from playwright.async_api import Browser

from gateway.cluster.model import Node
from gateway.cluster.placement import ranked
from hls.cluster.store import PostgresStore
from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.player import TIMEOUT_MS
from tests.support.postgres import postgres_server
from tests.support.rtsp import free_port

TOKEN = "correct-horse-battery-staple"

NAMES = ("east", "west")

LIMIT_S = 60.0


def camera_of(name: str) -> str:
    """The id of a camera for which a node is the first choice."""
    nodes = [Node(each, each) for each in NAMES]
    ids = (f"camera{number}" for number in range(1000))
    return next(camera_id for camera_id in ids if ranked(nodes, camera_id, frozenset())[0].name == name)


async def test_the_page_names_a_node_that_is_away(tmp_path: Path, browser: Browser) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        nodes: dict[str, GatewayProcess] = {}
        for name in NAMES:
            (tmp_path / name).mkdir()
            settings = {"CLUSTER_URL": server.url, "NODE_NAME": name, "AUTH_TOKEN": TOKEN, "RECORD": "always"}
            settings |= {"PORT": str(port := free_port()), "NODE_URL": f"http://127.0.0.1:{port}"}
            nodes[name] = stack.enter_context(GatewayProcess(tmp_path / name, **settings))
            nodes[name].headers = {"Authorization": f"Bearer {TOKEN}"}
        east, west = nodes.values()
        camera_ids = [camera_of(name) for name in NAMES]
        for camera_id in camera_ids:
            url = f"fake://{camera_id}?width=320&height=180"
            west.json("/api/cameras", "POST", {"camera_id": camera_id, "url": url, "engine": "fake"})

        def owners() -> dict[str, str]:
            found: dict[str, str] = west.json("/api/status")["cluster"]["owners"]
            return found

        eventually_sync(lambda: all(owners().get(each) for each in camera_ids), "they are owned", limit_s=LIMIT_S)
        store = PostgresStore(server.url)
        store.open()
        store.want_rebalance()
        store.close()
        wanted = dict(zip(camera_ids, NAMES, strict=True))
        eventually_sync(lambda: owners() == wanted, "each owns its camera", limit_s=LIMIT_S)
        began = time.time()

        def is_recorded() -> bool:
            lists = [west.json(f"/api/cameras/{camera_id}/segments") for camera_id in camera_ids]
            urls = [each["url"] for found in lists for each in found["segments"]]
            spans = [each["duration_s"] for found in lists for each in found["segments"]]
            of_both = all(any(url.endswith(f"node={name}") for url in urls) for name in NAMES)
            return of_both and sum(spans) > 4

        eventually_sync(is_recorded, "both nodes have recorded something", limit_s=LIMIT_S)
        east.kill()
        ended = time.time()

        def is_known() -> bool:
            return west.fetch(f"/api/cameras/{camera_ids[0]}/segments")[1].get("Liveedge-Away") == "east"

        eventually_sync(is_known, "the other node knows that it is away", limit_s=LIMIT_S)

        page = await browser.new_page(viewport={"width": 1280, "height": 800}, locale="en")
        await page.add_init_script(f"sessionStorage.setItem('liveedge-token', {json.dumps(TOKEN)})")
        said = "Not all nodes of the cluster answer: east."
        for view in (f"camera/{camera_ids[0]}", f"playback?cameras={','.join(camera_ids)}"):
            await page.goto(f"{west.url}/#/{view}")
            await page.locator(".time .away").filter(has_text=said).wait_for(timeout=TIMEOUT_MS)
        await page.keyboard.press("g")
        await page.locator(".moment .away").filter(has_text=said).wait_for(timeout=TIMEOUT_MS)
        await page.keyboard.press("Escape")

        cameras = "&".join(f"camera={camera_id}" for camera_id in camera_ids)
        await page.goto(f"{west.url}/#/exports?{cameras}&from={int(began)}&to={int(ended) + 1}")
        await page.locator("form .away").filter(has_text=said).wait_for(timeout=TIMEOUT_MS)
        await page.get_by_role("button", name="Export", exact=True).press("Enter")
        row = page.locator(".exports li[data-state=done]")
        await row.locator(".away").filter(has_text="Incomplete: what east recorded").wait_for(timeout=TIMEOUT_MS)
        async with page.expect_download() as download:
            await row.get_by_role("button", name="Download").press("Enter")
        await (await download.value).save_as(tmp_path / "export.zip")
        await page.set_input_files("#verify-file", tmp_path / "export.zip")
        finding = page.locator(".findings li").filter(has_text="What east recorded is not in it")
        await finding.wait_for(timeout=TIMEOUT_MS)

        korean = await browser.new_page(viewport={"width": 390, "height": 844}, locale="ko")
        await korean.add_init_script(f"sessionStorage.setItem('liveedge-token', {json.dumps(TOKEN)})")
        await korean.goto(f"{west.url}/#/exports")
        row = korean.locator(".exports li[data-state=done] .away")
        await row.filter(has_text="east 노드에 연결할 수 없어").wait_for(timeout=TIMEOUT_MS)
        await korean.locator("form .away").filter(has_text="응답하지 않는 클러스터 노드: east.").wait_for()
        assert await korean.evaluate("document.documentElement.scrollWidth") <= 390
