"""A provider of OpenID Connect in its own process: oidc-provider on Node, which is certified."""

import asyncio
import html
import json
import re
from pathlib import Path
from typing import Any, Self

import aiohttp
from yarl import URL

from tests.support.node import NODE

PROGRAM = Path(__file__).with_name("oidc_node.mjs")

SECRET = "the secret: of the client"


class OidcServer:
    """``tests/support/oidc_node.mjs``. Its client is the gateway that :meth:`accept` names."""

    def __init__(self) -> None:
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a gateway that lets people sign in here."""
        return {"oidc_issuer": self.issuer, "oidc_client_id": "liveedge", "oidc_client_secret": SECRET}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            NODE,
            str(PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # its warnings that this is no production
        )
        self.port = (await self._read())["port"]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def accept(self, page: str, *, is_public: bool = False) -> None:
        """Accept the gateway whose page is here, with a slash at the end."""
        assert self._process is not None
        assert self._process.stdin is not None
        order = {"redirect": f"{page}auth/callback", "page": page, "public": is_public}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        await self._read()

    async def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


async def through_the_forms(http: aiohttp.ClientSession, url: str | URL, login: str) -> URL:
    """Follow a sign-in through the provider's pages, as a browser does; returns the address of the callback."""
    for _ in range(20):
        async with http.get(url, allow_redirects=False) as answer:
            if "Location" in answer.headers:
                url = answer.url.join(URL(answer.headers["Location"], encoded=True))
                if url.path == "/auth/callback":
                    return url
                continue
            page = await answer.text()
            assert answer.status == 200, page
        form = re.search(r'<form[^>]* action="([^"]+)"', page)
        assert form is not None, page
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
        if fields["prompt"] == "login":
            fields |= {"login": login, "password": "any"}
        async with http.post(html.unescape(form[1]), data=fields, allow_redirects=False) as answer:
            url = answer.url.join(URL(answer.headers["Location"], encoded=True))
    raise AssertionError("the provider does not come to an end")
