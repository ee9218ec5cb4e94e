"""NodeTokens: how the nodes of a cluster know each other's requests.

A token is a JWT for one path, signed with a key that is in the cluster's database. A node that can read the database
has the cameras' credentials too, so that the key gives away no more.

Rules:

1. A token is for one method and path, and says which node asks.
2. It lasts :data:`LIFETIME_S`, and is accepted :data:`LEEWAY_S` before and after: the clocks of nodes may be apart.
"""

import jwt

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import UnauthorizedError

LIFETIME_S = 60

LEEWAY_S = 240
"""Clocks that are minutes apart are a fault of their own, and must not end the relays."""

ALGORITHM = "HS256"

AUDIENCE = "liveedge-node"


class NodeTokens:
    """See the module. ``name`` is this node's."""

    def __init__(self, key: str, name: str, clock: Clock) -> None:
        self._key = key
        self._name = name
        self._clock = clock

    def sign(self, method: str, path: str) -> str:
        """The token of a request that this node makes. ``path`` is without query, as it is sent."""
        expires_s = self._now_s() + LIFETIME_S
        claims = {"aud": AUDIENCE, "sub": self._name, "path": f"{method} {path}", "exp": expires_s}
        return jwt.encode(claims, self._key, ALGORITHM)

    def verify(self, token: str, method: str, path: str) -> str:
        """The name of the node that makes a request. Raises :class:`~gateway.errors.UnauthorizedError`."""
        try:
            # PyJWT knows no other clock than the system's.
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["exp", "sub"], "verify_exp": False},
            )
            is_in_time = abs(self._now_s() - int(claims["exp"]) + LIFETIME_S / 2) <= LIFETIME_S / 2 + LEEWAY_S
            is_for_path = claims.get("path") == f"{method} {path}"
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError):
            raise _refused("this is no token of a node of this cluster") from None
        if not is_for_path:
            raise _refused("this token of a node is for another request")
        if not is_in_time:
            raise _refused("this token of a node has expired, or the clocks of the nodes are minutes apart (NTP)")
        return str(claims["sub"])

    def _now_s(self) -> int:
        return self._clock.wall_90k() // CLOCK_RATE


def _refused(why: str) -> UnauthorizedError:
    return UnauthorizedError(why, is_invalid=True)
