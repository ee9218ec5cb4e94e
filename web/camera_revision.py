"""The revision of a camera's settings: two people who change the same camera do not replace each other's unseen.

Rules:

1. It differs between two states of the settings, at every node alike.
2. No secret is in it: a viewer, who reads the revision, could try passwords on the hash of one. Of an address, its
   public part is in it, so that a new password alone makes no other revision.
3. It is no ETag (RFC 9110 §8.8.3): the answer about a camera has its state and its live edge too, and is another one
   each time.
"""

import hashlib
import json
from weakref import WeakKeyDictionary

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings
from gateway.errors import ConflictError

_known: WeakKeyDictionary[Camera, tuple[CameraSettings, str]] = WeakKeyDictionary()
"""The last revision of each camera. Each answer about the camera contains it, and it takes 0.5 ms to make."""


def revision(camera: Camera) -> str:
    """The revision of a camera's present settings."""
    known = _known.get(camera)
    if known is None or known[0] is not camera.settings:
        known = _known[camera] = (camera.settings, revision_of(camera.settings))
    return known[1]


def revision_of(settings: CameraSettings) -> str:
    """What differs between two states of a camera's settings: 16 hexadecimal digits of a hash."""
    sub = settings.model_copy(update={"url": settings.sub_url}).public_url if settings.sub_url is not None else None
    # Secrets are stars in it.
    public = {**settings.model_dump(mode="json"), "url": settings.public_url, "sub_url": sub}
    return hashlib.sha256(json.dumps(public, sort_keys=True).encode()).hexdigest()[:16]


def require_revision(settings: CameraSettings | None, wanted: str) -> None:
    """Raise ``ConflictError`` if the settings are not those of a revision. ``None``: they cannot be used."""
    if settings is None or revision_of(settings) != wanted:
        raise ConflictError(
            "somebody else has changed this camera since it was read; GET tells its new revision, and PATCH with that"
            " replaces what they changed"
        ).because("camera_changed")
