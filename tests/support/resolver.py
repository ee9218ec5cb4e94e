"""A name server that a test controls, for this process's own look-ups. libav asks the system, and does not see it."""

import socket
from typing import Any

import pytest


class Resolver:
    """Names and their addresses, which a test may change at any time. Other names are looked up normally."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []
        """The names of this server that were looked up, once for each look-up."""
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: Any, port: Any, *args: Any, **named: Any) -> list[Any]:
        if host not in self.addresses:
            return self._real(host, port, *args, **named)
        self.asked.append(host)
        return [
            entry for address in self.addresses[host] for entry in self._real(address, port, type=socket.SOCK_STREAM)
        ]
