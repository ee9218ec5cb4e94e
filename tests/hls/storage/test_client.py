"""The client of the object storage, and servers that are none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hls.storage.client import ObjectStore
from hls.storage.errors import ObjectStoreError, StoreFault
from web.settings import load_settings

DATA = bytes(range(250)) * 4

PAGE = b"<!doctype html><title>Console</title><p>Sign in<br>"


class Handler(BaseHTTPRequestHandler):
    """Answers everything with 200: GET with the whole object, and all else with a page."""

    page = PAGE
    is_cut = False

    def do_GET(self) -> None:
        self._answer(DATA)

    def do_POST(self) -> None:
        self._answer(self.page)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.page)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if self.is_cut else body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@contextmanager
def served(**values: object) -> Iterator[ObjectStore]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Changed", (Handler,), values))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = {
        "archive_endpoint": f"http://127.0.0.1:{server.server_port}",
        "archive_access_key_id": "key",
        "archive_secret_access_key": "secret",
    }
    store = ObjectStore(load_settings(archive_url="s3://bucket/folder", **settings))
    try:
        yield store
    finally:
        store.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("page", [PAGE, b"<html>Sign in</html>", b"", b"{}"])
def test_a_server_that_is_no_object_storage_is_told(page: bytes) -> None:
    with served(page=page) as store:
        for call in (lambda: store.begin("door/a.mp4"), lambda: store.put_part("door/a.mp4", "id", 1, DATA)):
            with pytest.raises(ObjectStoreError, match="ARCHIVE_ENDPOINT") as failed:
                call()
            # botocore takes some pages for an answer of S3 that the server could not finish.
            assert failed.value.fault in (StoreFault.NOT_S3, StoreFault.AWAY)


def test_a_server_that_ignores_ranges_gives_no_wrong_bytes() -> None:
    with served() as store:
        assert store.read("door/a.mp4") == DATA
        assert store.read("door/a.mp4", 0, 10) == DATA[:10]
        with pytest.raises(ObjectStoreError, match="proxies on the way"):
            store.read("door/a.mp4", 10, 20)


def test_an_answer_that_is_cut_short_is_an_outage() -> None:
    with served(is_cut=True) as store, pytest.raises(ObjectStoreError) as failed:
        store.read("door/a.mp4")
    assert failed.value.fault is StoreFault.AWAY
