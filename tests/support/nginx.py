"""nginx of Debian with the recipe of the documentation, on free ports and with a certificate of its own."""

import datetime
import os
import re
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.rtsp import free_port

RECIPE = Path(__file__).parents[2] / "docs" / "nginx.conf"

START_S = 20.0


class Nginx:
    """TLS in front of ``upstream`` (``host:port``). A context manager."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        recipe = RECIPE.read_text()
        for wanted, ours in (
            (r"server 127\.0\.0\.1:8000;", f"server {upstream};"),
            (r"listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (r"listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            (r"listen \[::\]:\d+[^;]*;", ""),
            (r"/etc/ssl/liveedge/", f"{folder}/"),
        ):
            recipe, count = re.subn(wanted, ours, recipe)
            assert count, f"the recipe has no {wanted}"
        self._write_certificate()
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
            "events { worker_connections 256; }\n"
            f"http {{ access_log off; types {{ }} default_type application/octet-stream;\n"
            + "".join(
                f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + recipe
            + "}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def _write_certificate(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "liveedge.example")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        (self.folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / "privkey.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def __enter__(self) -> Self:
        # Debian's lies where only root's PATH leads.
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self._process = subprocess.Popen(
            ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf"],
            env=environment,
            stderr=(self.folder / "stderr.log").open("wb"),
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError((self.folder / "stderr.log").read_text())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        if error is not None:
            print((self.folder / "error.log").read_text()[-4000:])
