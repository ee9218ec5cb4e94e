"""Errors of the client. Each is a :class:`LiveedgeError`, and its text tells what to do.

=======================  ======================================================================
``InvalidArgumentError`` a value that cannot be sent, a ``ValueError`` too: no URL, a time without a zone
``UnreachableError``     no answer: the address is wrong, the gateway or the network is down
``InvalidRequestError``  400 and other answers to a request that cannot be served as it is
``UnauthorizedError``    401: no token, or one that is wrong or has expired
``ForbiddenError``       403: the token does not allow this
``NotFoundError``        404: no such camera, event or recording
``ConflictError``        409: not in this state
``UnavailableError``     425, 429, 503: later; ``retry_after_s`` says when
``ServerError``          500 and the like, or an answer that is none of liveedge
=======================  ======================================================================
"""


class LiveedgeError(Exception):
    """The base of all errors of this package."""


class InvalidArgumentError(LiveedgeError, ValueError):
    """A value cannot be sent. Nothing was."""


class UnreachableError(LiveedgeError):
    """There is no answer."""


class ApiError(LiveedgeError):
    """The gateway answers with an error.

    ``status`` is that of HTTP. ``code`` is stable and for programs (``unknown_camera``), ``message`` is for people.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{message} ({status}, {code})")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class InvalidRequestError(ApiError):
    """The request cannot be served as it is."""


class UnauthorizedError(ApiError):
    """No token, or one that is wrong or has expired."""


class ForbiddenError(ApiError):
    """The token does not allow this."""


class NotFoundError(ApiError):
    """There is no such camera, event or recording."""


class ConflictError(ApiError):
    """It cannot be done in the present state."""


class UnavailableError(ApiError):
    """It can be done later: the camera connects, the recording is not on the disk yet, or a limit is reached."""


class ServerError(ApiError):
    """The gateway failed, or something else answered in its place."""


_KINDS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    425: UnavailableError,
    429: UnavailableError,
    503: UnavailableError,
}


def error_of(status: int, code: str, message: str, retry_after_s: float | None) -> ApiError:
    """The error for an answer."""
    kind = _KINDS.get(status, InvalidRequestError if 400 <= status < 500 else ServerError)
    return kind(status, code, message, retry_after_s)
