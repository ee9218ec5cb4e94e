"""ViewerLimits: how many viewers a camera and a client may have. Without I/O.

Rules:

1. A viewer takes a :class:`Place` before the gateway works for it, and frees it when it has ended.
2. At a limit, a viewer that has not connected for :data:`UNCONNECTED_S` gives way: the oldest one of the client that
   has most of them, so that a flood of offers displaces itself first.
3. If all viewers of a camera are connected, the client with the most loses its newest one to a client that has fewer:
   two clients must not keep everybody else out. Otherwise the new viewer is refused.
4. A client is a credential, or the network of an address. One that is not limited is counted too.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import UnavailableError
from gateway.webrtc.stats import ViewerState

VIEWERS_PER_CAMERA = 256
VIEWERS_PER_CAMERA_AND_CLIENT = 192
"""Of one client, so that no single one takes a whole camera. Hundreds of people may be behind one address."""

VIEWERS_PER_CLIENT = 1024
"""Of one client, of all cameras together: many people with a wall of cameras each."""

UNCONNECTED_S = 2.0
"""At a limit, a viewer that is not connected after this long gives way to a new one. Connecting takes some round
trips."""

RETRY_AFTER_S = 10


class Occupant(Protocol):
    """What is asked of the viewer that has a place."""

    @property
    def state(self) -> ViewerState: ...

    @property
    def created_s(self) -> float:
        """In monotonic seconds."""

    def close_soon(self, reason: str) -> None: ...


@dataclass(eq=False)
class Place:
    """One viewer's place. ``occupant`` is ``None`` while its join is pending."""

    client: str
    keys: tuple[str, ...]
    """What it counts for."""
    is_limited: bool = True
    occupant: Occupant | None = None


@dataclass
class ViewerLimits:
    """See the module."""

    clock: Clock = SYSTEM_CLOCK
    per_camera: int = VIEWERS_PER_CAMERA
    per_client: int = VIEWERS_PER_CLIENT
    refused: int = 0
    """Viewers that were refused because of a limit."""
    evicted: int = 0
    """Viewers that gave way to others (rules 2 and 3)."""
    _counts: Counter[str] = field(default_factory=Counter)
    _places: dict[Place, None] = field(default_factory=dict)
    """In the order in which they were taken."""

    def take(self, camera_id: str, client: str, *, is_limited: bool = True) -> Place:
        """Count one more viewer, until :meth:`free`. Raises :class:`~gateway.errors.UnavailableError`."""
        limits = {
            f"camera:{camera_id}": (self.per_camera, f"camera {camera_id} has", ""),
            f"client:{client}": (self.per_client, "your address has", ""),
            f"camera:{camera_id} client:{client}": (
                VIEWERS_PER_CAMERA_AND_CLIENT,
                "your address has",
                f" of camera {camera_id}",
            ),
        }
        for key, (limit, whose, of_camera) in limits.items():
            count = self._counts[key]
            if count >= limit and is_limited and not self._make_room(key, client):
                self.refused += 1
                raise UnavailableError(f"{whose} {count} WebRTC viewers{of_camera}, its limit", RETRY_AFTER_S).because(
                    "viewers_max", limit=count
                )
        place = Place(client, tuple(limits), is_limited)
        self._counts.update(place.keys)
        self._places[place] = None
        return place

    def has_room(self, camera_id: str) -> bool:
        """Whether a camera may have a viewer more without another one that gives way."""
        return self._counts[f"camera:{camera_id}"] < self.per_camera

    def free(self, place: Place) -> None:
        """Count it no more. May be called twice."""
        if place not in self._places:
            return
        del self._places[place]
        for key in place.keys:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]

    def _make_room(self, key: str, client: str) -> bool:
        """Rules 2 and 3. ``False``: there is none to give way."""
        latest_s = self.clock.monotonic() - UNCONNECTED_S
        unconnected: dict[str, list[Place]] = {}
        for place in self._places:
            occupant = place.occupant
            if occupant is None or key not in place.keys:
                continue
            if occupant.state is ViewerState.NEW and occupant.created_s <= latest_s:
                unconnected.setdefault(place.client, []).append(place)
        if unconnected:
            self._evict(
                max(unconnected.values(), key=len)[0], "it was not connected, and another viewer needed its place"
            )
            return True
        shares = Counter(place.client for place in self._places if key in place.keys and place.is_limited)
        largest, count = shares.most_common(1)[0] if shares else (client, 0)
        newest = [
            place
            for place in self._places
            if place.client == largest
            and key in place.keys
            and place.is_limited
            and place.occupant is not None
            and place.occupant.state is ViewerState.CONNECTED
        ]
        if count <= shares[client] + 1 or not newest:
            return False
        self._evict(newest[-1], "its client has the most viewers of the camera, and one with fewer needed a place")
        return True

    def _evict(self, place: Place, reason: str) -> None:
        self.free(place)
        assert place.occupant is not None
        place.occupant.close_soon(reason)
        self.evicted += 1
