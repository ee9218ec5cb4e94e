"""Two S3 servers that know nothing of each other: moto (Python) and gofakes3 (Go). Each keeps its objects in memory."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session

from tests.support.eventually import eventually_sync

ROOT = Path(__file__).parents[2]

GOFAKES3 = ROOT / ".tools" / "bin" / "gofakes3"

KEYS = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "s3cr3t/key+of=tests"}

BUCKET = "recordings"

KINDS = ("moto", "gofakes3")


class S3Server:
    """A running server with an empty bucket :data:`BUCKET`."""

    def __init__(self, kind: str, port: int, process: subprocess.Popen[bytes], address: str = "127.0.0.1") -> None:
        self.kind = kind
        self.endpoint = f"http://{address}:{port}"
        self.port = port
        self._process = process
        self.client: Any = botocore.session.Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=self.endpoint, **KEYS
        )

    def settings(self, prefix: str) -> dict[str, object]:
        """The settings of a gateway that has its recordings here."""
        return {
            "archive_url": f"s3://{BUCKET}/{prefix}",
            "archive_endpoint": self.endpoint,
            "archive_access_key_id": KEYS["aws_access_key_id"],
            "archive_secret_access_key": KEYS["aws_secret_access_key"],
        }

    def objects(self, prefix: str) -> dict[str, bytes]:
        """All objects under a prefix, without it."""
        return {key.removeprefix(f"{prefix}/"): self.get(key) for key in self.keys(prefix)}

    def keys(self, prefix: str) -> list[str]:
        """The keys of all objects under a prefix."""
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
        return [each["Key"] for each in listed]

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def unfinished(self, prefix: str) -> list[str]:
        """The keys of unfinished uploads under a prefix."""
        uploads = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [each["Key"] for each in uploads if each["Key"].startswith(f"{prefix}/")]

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def s3_server(kind: str, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run a server of a kind."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    if kind == "moto":
        # Parts may be small, so that tests need no large files.
        environment = os.environ | {"S3_UPLOAD_PART_MIN_SIZE": "1024"}
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", address, "-p", str(port)]
    else:
        assert GOFAKES3.exists(), "gofakes3 is not there: run `make .tools/bin/gofakes3`"
        environment = dict(os.environ)
        command = [str(GOFAKES3), "-backend", "memory", "-host", f"{address}:{port}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((address, port), 1.0):
                return True
            assert process.poll() is None, f"{kind} has ended"
            return False

        eventually_sync(answers, f"{kind} listens")
        server = S3Server(kind, port, process, address)
        server.client.create_bucket(Bucket=BUCKET)
        yield server
        server.client.close()
    finally:
        process.kill()
        process.wait()
