"""HEAD: the head of the answer to GET, and no body, on every route."""

import asyncio
import re
from pathlib import Path

from tests.support.auth_gateway import ADMIN_TOKEN, DEMO, auth_gateway
from web.auth.policy import ROUTES

VALUES = {"camera": "demo", "viewer": "nobody", "segment": "segment_20261122T185000Z", "init": "0", "file": "player.js"}
QUERIES = {"/api/cameras/{camera}/segments/at": "?time=now", "/api/cameras/{camera}/clip.mp4": "?start=1&end=2"}
PATHS = {
    re.sub(r"\{(\w+)\}", lambda match: VALUES.get(match[1], "live.m3u8"), path) + QUERIES.get(path, "")
    for method, path in ROUTES
    if method == "GET" and path != "/socket.io/"
}


async def test_no_answer_to_head_has_a_body(tmp_path: Path) -> None:
    """A client or proxy that uses the connection again would take the body for the answer to its next request."""
    async with auth_gateway(tmp_path, cameras=DEMO) as client:
        statuses = {}
        for path in sorted(PATHS):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
            common = f"Host: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
            writer.write(f"HEAD {path} HTTP/1.1\r\n{common}GET /health HTTP/1.1\r\n{common}".encode())
            async with asyncio.timeout(60):
                head = await reader.readuntil(b"\r\n\r\n")
                statuses[path] = int(head.split()[1])
                assert (await reader.readline()).startswith(b"HTTP/1.1 200"), path
            writer.close()
        assert statuses["/mjpeg/demo"] == statuses["/snapshot/demo.jpg"] == statuses["/hls/demo/live.m3u8"] == 200
        assert not [path for path, status in statuses.items() if status >= 500]
