"""The example EMS of the documentation, in both languages, with a whole gateway."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.auth_gateway import DEMO, auth_gateway
from tests.support.node import NODE

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parents[1]
EXAMPLES = TESTS.parent / "docs" / "examples"

COMMANDS = {
    "python": (sys.executable, str(EXAMPLES / "ems.py")),
    # From where its imports are found.
    "node": (NODE, "--input-type=module", "-e", (EXAMPLES / "ems.mjs").read_text(), "--"),
}

EXPECTED = (
    "connected",
    "heartbeat ",
    "status demo live",
    "frame demo ",
    "snapshot demo ",
    "segments demo ",
    "marked demo ",
    "event created demo example",
    "refused attic there is no camera 'attic'",
)


def test_the_page_shows_the_file_that_is_run() -> None:
    assert f"```js\n{(EXAMPLES / 'ems.mjs').read_text()}```\n" in (EXAMPLES.parent / "ems.md").read_text()


@pytest.mark.parametrize("language", COMMANDS)
async def test_the_example_does_what_an_ems_does(language: str, tmp_path: Path) -> None:
    ems = await asyncio.create_subprocess_exec(
        *COMMANDS[language], "0", "demo", "attic", cwd=TESTS, stdout=asyncio.subprocess.PIPE
    )
    assert ems.stdout is not None
    cameras = {"demo": {**DEMO["demo"], "record": "always"}}
    try:
        async with asyncio.timeout(30):
            port = (await ems.stdout.readline()).split()[1].decode()
            url = f"http://127.0.0.1:{port}"
            async with auth_gateway(tmp_path, socketio_server_url=url, cameras=cameras):
                missing = set(EXPECTED)
                while missing:
                    line = (await ems.stdout.readline()).decode()
                    assert line, missing
                    missing -= {start for start in missing if line.startswith(start)}
                    if line.startswith("frame"):
                        assert line.split()[3] == "320x180"
                    if line.startswith("snapshot"):
                        assert int(line.split()[2]) > 1000
    finally:
        ems.kill()
        await ems.communicate()
