"""Nodes with certificates of a private authority, as a site without a public name has them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.camera_settings import RenditionName
from gateway.capture.engine import CaptureSource
from gateway.capture.relay_protocol import MEDIA_TYPE, RelayEncoder
from gateway.clock import SYSTEM_CLOCK
from gateway.cluster.coordinator import Coordinator
from gateway.cluster.model import Node, Owner, View
from gateway.errors import CameraEndedError, CameraUnreachableError, NodeAwayError
from tests.support.certificate import PrivateAuthority
from web.auth.authenticator import NODE_TOKEN
from web.cluster.forwarding import Forwarding
from web.cluster.peers import Peers
from web.cluster.relays import Relays, relay_path
from web.cluster.service import Cluster
from web.cluster.tokens import NodeTokens

KEY = "k" * 43


class Here:
    """What relays need of a cluster: ``b`` owns the camera."""

    def __init__(self, url: str) -> None:
        self.coordinator = Coordinator(Node("a#1", "a"))
        (renew,) = self.coordinator.step(0.0)
        view = View({"b#1": Node("b#1", "b", url)}, {"door": frozenset()}, {"door": Owner(1, "b#1")})
        self.coordinator.answered(renew.number, view, 0.0)  # type: ignore[union-attr]

    def captures(self, _: str) -> bool:
        return False


@asynccontextmanager
async def owner(certificate: Path) -> AsyncIterator[str]:
    """Node ``b`` behind TLS; yields its URL."""

    async def relay(request: web.Request) -> web.Response:
        NodeTokens(KEY, "b", SYSTEM_CLOCK).verify(request.headers[NODE_TOKEN], "GET", request.path)
        encoder = RelayEncoder()
        return web.Response(body=encoder.hello("b", 1) + encoder.end("it is enough"), content_type=MEDIA_TYPE)

    app = web.Application()
    app.router.add_get(relay_path("door"), relay)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = TestServer(app, scheme="https", host="127.0.0.1")
    await server.start_server(ssl=context)
    yield f"https://127.0.0.1:{server.port}"
    await server.close()


async def relayed(url: str, ca_file: Path | None) -> None:
    """Relay the camera from ``b``."""
    here = Here(url)
    peers = Peers(NodeTokens(KEY, "a", SYSTEM_CLOCK), ca_file)
    try:
        peers.seen(here.coordinator.view)
        relay = Relays(cast("Cluster", here), peers).of("door", RenditionName.MAIN)
        assert relay is not None
        engine = relay.engine(CaptureSource("door", "", 5.0, 1, 1), SYSTEM_CLOCK)
        await engine.run(lambda _: None)  # type: ignore[union-attr]
    finally:
        await peers.close()


async def test_the_certificates_of_nodes_are_those_of_the_authority_that_is_set(tmp_path: Path) -> None:
    authority, other = PrivateAuthority(tmp_path), PrivateAuthority(tmp_path, "other")
    async with owner(authority.certificate("127.0.0.1")) as url:
        with pytest.raises(CameraEndedError, match="it is enough"):
            await relayed(url, authority.ca_file)
        for ca_file in (None, other.ca_file):
            with pytest.raises(CameraUnreachableError, match="is refused; see NODE_TLS_CA_FILE"):
                await relayed(url, ca_file)


async def test_a_certificate_for_another_address_is_refused(tmp_path: Path) -> None:
    authority = PrivateAuthority(tmp_path)
    async with owner(authority.certificate("192.0.2.1")) as url:
        with pytest.raises(CameraUnreachableError, match="the certificate of the node b"):
            await relayed(url, authority.ca_file)


async def test_nobody_waits_for_a_worker_that_goes_down_nor_asks_one_that_is() -> None:
    """Its socket is open: connections wait there for its next process."""
    with socket.create_server(("127.0.0.1", 0)) as waiting:
        worker = Node("b#1", "b", f"http://127.0.0.1:{waiting.getsockname()[1]}")
        for are_workers in (True, False):
            peers = Peers(NodeTokens(KEY, "a", SYSTEM_CLOCK), are_workers=are_workers)
            forwarding = Forwarding(peers, "a#1", lambda *_: "")
            assert not peers.is_down(worker), "nothing is known yet"
            peers.seen(View({"b#1": worker}))
            asking = asyncio.create_task(forwarding.json(worker, "/"))
            (connection, _) = await asyncio.get_running_loop().run_in_executor(None, waiting.accept)
            assert not asking.done()
            peers.seen(View({"b#1": worker, "c#1": Node("c#1", "c")}))
            await asyncio.sleep(0)
            assert not asking.done(), "it is alive"
            peers.seen(View({"c#1": Node("c#1", "c")}))
            assert peers.is_down(worker) is are_workers
            if are_workers:
                with pytest.raises(NodeAwayError):
                    await asking
                with pytest.raises(NodeAwayError, match="is down"):
                    await forwarding.json(worker, "/")
            else:
                await asyncio.sleep(0)
                assert not asking.done(), "a node of a cluster may have lost the database alone"
                asking.cancel()
                await asyncio.wait([asking])
            connection.close()
            await peers.close()
