"""Every error that liveedge raises on purpose, and the one place where credentials are cut out of text.

    LiveedgeError
    ├── SettingsError            a setting cannot be meant; the process does not start (exit code 2)
    ├── BadRequestError          400  what was asked cannot be meant
    ├── UnauthorizedError        401  whoever asks has to say, or say better, who they are
    ├── ForbiddenError           403  not for this one
    ├── NotFoundError            404  what was asked for is not there
    ├── ConflictError            409  what was asked cannot be now
    ├── NegotiationError         406  no common media; says why, and which transports would work
    ├── UnavailableError         503  not yet, or too much; says when to come back
    ├── StorageError             the disk or the index does not do what it should
    └── CaptureError             a camera does not give pictures
        ├── CameraUnreachableError    no route, no name, nobody listens
        ├── CameraUnauthorizedError   the camera wants other credentials
        ├── CameraRefusedError        the camera answered, and said no
        ├── CameraTimeoutError        nothing came within CAPTURE_TIMEOUT
        ├── NoVideoError              something came, but no video that can be used
        └── CameraEndedError          the camera hung up

Messages are whole sentences for the person who has to act. They never carry a secret: text that comes from a library
goes through :func:`redact` before it goes anywhere.
"""

import re
from typing import ClassVar
from urllib.parse import quote


class LiveedgeError(Exception):
    """The root. ``code`` is stable and for programs; ``str(error)`` is for people.

    ``status`` is a hint for whoever answers over HTTP; nothing here speaks HTTP.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


class SettingsError(LiveedgeError):
    """A setting is wrong, contradicts another or names something that cannot be used."""

    code = "settings"


class BadRequestError(LiveedgeError):
    """The request cannot be meant."""

    code = "bad_request"
    status = 400


class UnauthorizedError(LiveedgeError):
    """Nobody knows who asks. ``is_invalid`` where a token was given and is none."""

    code = "unauthorized"
    status = 401

    def __init__(self, message: str, *, is_invalid: bool = False) -> None:
        super().__init__(message)
        self.is_invalid = is_invalid


class ForbiddenError(LiveedgeError):
    """Whoever asks may not. ``scope`` (and ``camera_id``) is what would be needed, where a token could have it."""

    code = "forbidden"
    status = 403

    def __init__(self, message: str, scope: str | None = None, camera_id: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope
        self.camera_id = camera_id


class NotFoundError(LiveedgeError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class ConflictError(LiveedgeError):
    """The request is sensible, but not in the present state."""

    code = "conflict"
    status = 409


class NegotiationError(LiveedgeError):
    """Viewer and camera have no common media. ``transports`` names what would work instead (``hls``, ``mjpeg``…)."""

    code = "not_acceptable"
    status = 406

    def __init__(self, message: str, transports: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.transports = transports


class UnavailableError(LiveedgeError):
    """Not now. ``retry_after_s`` is when it is worth asking again, in seconds."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageError(LiveedgeError):
    """The disk or the index failed."""

    code = "storage"


class CaptureError(LiveedgeError):
    """A camera does not give pictures."""

    code = "capture"
    status = 503

    silent_at: tuple[str, int] | None = None
    """Host and port where nobody answered (:mod:`gateway.capture.port_probe`)."""


class CameraUnreachableError(CaptureError):
    """No route to the camera, no such name, or nobody listens there."""

    code = "camera_unreachable"


class CameraUnauthorizedError(CaptureError):
    """The camera wants other credentials."""

    code = "camera_unauthorized"


class CameraRefusedError(CaptureError):
    """The camera answered, and said no."""

    code = "camera_refused"


class CameraTimeoutError(CaptureError):
    """Nothing came within ``CAPTURE_TIMEOUT``."""

    code = "camera_timeout"


class NoVideoError(CaptureError):
    """Something came, but no video that can be used."""

    code = "camera_no_video"


class CameraEndedError(CaptureError):
    """The camera ended the stream."""

    code = "camera_ended"


# A password may hold any character, an unescaped "@" or "/" included; the last "@" before white space, a quote or a
# bracket ends it. Cutting too much from a sentence is harmless, cutting too little is not.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"<>]*@")
# Some cameras have theirs in the path, as in /user=admin_password=…_channel=1: "/" begins a query here too.
_SECRET_QUERY = re.compile(
    r"(?i)([?&;/](?:[a-z_-]*(?:auth|user|pass|pwd|token|secret|key|sig)[a-z_-]*)=)[^&\s'\"<>#;]*"
)

_NOT_IN_URLS = re.compile(r"[\s'\"<>]")


def redact(text: object) -> str:
    """``str(text)`` without user names and passwords of any URL in it, and without secret-looking query values."""
    cut = _USERINFO.sub(lambda match: match["scheme"], str(text))
    return _SECRET_QUERY.sub(r"\1***", cut)


def redact_url(url: object) -> str:
    """A text that is one URL, without its user and password, whatever characters they were pasted with.

    In running text (:func:`redact`) white space and quotes end a URL; here nothing does, and they come out encoded.
    """
    scheme, separator, rest = str(url).partition("://")
    public = _NOT_IN_URLS.sub(lambda match: quote(match[0]), rest.rpartition("@")[2])
    return redact(f"{scheme}{separator}{public}")
