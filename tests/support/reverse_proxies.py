"""nginx and Caddy of Debian with the recipes of the documentation, on free ports and with their own certificates.

The recipes run unchanged but for addresses and, with nginx, the path of the certificate. Caddy makes its certificate as
the recipe says, with its own authority.
"""

import datetime
import os
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.rtsp import free_port

DOCS = Path(__file__).parents[2] / "docs"

START_S = 20.0

NAME = "liveedge.example"
"""The name in the recipes, which is reserved (RFC 2606)."""


class Proxy:
    """TLS in front of ``upstream`` (``host:port``), under :data:`NAME`. A context manager."""

    recipe: str
    """The file in ``docs/``."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://{NAME}:{self.port}"
        self.authority = folder / "fullchain.pem"
        """The authority of its certificate."""
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "stderr.log"
        self._configure(upstream)

    def _configure(self, upstream: str) -> None:
        raise NotImplementedError

    def _command(self) -> list[str | Path]:
        raise NotImplementedError

    def _adapted(self, *changes: tuple[str, str], name: str = "") -> str:
        """The recipe with the addresses of this test."""
        recipe = (DOCS / (name or self.recipe)).read_text()
        for wanted, ours in changes:
            recipe, count = re.subn(wanted, ours, recipe)
            assert count, f"the recipe has no {wanted}"
        return recipe

    def session(self) -> aiohttp.ClientSession:
        """A client that resolves the name to this machine, and trusts only this certificate."""
        context = ssl.create_default_context(cafile=self.authority)
        connector = aiohttp.TCPConnector(ssl=context, resolver=_Here())
        # Sign-in goes to a provider at an address of this machine, which has cookies too.
        return aiohttp.ClientSession(self.url, connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True))

    def curl(self, url: str, *options: str) -> str:
        """The output of curl, which speaks HTTP/2. ``url`` may be a path below :attr:`url`."""
        ours = [word for port in (self.port, self.plain_port) for word in ("--resolve", f"{NAME}:{port}:127.0.0.1")]
        command = ["curl", "--silent", "--show-error", "--cacert", str(self.authority), "--max-time", "20", *ours]
        whole = self.url + url if url.startswith("/") else url
        done = subprocess.run([*command, *options, whole], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        # Debian's nginx is in root's PATH only. Caddy keeps its data in its home.
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin", "HOME": str(self.folder)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command(), env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if self.authority.exists() and probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        if error is not None:
            print(self._log.read_text()[-4000:])


class Nginx(Proxy):
    """See the module."""

    recipe = "nginx.conf"
    logging = "access_log off;"

    def _changes(self) -> tuple[tuple[str, str], ...]:
        """What else of the recipe is changed."""
        return ()

    def _configure(self, upstream: str) -> None:
        recipe = self._adapted(
            *self._changes(),
            (r"server 127\.0\.0\.1:8000;", f"server {upstream};"),
            (r"listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (r"listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            (r"listen \[::\]:\d+[^;]*;", ""),
            (r"/etc/ssl/liveedge/", f"{self.folder}/"),
        )
        _write_certificate(self.folder)
        temporary = (f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi"))
        (self.folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {self.folder}/nginx.pid; error_log stderr;\n"
            "events { worker_connections 256; }\n"
            f"http {{ {self.logging} types {{ }} default_type application/octet-stream; {' '.join(temporary)}\n"
            f"uwsgi_temp_path {self.folder}/uwsgi; scgi_temp_path {self.folder}/scgi;\n{recipe}}}\n"
        )

    def _command(self) -> list[str | Path]:
        return ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf"]


class NginxCache(Nginx):
    """nginx with the recipe that serves live HLS from a cache. ``token`` is the cache's at the gateway.

    ``log`` has a line for each request: its address, how the cache answered, and the status.
    """

    def __init__(self, folder: Path, upstream: str, token: str) -> None:
        self.token = token
        self.log = folder / "requests.log"
        super().__init__(folder, upstream)

    def _changes(self) -> tuple[tuple[str, str], ...]:
        self.logging = f"log_format cache '$uri?$args $upstream_cache_status $status'; access_log {self.log} cache;"
        (self.folder / "cache.conf").write_text(
            self._adapted(("YOUR-CACHE-TOKEN", self.token), name="nginx-cache.conf")
        )
        return (
            (r"#proxy_cache_path /var/cache/nginx/liveedge ", f"proxy_cache_path {self.folder}/hls "),
            (r"#proxy_cache_path /run/liveedge-access ", f"proxy_cache_path {self.folder}/access "),
            (r"#include /etc/nginx/liveedge-cache.conf;", f"include {self.folder}/cache.conf;"),
        )


class Caddy(Proxy):
    """See the module."""

    recipe = "Caddyfile"

    def _configure(self, upstream: str) -> None:
        self.authority = self.folder / "storage" / "pki" / "authorities" / "local" / "root.crt"
        recipe = self._adapted((r"reverse_proxy 127\.0\.0\.1:8000", f"reverse_proxy {upstream}"))
        options = ("admin off", "local_certs", "skip_install_trust", "default_bind 127.0.0.1", "grace_period 1s")
        places = f"https_port {self.port}", f"http_port {self.plain_port}", f"storage file_system {self.folder}/storage"
        (self.folder / "Caddyfile").write_text("\n".join(("{", *options, *places, "}", recipe)))

    def _command(self) -> list[str | Path]:
        return ["caddy", "run", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile"]


class _Here(AbstractResolver):
    """Resolve every name to this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
