"""The access table: every route and every Socket.IO event, with the scope that it needs.

While authentication is on, a route or event that is not in the table is refused. ``tests/web/auth/test_policy.py``
compares the table with the router and the events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from aiohttp import web

from gateway.access import Scope
from gateway.times import NOW
from web.auth.grant import Grant


class CameraMatch(Enum):
    """Which cameras a grant has to include."""

    NAMED = auto()
    """The camera in the path."""
    ANY = auto()
    """At least one; the answer shows only those that the grant includes."""
    ALL = auto()
    """Every camera."""


class Family(StrEnum):
    """The families of routes that accept signed URLs. A token names one, and opens no other; except for :data:`REFERS`.

    The values are in the tokens.
    """

    __hash__ = str.__hash__  # Enum has one in Python, which costs more than the look-up

    MULTIVARIANT = "multivariant"
    LIVE = "live"
    LIVE_MEDIA = "live-media"
    DVR = "dvr"
    ARCHIVE_INIT = "archive-init"
    ARCHIVE_FILE = "archive-file"
    THUMBNAIL = "thumbnail"
    CLIP = "clip"
    EVENT_CLIP = "event-clip"
    EVENT_PICTURE = "event-picture"
    EXPORT = "export"
    MJPEG = "mjpeg"
    SNAPSHOT = "snapshot"
    WHEP = "whep"
    """Of a POST, which nobody can have signed but a node of a cluster (:mod:`web.cluster.redirects`)."""


REFERS: Mapping[Family, frozenset[Family]] = {
    Family.MULTIVARIANT: frozenset({Family.LIVE, Family.LIVE_MEDIA}),
    Family.LIVE: frozenset({Family.LIVE_MEDIA}),
    Family.DVR: frozenset({Family.ARCHIVE_INIT, Family.ARCHIVE_FILE}),
}
"""What a playlist refers to, and its token opens too: a live playlist, all live media of its camera; the playlist of a
recording, what is in its span. The token of any other URL opens that URL alone, query included."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. ``is_public``: no token needed. ``is_for_nodes``: a token of a node of the cluster.
    Without a ``scope``, every valid token is accepted.

    Without a ``family``, the route accepts no signed URL. With the query parameter ``archive_parameter``, unless it is
    ``now``, the same path shows a recording, and needs the scope ``archive``.
    """

    scope: Scope | None = None
    cameras: CameraMatch = CameraMatch.NAMED
    family: Family | None = None
    is_public: bool = False
    is_for_nodes: bool = False
    archive_parameter: str | None = None

    @property
    def is_download(self) -> bool:
        """Whether the answer is a file, which ends by itself. All other long answers are streams."""
        return self.family in _DOWNLOADS

    def require(self, grant: Grant, request: web.Request) -> None:
        """Raise :class:`~gateway.errors.ForbiddenError` unless the grant allows the request."""
        scope = self.scope if self.archive_parameter is None else self.scope_of(request.query)
        if scope is not None and self.cameras is CameraMatch.ALL:
            grant.require_everywhere(scope)
        elif scope is not None:
            camera_id = request.match_info.get("camera") if self.cameras is CameraMatch.NAMED else None
            grant.require(scope, camera_id)

    def scope_of(self, query: Mapping[str, str]) -> Scope | None:
        """The scope that a request with this query needs."""
        is_archive = self.archive_parameter is not None and query.get(self.archive_parameter, NOW) != NOW
        return Scope.ARCHIVE if is_archive else self.scope


_DOWNLOADS = frozenset(
    {
        *(Family.ARCHIVE_INIT, Family.ARCHIVE_FILE, Family.THUMBNAIL, Family.CLIP, Family.EVENT_CLIP),
        *(Family.EVENT_PICTURE, Family.EXPORT),
    }
)

OF_EVENT = frozenset({Family.EVENT_CLIP, Family.EVENT_PICTURE})
"""Their path names an event, whose camera is the one that the token was signed for."""


NO_CAMERA_IN_PATH = OF_EVENT | {Family.EXPORT}
"""Their path does not say which cameras it shows. An export's are those that the token was signed for, with commas."""


PUBLIC = Rule(is_public=True)
NODES = Rule(is_for_nodes=True)
AUTHENTICATED = Rule()
VIEW = Rule(Scope.VIEW)
CONTROL = Rule(Scope.CONTROL)
PUBLISH = Rule(Scope.PUBLISH)
ARCHIVE = Rule(Scope.ARCHIVE)
PTZ = Rule(Scope.PTZ)
TALK = Rule(Scope.TALK)
ADMIN = Rule(Scope.ADMIN, CameraMatch.ALL)

