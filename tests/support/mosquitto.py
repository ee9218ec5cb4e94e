"""A test's own MQTT broker: Mosquitto with a user and a password, with and without TLS; and a client that hears all."""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiomqtt

from tests.support.certificate import self_signed
from tests.support.eventually import eventually, eventually_sync

USER, PASSWORD = "gate", "s3cr@t/#?"

CONFIG = """
user root
per_listener_settings false
allow_anonymous false
password_file {folder}/passwords
listener {port} 127.0.0.1
listener {tls_port} 127.0.0.1
certfile {certificate}
keyfile {certificate}
"""


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert found, f"{name} is not there: run scripts/install-test-packages"
    return found


class Broker:
    """A broker on ports of its own, which it keeps over restarts. It keeps nothing else."""

    def __init__(self, folder: Path) -> None:
        self.certificate = self_signed(folder, "127.0.0.1")
        with socket.socket() as one, socket.socket() as other:
            for each in (one, other):
                each.bind(("127.0.0.1", 0))
            self.port, self.tls_port = one.getsockname()[1], other.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            CONFIG.format(folder=folder, port=self.port, tls_port=self.tls_port, certificate=self.certificate)
        )
        subprocess.run(
            [_program("mosquitto_passwd"), "-b", "-c", str(folder / "passwords"), USER, PASSWORD],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [_program("mosquitto"), "-c", str(self._config)], stdout=log, stderr=subprocess.STDOUT
            )
        eventually_sync(self._listens, "the broker listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port), timeout=1):
            return True
        return False

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing is read."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def mosquitto(folder: Path) -> Iterator[Broker]:
    """A running broker."""
    broker = Broker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Listener:
    """What a client sees that has subscribed to everything."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.messages: list[tuple[str, bytes]] = []
        self.retained: dict[str, bytes] = {}
        """What the broker retains now, as far as it was sent while this client was there, or before."""

    async def run(self) -> None:
        async for message in self.client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self.messages.append((str(message.topic), payload))
            self.retained[str(message.topic)] = payload

    def all(self, topic: str) -> list[bytes]:
        return [payload for name, payload in self.messages if name == topic]

    def json(self, topic: str) -> Any:
        return json.loads(self.retained[topic])

    async def sees(self, topic: str, payload: bytes) -> None:
        await eventually(lambda: self.retained.get(topic) == payload, f"{topic} is {payload!r}")


@contextlib.asynccontextmanager
async def listening(broker: Broker, topic: str = "#") -> AsyncIterator[Listener]:
    async with aiomqtt.Client("127.0.0.1", broker.port, username=USER, password=PASSWORD) as client:
        await client.subscribe(topic)
        listener = Listener(client)
        task = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.wait([task])
