"""The access table: every route and every Socket.IO event, with the scope that it needs.

While authentication is on, a route or event that is not in the table is refused. ``tests/web/auth/test_policy.py``
compares the table with the router and the events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from aiohttp import web

from gateway.access import Scope
from web.auth.grant import Grant


class CameraMatch(Enum):
    """Which cameras a grant has to include."""

    NAMED = auto()
    """The camera in the path."""
    ANY = auto()
    """At least one; the answer shows only those that the grant includes."""
    ALL = auto()
    """Every camera."""


class UrlSigning(Enum):
    """What a signed URL of a route is valid for."""

    NONE = auto()
    """The route accepts no signed URL."""
    EXACT = auto()
    """This URL alone, query included."""
    PLAYLIST = auto()
    """This URL and everything that the playlist refers to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. ``is_public``: no token needed. Without a ``scope``, every valid token is accepted.

    With the query parameter ``archive_parameter`` the same path shows a recording, and needs the scope ``archive``.
    """

    scope: Scope | None = None
    cameras: CameraMatch = CameraMatch.NAMED
    signing: UrlSigning = UrlSigning.NONE
    is_public: bool = False
    archive_parameter: str | None = None

    @property
    def is_download(self) -> bool:
        """Whether the answer is a file, which ends by itself. All other long answers are streams."""
        return self.scope is Scope.ARCHIVE and self.signing is UrlSigning.EXACT

    def require(self, grant: Grant, request: web.Request) -> None:
        """Raise :class:`~gateway.errors.ForbiddenError` unless the grant allows the request."""
        scope = self.scope_of(request.query)
        if scope is not None and self.cameras is CameraMatch.ALL:
            grant.require_everywhere(scope)
        elif scope is not None:
            camera_id = request.match_info.get("camera") if self.cameras is CameraMatch.NAMED else None
            grant.require(scope, camera_id)

    def scope_of(self, query: Mapping[str, str]) -> Scope | None:
        """The scope that a request with this query needs."""
        is_archive = self.archive_parameter is not None and self.archive_parameter in query
        return Scope.ARCHIVE if is_archive else self.scope


PUBLIC = Rule(is_public=True)
AUTHENTICATED = Rule()
VIEW = Rule(Scope.VIEW)
CONTROL = Rule(Scope.CONTROL)
ARCHIVE = Rule(Scope.ARCHIVE)
ADMIN = Rule(Scope.ADMIN, CameraMatch.ALL)
PICTURE = Rule(Scope.VIEW, signing=UrlSigning.EXACT, archive_parameter="at")
LIVE = Rule(Scope.VIEW, signing=UrlSigning.PLAYLIST)
DVR = Rule(Scope.ARCHIVE, signing=UrlSigning.PLAYLIST)
FILE = Rule(Scope.ARCHIVE, signing=UrlSigning.EXACT)

ROUTES: Mapping[tuple[str, str], Rule] = {
    # The page itself shows no camera.
    ("GET", "/"): PUBLIC,
    ("GET", "/static/{file}"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/api/time"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/asyncapi.json"): PUBLIC,
    ("GET", "/api/access"): AUTHENTICATED,
    ("POST", "/api/sign"): AUTHENTICATED,
    ("GET", "/api/status"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("GET", "/metrics"): Rule(Scope.VIEW, CameraMatch.ALL),
    ("GET", "/api/cameras"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("GET", "/api/cameras/{camera}"): VIEW,
    ("POST", "/api/cameras"): ADMIN,
    ("PATCH", "/api/cameras/{camera}"): ADMIN,
    ("DELETE", "/api/cameras/{camera}"): ADMIN,
    ("POST", "/api/cameras/{camera}/capture/start"): CONTROL,
    ("POST", "/api/cameras/{camera}/capture/stop"): CONTROL,
    # Not a browser's preflight, which is answered earlier: this answer has the credentials of the TURN servers.
    ("OPTIONS", "/whep/{camera}"): VIEW,
    ("GET", "/whep/{camera}"): VIEW,
    ("POST", "/whep/{camera}"): VIEW,
    ("OPTIONS", "/whep/{camera}/{viewer}"): PUBLIC,
    ("GET", "/api/cameras/{camera}/viewers/{viewer}/clock"): VIEW,
    ("GET", "/whep/{camera}/{viewer}"): VIEW,
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
    ("POST", "/api/archive/clock/confirm"): ADMIN,
    ("GET", "/api/cameras/{camera}/clip.mp4"): FILE,
    ("GET", "/archive/{camera}/{segment}.mp4"): FILE,
    ("GET", "/archive/{camera}/init-{init}.mp4"): FILE,
    ("GET", "/archive/{camera}/{segment}.jpg"): FILE,
    # Socket.IO authenticates each connection itself, and checks each event against EVENTS.
    ("GET", "/socket.io/"): PUBLIC,
    ("POST", "/socket.io/"): PUBLIC,
    ("OPTIONS", "/socket.io/"): PUBLIC,
}
"""By method and path. HEAD has the rule of GET."""

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
"""Events that a browser may send. Status events of a camera go to every client that may view it."""


def rule_of(method: str, match: web.UrlMappingMatchInfo) -> Rule | None:
    """The rule of a request that matched a route; ``None`` if the table has none."""
    resource = match.route.resource
    return ROUTES.get(("GET" if method == "HEAD" else method, resource.canonical)) if resource is not None else None