ROUTES: Mapping[tuple[str, str], Rule] = {
    # The page itself shows no camera.
    ("GET", "/"): PUBLIC,
    ("GET", "/static/{file}"): PUBLIC,
    ("GET", "/service-worker.js"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/ready"): PUBLIC,
    ("GET", "/api/time"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/asyncapi.json"): PUBLIC,
    ("GET", "/api/access"): AUTHENTICATED,
    ("POST", "/api/sign"): AUTHENTICATED,
    ("GET", "/api/sign-in"): PUBLIC,
    ("GET", "/auth/login"): PUBLIC,
    ("GET", "/auth/callback"): PUBLIC,
    # Only ends the session of its own cookie.
    ("POST", "/auth/logout"): PUBLIC,
    ("GET", "/api/tokens"): ADMIN,
    ("POST", "/api/tokens"): ADMIN,
    ("DELETE", "/api/tokens/{id}"): ADMIN,
    ("GET", "/api/links"): ADMIN,
    ("DELETE", "/api/links/{id}"): ADMIN,
    ("GET", "/api/status"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("GET", "/metrics"): Rule(Scope.VIEW, CameraMatch.ALL),
    ("GET", "/api/cluster/cameras/{camera}/relay"): NODES,
    ("GET", "/api/cluster/cameras/{camera}/room"): NODES,
    ("GET", "/api/cluster/cameras/{camera}/recorded"): NODES,
    ("GET", "/api/cluster/events"): NODES,
    ("POST", "/api/cluster/events"): NODES,
    ("GET", "/api/cluster/events/changes"): NODES,
    ("GET", "/api/cluster/events/{event}"): NODES,
    ("PUT", "/api/cluster/events/{event}"): NODES,
    ("DELETE", "/api/cluster/events/{event}"): NODES,
    ("GET", "/api/cameras"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("GET", "/api/cameras/{camera}"): VIEW,
    ("POST", "/api/discover"): ADMIN,
    ("POST", "/api/discover/device"): ADMIN,
    ("POST", "/api/cameras"): ADMIN,
    ("PATCH", "/api/cameras/{camera}"): ADMIN,
    ("DELETE", "/api/cameras/{camera}"): ADMIN,
    ("GET", "/api/cameras/{camera}/ptz"): PTZ,
    ("POST", "/api/cameras/{camera}/ptz"): PTZ,
    ("POST", "/api/cameras/{camera}/capture/start"): CONTROL,
    ("POST", "/api/cameras/{camera}/capture/stop"): CONTROL,
    # Not a browser's preflight, which is answered earlier: this answer has the credentials of the TURN servers.
    ("OPTIONS", "/whep/{camera}"): VIEW,
    ("GET", "/whep/{camera}"): VIEW,
    ("POST", "/whep/{camera}"): Rule(Scope.VIEW, family=Family.WHEP),
    ("OPTIONS", "/whep/{camera}/{viewer}"): PUBLIC,
    ("GET", "/api/cameras/{camera}/viewers/{viewer}/clock"): VIEW,
    ("GET", "/api/cameras/{camera}/viewers/{viewer}"): VIEW,
    ("PATCH", "/api/cameras/{camera}/viewers/{viewer}"): VIEW,
    ("GET", "/whep/{camera}/{viewer}"): VIEW,
    ("PATCH", "/whep/{camera}/{viewer}"): VIEW,
    ("DELETE", "/whep/{camera}/{viewer}"): VIEW,
    ("OPTIONS", "/whip/{camera}"): PUBLISH,
    ("POST", "/whip/{camera}"): PUBLISH,
    ("OPTIONS", "/whip/{camera}/{publisher}"): PUBLIC,
    ("PATCH", "/whip/{camera}/{publisher}"): PUBLISH,
    ("DELETE", "/whip/{camera}/{publisher}"): PUBLISH,
    ("OPTIONS", "/talk/{camera}"): TALK,
    ("GET", "/talk/{camera}"): TALK,
    ("POST", "/talk/{camera}"): TALK,
    ("OPTIONS", "/talk/{camera}/{talker}"): PUBLIC,
    ("GET", "/talk/{camera}/{talker}"): TALK,
    ("PATCH", "/talk/{camera}/{talker}"): TALK,
    ("DELETE", "/talk/{camera}/{talker}"): TALK,
    # The page itself publishes nothing.
    ("GET", "/publish/{camera}"): PUBLIC,
    ("GET", "/hls/{camera}/index.m3u8"): Rule(Scope.VIEW, family=Family.MULTIVARIANT),
    ("GET", "/hls/{camera}/live.m3u8"): Rule(Scope.VIEW, family=Family.LIVE),
    ("GET", "/hls/{camera}/{name}"): Rule(Scope.VIEW, family=Family.LIVE_MEDIA),
    ("GET", "/hls/{camera}/sub/live.m3u8"): Rule(Scope.VIEW, family=Family.LIVE),
    ("GET", "/hls/{camera}/sub/{name}"): Rule(Scope.VIEW, family=Family.LIVE_MEDIA),
    ("GET", "/hls/{camera}/dvr.m3u8"): Rule(Scope.ARCHIVE, family=Family.DVR),
    ("GET", "/hls/{camera}/iframes.m3u8"): Rule(Scope.ARCHIVE, family=Family.DVR),
    ("GET", "/snapshot/{camera}.jpg"): Rule(Scope.VIEW, family=Family.SNAPSHOT, archive_parameter="at"),
    ("GET", "/mjpeg/{camera}"): Rule(Scope.VIEW, family=Family.MJPEG, archive_parameter="at"),
    ("GET", "/api/cameras/{camera}/recordings"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/segments"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/segments/at"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/days"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/activity"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/activity/next"): ARCHIVE,
    ("POST", "/api/cameras/{camera}/segments/{segment}/protect"): CONTROL,
    ("DELETE", "/api/cameras/{camera}/segments/{segment}/protect"): CONTROL,
    ("POST", "/api/archive/clock/confirm"): ADMIN,
    # A public key is meant for everybody.
    ("GET", "/api/evidence/key"): PUBLIC,
    ("POST", "/api/evidence/verify"): AUTHENTICATED,
    # The export's cameras are known only to the handler, which checks them.
    ("GET", "/api/exports"): Rule(Scope.ARCHIVE, CameraMatch.ANY),
    ("POST", "/api/exports"): Rule(Scope.ARCHIVE, CameraMatch.ANY),
    ("GET", "/api/exports/{export}"): Rule(Scope.ARCHIVE, CameraMatch.ANY),
    ("DELETE", "/api/exports/{export}"): Rule(Scope.ARCHIVE, CameraMatch.ANY),
    ("GET", "/api/exports/{export}/export.zip"): Rule(Scope.ARCHIVE, CameraMatch.ANY, Family.EXPORT),
    ("GET", "/api/cameras/{camera}/evidence"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/segments/{segment}/evidence"): ARCHIVE,
    ("GET", "/api/cameras/{camera}/clip.mp4"): Rule(Scope.ARCHIVE, family=Family.CLIP),
    ("GET", "/archive/{camera}/{segment}.mp4"): Rule(Scope.ARCHIVE, family=Family.ARCHIVE_FILE),
    ("GET", "/archive/{camera}/init-{init}.mp4"): Rule(Scope.ARCHIVE, family=Family.ARCHIVE_INIT),
    ("GET", "/archive/{camera}/{segment}.jpg"): Rule(Scope.ARCHIVE, family=Family.THUMBNAIL),
    # The event's camera is known only to the handler, which checks it.
    ("GET", "/api/events"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("POST", "/api/events"): Rule(Scope.CONTROL, CameraMatch.ANY),
    ("GET", "/api/events/stream"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("GET", "/api/events/{event}"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("PATCH", "/api/events/{event}"): Rule(Scope.CONTROL, CameraMatch.ANY),
    ("DELETE", "/api/events/{event}"): Rule(Scope.CONTROL, CameraMatch.ANY),
    ("GET", "/api/events/{event}/clip.mp4"): Rule(Scope.ARCHIVE, CameraMatch.ANY, Family.EVENT_CLIP),
    ("GET", "/api/events/{event}/clip.jpg"): Rule(Scope.ARCHIVE, CameraMatch.ANY, Family.EVENT_PICTURE),
    ("GET", "/api/cameras/{camera}/events"): VIEW,
    ("GET", "/api/walls"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("PUT", "/api/walls/{wall}"): ADMIN,
    ("DELETE", "/api/walls/{wall}"): ADMIN,
    ("GET", "/api/webhooks"): ADMIN,
    ("POST", "/api/webhooks/{webhook}/enable"): ADMIN,
    # Which subscriptions are whose is known only to the handlers.
    ("GET", "/api/push"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("GET", "/api/push/subscriptions"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("POST", "/api/push/subscriptions"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("DELETE", "/api/push/subscriptions/{subscription}"): Rule(Scope.VIEW, CameraMatch.ANY),
    ("POST", "/api/push/subscriptions/{subscription}/test"): Rule(Scope.VIEW, CameraMatch.ANY),
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
    "ptz_request": Scope.PTZ,
    "snapshot_request": Scope.VIEW,
    "segments_list_request": Scope.ARCHIVE,
    "segment_at_request": Scope.ARCHIVE,
    "event_create_request": Scope.CONTROL,
    "event_update_request": Scope.CONTROL,
    "event_list_request": Scope.VIEW,
    "webrtc_offer": Scope.VIEW,
    "webrtc_rendition_request": Scope.VIEW,
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
