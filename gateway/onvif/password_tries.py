"""PasswordTries: how often passwords of a camera may be tried. Sans-IO; times are monotonic seconds.

Cameras lock an account, or the address that it is tried from, after three to seven wrong passwords, mostly for half an
hour. A search for cameras must not do that to the cameras of a site.

Rules:

1. After :data:`TRIES_MAX` tries of a host within :data:`WINDOW_S` of which it accepted none, no password is sent.
2. The same wrong password is not sent twice within that time.
   A try whose answer says neither yes nor no counts too, but the same password may be sent again.
3. A password that is accepted ends the count. The count is of the host, whatever its port: ONVIF and RTSP are mostly
   one account.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.onvif.errors import OnvifLockedError, OnvifUnauthorizedError
from gateway.rtsp.auth import Credentials

TRIES_MAX = 2

WINDOW_S = 1800.0

HOSTS_MAX = 4096
"""Hosts that are remembered; the oldest is forgotten."""


@dataclass(slots=True)
class _Tries:
    failed: dict[bytes, float] = field(default_factory=dict)
    """When each wrong password was sent last, by its digest."""
    unclear: list[float] = field(default_factory=list)
    """When passwords were sent that were neither accepted nor refused. At most :data:`TRIES_MAX`."""


class PasswordTries:
    """See the module."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)
        self._by_host: OrderedDict[str, _Tries] = OrderedDict()

    def check(self, host: str, credentials: Credentials, now: float) -> None:
        """Whether a password may be sent now. Raises by rules 1 and 2."""
        tries = self._by_host.get(host)
        if tries is None:
            return
        tries.failed = {digest: at for digest, at in tries.failed.items() if now - at < WINDOW_S}
        if self._digest(credentials) in tries.failed:
            raise OnvifUnauthorizedError(f"{host} has refused this user and password; correct them")
        tries.unclear = [at for at in tries.unclear if now - at < WINDOW_S]
        sent = [*tries.failed.values(), *tries.unclear]
        if len(sent) >= TRIES_MAX:
            wait_s = WINDOW_S - (now - min(sent))
            raise OnvifLockedError(
                f"{host} has accepted none of {TRIES_MAX} tries of a password, and cameras lock their account after a"
                " few more: check user and password on the camera's own page, and come back in"
                f" {max(round(wait_s / 60), 1)} min"
            )

    def failed(self, host: str, credentials: Credentials, now: float) -> None:
        """A password was refused."""
        self._of(host).failed[self._digest(credentials)] = now

    def unclear(self, host: str, now: float) -> None:
        """A password was sent, and the answer does not say whether it is right, or did not come."""
        tries = self._of(host)
        tries.unclear = [*tries.unclear, now][-TRIES_MAX:]

    def succeeded(self, host: str) -> None:
        """Rule 3."""
        self._by_host.pop(host, None)

    def _of(self, host: str) -> _Tries:
        tries = self._by_host.setdefault(host, _Tries())
        self._by_host.move_to_end(host)
        while len(self._by_host) > HOSTS_MAX:
            self._by_host.popitem(last=False)
        return tries

    def _digest(self, credentials: Credentials) -> bytes:
        return hashlib.sha256(self._salt + repr((credentials.user, credentials.password)).encode()).digest()
