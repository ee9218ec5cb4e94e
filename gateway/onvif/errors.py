"""What a camera's ONVIF service can do wrong.

Over HTTP none of them is 401 or 403, which are about the gateway's own tokens.
"""

from typing import ClassVar

from gateway.errors import LiveedgeError, UnavailableError


class OnvifError(LiveedgeError):
    """The camera answers, and its answer is an error or cannot be read."""

    code: ClassVar[str] = "onvif"
    status: ClassVar[int] = 502


class OnvifUnreachableError(UnavailableError):
    """Nothing answers at the ONVIF address in time."""

    code: ClassVar[str] = "onvif_unreachable"


class OnvifUnauthorizedError(OnvifError):
    """The camera wants another user or password, or more rights."""

    code: ClassVar[str] = "onvif_unauthorized"
    status: ClassVar[int] = 409


class OnvifLockedError(OnvifError):
    """No password is tried any more for now, so that the camera does not lock its account."""

    code: ClassVar[str] = "onvif_tries_used_up"
    status: ClassVar[int] = 409


class OnvifUnsupportedError(OnvifError):
    """The camera does not have what is asked for."""

    code: ClassVar[str] = "onvif_unsupported"
    status: ClassVar[int] = 409
