"""Two nodes of a cluster behind one address: what a person makes at one of them holds at the other.

The nodes are processes with a PostgreSQL server of their own, and a provider of OpenID Connect. There is no proxy: the
requests name the host that both are known by, and are sent to one node or the other.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.support.auth_gateway import offered
from tests.support.eventually import eventually, eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.oidc import OidcServer, through_the_forms
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.rtsp import free_port

pytestmark = pytest.mark.integration

TOKEN = "the-token-of-the-admin"

HOST = "cameras.example"
PAGE = {"Host": HOST, "Origin": f"http://{HOST}"}

CAMERA = {"camera_id": "door", "url": "fake://door", "engine": "fake", "record": "never", "start": "always"}

WALL = {"name": "gates", "tiles": [{"camera_id": "door", "rendition": "auto"}]}


class Site:
    """Nodes ``a`` and ``b``, and their database."""

    def __init__(self, server: PostgresServer, a: GatewayProcess, b: GatewayProcess) -> None:
        self.server = server
        self.a, self.b = a.url, b.url
        self.nodes = a, b

    async def answer(
        self, http: aiohttp.ClientSession, method: str, url: str, token: str | None = TOKEN, body: object = None
    ) -> tuple[int, Any]:
        """Status and JSON; without a token, as the page that has the cookies of ``http``."""
        headers = {**PAGE, "Authorization": f"Bearer {token}"} if token else PAGE
        async with http.request(method, url, headers=headers, json=body) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if reply.content_type == "application/json" else None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    provider = OidcServer()
    # The provider is a process of this loop.
    with asyncio.Runner() as runner, ExitStack() as stack:
        runner.run(provider.__aenter__())
        stack.callback(lambda: runner.run(provider.__aexit__()))
        server = stack.enter_context(postgres_server())
        shared = {name.upper(): value for name, value in provider.settings.items()}
        nodes = []
        for name in "ab":
            port = free_port()
            settings = {"NODE_NAME": f"{name}.site", "NODE_URL": f"http://127.0.0.1:{port}", "PORT": port, **shared}
            folder: Path = tmp_path_factory.mktemp(name)
            node = GatewayProcess(folder, CLUSTER_URL=server.url, AUTH_TOKEN=TOKEN, **settings)
            node.headers = {"Authorization": f"Bearer {TOKEN}"}
            nodes.append(stack.enter_context(node))
        runner.run(provider.accept(f"http://{HOST}/"))
        nodes[0].json("/api/cameras", "POST", CAMERA)
        for node in nodes:
            eventually_sync(lambda node=node: node.json("/api/status")["cluster"]["owners"].get("door"), "it is owned")  # type: ignore[misc]
        yield Site(server, *nodes)


async def test_tokens_and_links_made_at_one_node_hold_at_the_other_and_end_at_both(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        status, token = await site.answer(
            http, "POST", f"{site.a}/api/tokens", body={"name": "guard", "role": "viewer"}
        )
        assert status == 201
        assert (await site.answer(http, "POST", f"{site.b}/api/tokens", body={"name": "guard", "role": "viewer"}))[
            0
        ] == 409
        for node in (site.b, site.a):
            listed = (await site.answer(http, "GET", f"{node}/api/tokens"))[1]["tokens"]
            assert [each["id"] for each in listed if each["source"] == "api"] == [token["id"]]
        wanted = {"path": "/mjpeg/door", "name": "for the police"}
        link = (await site.answer(http, "POST", f"{site.b}/api/sign", token["token"], wanted))[1]
        assert [each["id"] for each in (await site.answer(http, "GET", f"{site.a}/api/links"))[1]["links"]] == [
            link["id"]
        ]
        viewer = {"Authorization": f"Bearer {token['token']}"}
        for url, headers, end in (
            (f"/mjpeg/door?token={link['token']}", {}, f"{site.a}/api/links/{link['id']}"),
            ("/mjpeg/door", viewer, f"{site.b}/api/tokens/{token['id']}"),
        ):
            async with (
                http.get(site.a + url, headers=headers) as here,
                http.get(site.b + url, headers=headers) as there,
            ):
                assert (here.status, there.status) == (200, 200)
                assert (await site.answer(http, "DELETE", end))[0] == 204
                for stream in (here, there):
                    async with asyncio.timeout(60):
                        with pytest.raises(aiohttp.ClientError):
                            await stream.read()
            for node in (site.a, site.b):
                async with http.get(node + url, headers=headers) as answer:
                    assert answer.status == 401


async def test_a_browser_that_began_to_sign_in_at_one_node_is_signed_in_at_all_until_it_signs_out(site: Site) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http, aiohttp.ClientSession() as browser:
        async with browser.get(f"{site.a}/auth/login", headers=PAGE, allow_redirects=False) as answer:
            assert answer.status == 303
            attempt = {name: cookie.value for name, cookie in answer.cookies.items()}
        callback = await through_the_forms(http, answer.headers["Location"], "olga")
        assert callback.host == HOST
        url = URL(f"{site.b}{callback.raw_path_qs}", encoded=True)
        async with browser.get(url, headers=PAGE, cookies=attempt, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "../#/")
            cookies = {name: cookie.value for name, cookie in answer.cookies.items() if cookie.value}
        for node in (site.a, site.b):
            async with browser.get(f"{node}/api/access", headers=PAGE, cookies=cookies) as answer:
                assert (await answer.json())["name"] == "user 'olga'"
        async with browser.get(f"{site.a}/mjpeg/door", headers=PAGE, cookies=cookies) as stream:
            assert stream.status == 200
            async with browser.post(f"{site.b}/auth/logout", headers=PAGE, cookies=cookies) as answer:
                assert answer.status == 200
            async with asyncio.timeout(60):
                with pytest.raises(aiohttp.ClientError):
                    await stream.read()
        for node in (site.a, site.b):
            async with browser.get(f"{node}/api/access", headers=PAGE, cookies=cookies) as answer:
                assert answer.status == 401


async def test_a_wall_saved_at_one_node_is_shown_and_removed_at_the_other(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        assert (await site.answer(http, "PUT", f"{site.a}/api/walls/gates", body=WALL))[0] == 201
        assert (await site.answer(http, "PUT", f"{site.b}/api/walls/gates", body={**WALL, "name": "other"}))[0] == 200
        assert [each["name"] for each in (await site.answer(http, "GET", f"{site.a}/api/walls"))[1]["walls"]] == [
            "other"
        ]
        assert (await site.answer(http, "DELETE", f"{site.a}/api/walls/gates"))[0] == 204
        assert (await site.answer(http, "DELETE", f"{site.b}/api/walls/gates"))[0] == 404
        assert (await site.answer(http, "GET", f"{site.b}/api/walls"))[1]["walls"] == []


async def test_requests_of_a_viewer_and_of_a_session_may_reach_any_node(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/sdp"}
        async with offered() as offer, http.post(f"{site.a}/whep/door", data=offer, headers=headers) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
        viewer = location.rpartition("/")[2]
        assert viewer.startswith("a.site.")
        of_viewer = f"{site.b}/api/cameras/door/viewers/{viewer}"
        status, found = await site.answer(http, "PATCH", of_viewer, body={"rendition": "main"})
        assert (status, found["camera_id"], found["requested"]) == (200, "door", "main")
        assert (await site.answer(http, "DELETE", f"{site.b}{location}", None))[0] == 401
        assert (await site.answer(http, "DELETE", f"{site.b}{location}"))[0] == 200
        assert (await site.answer(http, "DELETE", f"{site.a}{location}"))[0] == 404
        path = "/socket.io/?EIO=4&transport=polling"
        async with http.get(site.a + path) as answer:
            session = json.loads((await answer.text())[1:])["sid"]
        packet = "40" + json.dumps({"token": TOKEN})
        async with http.post(f"{site.b}{path}&sid={session}", data=packet) as answer:
            assert await answer.text() == "OK"
        async with http.get(f"{site.b}{path}&sid={session}") as answer:
            assert (await answer.text()).startswith("40")


async def test_without_the_database_what_is_known_goes_on_and_changes_are_refused(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        made = {"name": "night", "role": "viewer"}
        token = (await site.answer(http, "POST", f"{site.a}/api/tokens", body=made))[1]
        assert (await site.answer(http, "PUT", f"{site.a}/api/walls/gates", body=WALL))[0] == 201
        for node in (site.a, site.b):
            assert (await site.answer(http, "GET", f"{node}/api/cameras/door", token["token"]))[0] == 200
            assert len((await site.answer(http, "GET", f"{node}/api/walls"))[1]["walls"]) == 1
        site.server.stop()
        try:
            for node in (site.a, site.b):
                assert (await site.answer(http, "GET", f"{node}/api/cameras/door", token["token"]))[0] == 200
                assert len((await site.answer(http, "GET", f"{node}/api/walls"))[1]["walls"]) == 1
                for method, path, body in (
                    ("POST", "/api/tokens", {"name": "day", "role": "viewer"}),
                    ("DELETE", f"/api/tokens/{token['id']}", None),
                    ("PUT", "/api/walls/yard", WALL),
                    ("DELETE", "/api/walls/gates", None),
                ):
                    status, error = await site.answer(http, method, node + path, body=body)
                    assert (status, error["error"]) == (503, "storage"), (method, path, error)
                assert (await site.answer(http, "GET", f"{node}/api/cameras/door", "not-a-token-of-anybody"))[0] == 401
        finally:
            site.server.start()

        async def is_revoked() -> bool:
            return (await site.answer(http, "DELETE", f"{site.a}/api/tokens/{token['id']}"))[0] == 204

        await eventually(is_revoked, "the database is back")

        async def is_refused() -> bool:
            return (await site.answer(http, "GET", f"{site.b}/api/cameras/door", token["token"]))[0] == 401

        await eventually(is_refused, "the other node knows")
