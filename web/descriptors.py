"""Descriptors: how many files and sockets the process may have open, and how many of them clients may take.

Rules:

1. At the start the soft limit is raised to the hard limit, at most to :data:`DESCRIPTORS_MAX`. Shells and containers
   often leave it at 1,024.
2. Cameras, recordings and the index have a reserve that no client can take. Clients get half of the rest as
   connections: the other half is for the files that they download, for WebRTC over TCP, and an eighth of the rest for
   RTSP.
"""

import logging
import resource

log = logging.getLogger(__name__)

DESCRIPTORS_MAX = 65_536
"""As ``LimitNOFILE`` of docs/liveedge.service."""

RESERVE = 64
"""Listening sockets, the index, the log, threads' pipes, the connection to the EMS."""

RESERVE_PER_CAMERA = 8
"""A connection (UDP takes five sockets), a probe of its port, the growing recording, its thumbnail."""

CONNECTIONS_MIN = 8


def raise_limit() -> int:
    """Raise the soft limit (rule 1). Returns the limit that applies."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return DESCRIPTORS_MAX if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays at %d: %s", soft, error)
        return soft
    return wanted


def connections_limit(cameras: int) -> int:
    """How many TCP connections clients may have open in all, with this many cameras (rule 2)."""
    return max(CONNECTIONS_MIN, _for_clients(cameras) // 2)


def rtsp_connections_limit(cameras: int) -> int:
    """How many RTSP connections there may be beside these."""
    return max(CONNECTIONS_MIN, _for_clients(cameras) // 8)


def _for_clients(cameras: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = DESCRIPTORS_MAX
    return soft - RESERVE - RESERVE_PER_CAMERA * cameras
