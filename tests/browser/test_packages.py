"""``@liveedge/player`` as ``npm pack`` makes it: the example apps are built with it, and play a gateway's camera."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import OtherOrigin
from tests.support.gateway_process import GatewayProcess
from tests.support.node import NODE
from tests.support.player import TIMEOUT_MS, cameras, plays

ROOT = Path(__file__).parents[2]
PLAYER = ROOT / "web" / "player"
INSTALLED = PLAYER / "node_modules"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package, unpacked from its file."""
    folder = tmp_path_factory.mktemp("npm")
    subprocess.run([sys.executable, ROOT / "scripts" / "packages", "player", "--into", folder], check=True)
    (packed,) = folder.glob("liveedge-player-*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def install(app: Path, package: Path) -> None:
    """What ``npm install`` does, with the packages of the player's own build: those that are declared, no others."""
    modules = app / "node_modules"
    shutil.copytree(package, modules / "@liveedge" / "player")
    declared: dict[str, str] = {}
    for file in (app / "package.json", package / "package.json"):
        described = json.loads(file.read_text())
        declared |= described.get("dependencies", {}) | described.get("devDependencies", {})
    assert declared.pop("@liveedge/player") == f"^{json.loads((package / 'package.json').read_text())['version']}"
    ours = json.loads((PLAYER / "package.json").read_text())
    for name, versions in declared.items():
        assert versions == (ours["dependencies"] | ours["devDependencies"])[name]
        (modules / name).parent.mkdir(exist_ok=True)
        (modules / name).symlink_to(INSTALLED / name)


def run_node(folder: Path, *arguments: str | Path, **environment: str) -> str:
    """The standard output of a program in Node, which has to succeed."""
    done = subprocess.run(
        [NODE, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("example", ["html", "react"])
async def test_example_apps_are_built_with_the_package_and_play(
    gateways: Callable[..., GatewayProcess],
    tmp_path: Path,
    page: Page,
    other_origin: OtherOrigin,
    package: Path,
    example: str,
) -> None:
    cameras(tmp_path, "door")
    door = gateways(CORS_ORIGINS=other_origin.url)
    app = tmp_path / "app"
    shutil.copytree(PLAYER / "examples" / example, app)
    install(app, package)
    run_node(app, "node_modules/typescript/bin/tsc", "--noEmit")
    outdir = ("--outDir", other_origin.folder, "--emptyOutDir")
    run_node(app, "node_modules/vite/bin/vite.js", "build", *outdir, VITE_GATEWAY=door.url, VITE_CAMERA="door")
    await page.goto(other_origin.url)
    await plays(page, "webrtc")
    # The app shows what the events of the element say.
    await page.wait_for_function(
        """() => document.querySelector("#state").value.includes("webrtc")
            && / frames/.test(document.querySelector("#statistics").value)""",
        timeout=TIMEOUT_MS,
    )
    if example == "react":
        # A prop that the app changes arrives, and none that it does not.
        await page.get_by_role("button", name="Sound", exact=True).click()
        await page.wait_for_function("() => document.querySelector('live-edge-player').muted === false")
        await plays(page, "webrtc")
        return
    # hls.js is loaded when it is needed.
    scripts = (
        "() => performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => /hls/.test(name))"
    )
    assert await page.evaluate(scripts) == []
    await page.eval_on_selector("live-edge-player", "(player) => (player.transports = ['hls'])")
    await plays(page, "hls")
    assert await page.evaluate(scripts) != []


async def test_the_manifest_describes_the_element(
    gateways: Callable[..., GatewayProcess], tmp_path: Path, page: Page, package: Path
) -> None:
    cameras(tmp_path, "door")
    door = gateways()
    manifest = json.loads((package / "dist" / "custom-elements.json").read_text())
    (module,) = manifest["modules"]
    (element,) = module["declarations"]
    assert (package / module["path"]).exists()
    await page.goto(f"{door.url}/health")
    real: dict[str, Any] = await page.evaluate(
        """async (base) => {
          const { LiveEdgePlayer } = await import(`${base}/static/player.js`);
          const player = document.createElement("live-edge-player");
          player.setAttribute("controls", "");
          document.body.append(player);
          const members = [];
          for (let at = LiveEdgePlayer.prototype; at !== HTMLElement.prototype; at = Object.getPrototypeOf(at)) {
            members.push(...Object.entries(Object.getOwnPropertyDescriptors(at)));
          }
          const parts = [...player.shadowRoot.querySelectorAll("[part]")].map((each) => each.getAttribute("part"));
          const rules = player.shadowRoot.adoptedStyleSheets.flatMap(({ cssRules }) => [...cssRules]);
          return {
            attributes: LiveEdgePlayer.observedAttributes,
            writable: members.filter(([, { set }]) => set).map(([name]) => name),
            methods: members.filter(([, { value }]) => typeof value === "function").map(([name]) => name),
            parts: [...new Set(parts)],
            css: [...new Set(rules.map(({ cssText }) => cssText).join().match(/--live-edge-[a-z-]+/g))],
          };
        }""",
        door.url,
    )
    names = {
        kind: {each["name"] for each in element[kind]}
        for kind in ("attributes", "members", "cssParts", "cssProperties", "events")
    }
    assert names["attributes"] == set(real["attributes"])
    fields = [each for each in element["members"] if each["kind"] == "field" and not each.get("static")]
    assert {each["name"] for each in fields if not each.get("readonly")} == set(real["writable"])
    assert {each["name"] for each in element["members"] if each["kind"] == "method"} <= set(real["methods"])
    assert names["cssParts"] - {"surface"} == set(real["parts"]) - {"surface"}
    assert names["cssProperties"] == set(real["css"])
    assert names["events"] == {"statechange", "statistics"}


def test_the_documentation_has_the_reference_of_the_manifest() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "player-reference"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("entry", ["@liveedge/player", "@liveedge/player/react"])
def test_a_server_that_renders_pages_can_import_the_package(tmp_path: Path, package: Path, entry: str) -> None:
    (tmp_path / "package.json").write_text((PLAYER / "examples" / "react" / "package.json").read_text())
    install(tmp_path, package)
    script = f'import {{ LiveEdgePlayer }} from "{entry}"; console.log(typeof LiveEdgePlayer);'
    if entry.endswith("react"):
        script = (
            f'import {{ LiveEdgePlayer }} from "{entry}"; import {{ createElement }} from "react";'
            'import { renderToString } from "react-dom/server";'
            'console.log(renderToString(createElement(LiveEdgePlayer, { camera: "door", className: "wide" })));'
        )
    (tmp_path / "render.mjs").write_text(script)
    shown = "function" if entry == "@liveedge/player" else '<live-edge-player class="wide"></live-edge-player>'
    assert run_node(tmp_path, "render.mjs").strip() == shown
