"""The errors that liveedge raises, and the one place that removes credentials from text.

    LiveedgeError
    ├── SettingsError            invalid setting; the process does not start (exit code 2)
    ├── BadRequestError          400  invalid request
    ├── UnauthorizedError        401  credentials are missing or invalid
    ├── ForbiddenError           403  the credentials do not permit this
    ├── NotFoundError            404  no such resource
    ├── ConflictError            409  conflicts with the current state
    ├── UnprocessableError       422  valid, but not what was asked before under the same key
    ├── NegotiationError         406  no common media; says why, and which transports would work
    ├── UnavailableError         503  not yet, or overloaded; says when to retry
    │   ├── NotLiveError         a camera sends nothing yet
    │   ├── StorageError         the disk or the index fails
    │   ├── NodeAwayError        the node of the cluster that can answer does not
    │   ├── NotOwnerError        another node of the cluster captures the camera
    │   └── TooEarlyError        425  being made; says when to retry
    └── CaptureError             a camera sends no video
        ├── CameraUnreachableError    no route, no such name, or nothing listens
        ├── CameraUnauthorizedError   the camera wants other credentials
        ├── CameraRefusedError        the camera answered and refused
        ├── CameraTimeoutError        nothing came within CAPTURE_TIMEOUT
        ├── NoVideoError              something came, but no usable video
        └── CameraEndedError          the camera hung up

Messages are whole sentences that say what to do. They never carry a secret: text from a library goes through
:func:`redact` first.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Self
from urllib.parse import quote


class LiveedgeError(Exception):
    """The root. ``code`` is stable and for programs; ``str(error)`` is for people.

    ``status`` is the HTTP status of an answer with this error. This package itself has no HTTP.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    reason: str | None = None
    """More exact than ``code``, stable and for programs: by it a page says the same in its reader's language."""

    values: Mapping[str, str | int | float] = {}
    """What a sentence for ``reason`` names: a field, a limit, a host. Never a secret."""

    def because(self, reason: str, **values: str | int | float) -> Self:
        """This error, with its ``reason``. Write it as a literal: the texts of the page are checked against them."""
        self.reason, self.values = reason, values
        return self


class SettingsError(LiveedgeError):
    """A setting is invalid, contradicts another or names something unusable."""

    code = "settings"


class BadRequestError(LiveedgeError):
    """The request is invalid."""

    code = "bad_request"
    status = 400


class UnauthorizedError(LiveedgeError):
    """Credentials are missing. ``is_invalid`` where a token was given and is not valid."""

    code = "unauthorized"
    status = 401

    def __init__(self, message: str, *, is_invalid: bool = False) -> None:
        super().__init__(message)
        self.is_invalid = is_invalid


class ForbiddenError(LiveedgeError):
    """The credentials do not permit it. ``scope`` (and ``camera_id``) is what a token would need."""

    code = "forbidden"
    status = 403

    def __init__(self, message: str, scope: str | None = None, camera_id: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope
        self.camera_id = camera_id
        if scope is not None:
            self.because("scope_missing", scope=scope)


class NotFoundError(LiveedgeError):
    """There is no such resource."""

    code = "not_found"
    status = 404


class ConflictError(LiveedgeError):
    """The request is valid, but conflicts with the current state."""

    code = "conflict"
    status = 409


class UnprocessableError(LiveedgeError):
    """An idempotency key was used for another request (draft-ietf-httpapi-idempotency-key-header §2.7)."""

    code = "idempotency_key_reused"
    status = 422


class NegotiationError(LiveedgeError):
    """Viewer and camera have no common media. ``transports`` names what would work instead (``hls``, ``mjpeg``…)."""

    code = "not_acceptable"
    status = 406

    def __init__(self, message: str, transports: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.transports = transports


class UnavailableError(LiveedgeError):
    """Not possible now. ``retry_after_s`` says after how many seconds to retry."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooEarlyError(UnavailableError):
    """What is asked for is being made: 425 (RFC 8470 §5.2) with Retry-After."""

    code = "not_ready"
    status = 425


class NotLiveError(UnavailableError):
    """A camera sends nothing yet. WHEP answers 409, as its draft says; everything else 503."""


class StorageError(UnavailableError):
    """The disk or the index failed. Clients get the text: it names no address, and no folder of the host."""

    code = "storage"

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after_s)


class NodeAwayError(UnavailableError):
    """Another node of the cluster would have to answer, and cannot be asked. ``node_name`` is its name."""

    code = "node_away"

    def __init__(self, node_name: str, message: str, retry_after_s: int = 2) -> None:
        super().__init__(message, retry_after_s)
        self.node_name = node_name
        self.values = {"node": node_name}


class NotOwnerError(UnavailableError):
    """Another node of the cluster captures the camera. Nodes tell it each other."""

    code = "not_owner"


class CaptureError(LiveedgeError):
    """A camera sends no video."""

    code = "capture"
    status = 503

    silent_at: tuple[str, int] | None = None
    """Host and port that did not answer (:mod:`gateway.port_probe`)."""

    retry_after_s: float = 0.0
    """The next attempt makes no sense before that many seconds, or does harm."""


class CameraUnreachableError(CaptureError):
    """No route to the camera, no such name, or nothing listens there."""

    code = "camera_unreachable"


class CameraUnauthorizedError(CaptureError):
    """The camera wants other credentials."""

    code = "camera_unauthorized"


class CameraRefusedError(CaptureError):
    """The camera answered and refused."""

    code = "camera_refused"


class CameraTimeoutError(CaptureError):
    """Nothing came within ``CAPTURE_TIMEOUT``."""

    code = "camera_timeout"


class NoVideoError(CaptureError):
    """Something came, but no usable video."""

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

# The name of an RTMP stream is mostly a key: who knows it can watch, or publish.
_STREAM_KEY = re.compile(r"(?i)\A(rtmps?://[^/]*/(?:[^?#]*/)?)[^/]+\Z")

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
    return redact(_STREAM_KEY.sub(r"\1***", f"{scheme}{separator}{public}"))
