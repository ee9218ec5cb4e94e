"""Sockets that systemd opened for the service (systemd.socket(5), sd_listen_fds(3)).

They stay open while the service restarts. Connections wait in them for the next process, and none is refused: players
that end when a connection is refused go on.
"""

import os
import socket
from collections.abc import MutableMapping

from gateway.errors import SettingsError

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening TCP sockets that were passed to this process, once; it has them instead of ``HOST`` and ``PORT``.

    Raises :class:`~gateway.errors.SettingsError` for a descriptor that is no such socket.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_listening(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]


def _listening(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        made = socket.socket(fileno=fd)
        is_tcp = made.family in (socket.AF_INET, socket.AF_INET6) and made.type == socket.SOCK_STREAM
        if is_tcp and made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return made
    except OSError as error:
        raise SettingsError(f"descriptor {fd} of LISTEN_FDS cannot be used: {error.strerror}") from None
    made.detach()
    raise SettingsError(
        f"descriptor {fd} of LISTEN_FDS is no listening TCP socket: in the socket unit, use ListenStream with an"
        " address and a port, and Accept=no"
    )
