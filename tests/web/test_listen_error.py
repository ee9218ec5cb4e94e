"""A server that cannot listen says which setting to change."""

import errno
import os
import socket

import pytest

from gateway.tcp_server import listening_sockets
from web.listen_error import listen_error


def test_a_port_in_use_and_an_address_of_another_machine_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as in_use:
            listening_sockets("127.0.0.1", port)
    told = str(listen_error("127.0.0.1", port, in_use.value))
    assert told.startswith(f"port {port} on 127.0.0.1 is in use: ")
    assert "set PORT to another" in told
    with pytest.raises(OSError, match="assign") as elsewhere:
        listening_sockets("203.0.113.9", 0)
    assert "HOST is 203.0.113.9, where this machine cannot listen" in str(
        listen_error("203.0.113.9", 0, elsewhere.value)
    )


@pytest.mark.parametrize(("port", "advice"), [(80, "set PORT to 1024 or more$"), (8000, "set PORT to another$")])
def test_a_port_that_the_user_may_not_open(port: int, advice: str) -> None:
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    told = str(listen_error("127.0.0.1", port, refused))
    assert told.startswith(f"this user may not listen on port {port}")
    with pytest.raises(RuntimeError, match=advice):
        raise RuntimeError(told)
