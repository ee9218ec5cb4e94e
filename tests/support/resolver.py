"""A name server in the hand: what this process's own look-ups answer. libav asks the system, and is not answered."""

import socket
from typing import Any

import pytest


class Resolver:
    """Names and their addresses, to be changed at any time; every other name is looked up as ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []
        """Names of ours, as often as somebody asked for them."""
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: Any, port: Any, *args: Any, **named: Any) -> list[Any]:
        if host not in self.addresses:
            return self._real(host, port, *args, **named)
        self.asked.append(host)
        return [
            entry for address in self.addresses[host] for entry in self._real(address, port, type=socket.SOCK_STREAM)
        ]
