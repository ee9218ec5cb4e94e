"""The table of access: every route and every Socket.IO event, with the scope that it needs.

What is not in it is refused while auth is on. ``tests/web/auth/test_policy.py`` walks the router and the events along
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from aiohttp import web

from gateway.access import Scope
from web.auth.grant import Grant


class Over(Enum):
    """Which cameras a scope has to reach."""

    CAMERA = auto()
    """The one that the address names."""
    ANY = auto()
    """At least one; the answer shows only those."""
    ALL = auto()
    """Every one."""


class Signed(Enum):
    """Whether an address can be signed."""

    NO = auto()
    EXACTLY = auto()
    """For itself alone."""
    LEADING = auto()
    """With all that it leads to: playlists."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. Without a ``scope`` any token will do; ``is_open`` needs none.

    With the query parameter ``recorded_by``, the same address shows recordings and needs ``archive`` instead.
    """

    scope: Scope | None = None
    over: Over = Over.CAMERA
    signed: Signed = Signed.NO
    is_open: bool = False
    recorded_by: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the answer is a file, which ends by itself; all other answers that last are streams."""
        return self.scope is Scope.ARCHIVE and self.signed is Signed.EXACTLY

    def require(self, grant: Grant, request: web.Request) -> None:
        """Raises :class:`~gateway.errors.ForbiddenError` where a grant does not reach what a request asks for."""
        scope = self.scope_of(request.query)
        if scope is not None and self.over is Over.ALL:
            grant.require_everywhere(scope)
        elif scope is not None:
            grant.require(scope, request.match_info.get("camera") if self.over is Over.CAMERA else None)

    def scope_of(self, query: Mapping[str, str]) -> Scope | None:
        """The scope that a request with this query needs."""
        return Scope.ARCHIVE if self.recorded_by is not None and self.recorded_by in query else self.scope


OPEN = Rule(is_open=True)
ANYBODY_KNOWN = Rule()
VIEW = Rule(Scope.VIEW)
CONTROL = Rule(Scope.CONTROL)
ARCHIVE = Rule(Scope.ARCHIVE)
ADMIN = Rule(Scope.ADMIN, Over.ALL)
PICTURE = Rule(Scope.VIEW, signed=Signed.EXACTLY, recorded_by="at")
LIVE = Rule(Scope.VIEW, signed=Signed.LEADING)
DVR = Rule(Scope.ARCHIVE, signed=Signed.LEADING)
FILE = Rule(Scope.ARCHIVE, signed=Signed.EXACTLY)

ROUTES: Mapping[tuple[str, str], Rule] = {
    # The page shows nothing by itself.
    ("GET", "/"): OPEN,
    ("GET", "/static/{file}"): OPEN,
    ("GET", "/health"): OPEN,
    ("GET", "/api/time"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/asyncapi.json"): OPEN,
    ("GET", "/api/access"): ANYBODY_KNOWN,
    ("POST", "/api/sign"): ANYBODY_KNOWN,
    ("GET", "/api/status"): Rule(Scope.VIEW, Over.ANY),
    ("GET", "/metrics"): Rule(Scope.VIEW, Over.ALL),
    ("GET", "/api/cameras"): Rule(Scope.VIEW, Over.ANY),
    ("GET", "/api/cameras/{camera}"): VIEW,
    ("POST", "/api/cameras"): ADMIN,
    ("PATCH", "/api/cameras/{camera}"): ADMIN,
    ("DELETE", "/api/cameras/{camera}"): ADMIN,
    ("POST", "/api/cameras/{camera}/capture/start"): CONTROL,
    ("POST", "/api/cameras/{camera}/capture/stop"): CONTROL,
    # A browser's preflight is answered before; this one tells the TURN servers, credentials and all.
    ("OPTIONS", "/whep/{camera}"): VIEW,
    ("POST", "/whep/{camera}"): VIEW,
    ("OPTIONS", "/whep/{camera}/{viewer}"): OPEN,
    ("GET", "/api/cameras/{camera}/viewers/{viewer}/clock"): VIEW,
    ("PATCH", "/whep/{camera}/{viewer}"): VIEW,
    ("DELETE", "/whep/{camera}/{viewer}"): VIEW,
    ("GET", "/hls/{camera}/index.m3u8"): LIVE,
    ("GET", "/hls/{camera}/live.m3u8"): LIVE,
    ("GET", "/hls/{camera}/{name}"): LIVE,
    ("GET", "/hls/{camera}/dvr.m3u8"): DVR,
    ("GET", "/snapshot/{camera}.jpg"): PICTURE,
    ("GET", "/mjpeg/{camera}"): PICTURE,
    ("GET", "/api/cameras/{camera}/segments"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/segments/at"): ARCHIVE,
    ("POST", "/api/cameras/{camera}/segments/{segment}/protect"): CONTROL,
    ("DELETE", "/api/cameras/{camera}/segments/{segment}/protect"): CONTROL,
    ("GET", "/api/cameras/{camera}/clip.mp4"): FILE,
    ("GET", "/archive/{camera}/{segment}.mp4"): FILE,
    ("GET", "/archive/{camera}/init-{init}.mp4"): FILE,
    ("GET", "/archive/{camera}/{segment}.jpg"): FILE,
    # Who connects is asked for a token by Socket.IO itself, and each event goes by EVENTS.
    ("GET", "/socket.io/"): OPEN,
    ("POST", "/socket.io/"): OPEN,
    ("OPTIONS", "/socket.io/"): OPEN,
}
"""By method and address. HEAD goes by GET."""

EVENTS: Mapping[str, Scope] = {
    "capture_start_request": Scope.CONTROL,
    "capture_stop_request": Scope.CONTROL,
    "capture_status_request": Scope.VIEW,
    "webrtc_offer": Scope.VIEW,
    "webrtc_ice_candidate": Scope.VIEW,
    "webrtc_close": Scope.VIEW,
    "frames_subscribe": Scope.VIEW,
    "frames_unsubscribe": Scope.VIEW,
}
"""What a browser may send. News of a camera goes to whoever may view it."""


def rule_of(method: str, match: web.UrlMappingMatchInfo) -> Rule | None:
    """The rule of a request whose route is found; ``None`` for one that is missing in the table."""
    resource = match.route.resource
    return ROUTES.get(("GET" if method == "HEAD" else method, resource.canonical)) if resource is not None else None
