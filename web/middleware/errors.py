"""Errors as JSON: one shape for all, with the right status, and without traceback or credential.

{"error": "<code>", "message": "<sentence>"}, and for many ``reason`` and ``values``, from which a client can make a
sentence in another language.
"""

import errno
import logging

from aiohttp import web

from gateway.errors import (
    ForbiddenError,
    LiveedgeError,
    NegotiationError,
    StorageError,
    UnauthorizedError,
    UnavailableError,
    redact,
)

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection. It is counted and never received."""

DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOTCONN),
    *(errno.EMFILE, errno.ENFILE),
}
"""What a full or failing disk says, and a process that has no descriptors left (errno(3)): 503, as it may end."""

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    412: "precondition_failed",
    413: "content_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}
"""Error codes of what aiohttp refuses: the names of the statuses in RFC 9110 §15."""


EXPECTED = (502, 503, 507)
"""Faults of cameras, and a full disk or share of it: their message says it all."""

OTHER_CODE = "http_error"
"""The code of any other status."""


def error_response(error: LiveedgeError) -> web.Response:
    """The answer for one of our own errors."""
    body: dict[str, object] = {"error": error.code, "message": redact(error)}
    if error.reason is not None:
        body["reason"] = error.reason
    if error.values:
        body["values"] = {
            name: redact(value) if isinstance(value, str) else value for name, value in error.values.items()
        }
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif error.status == 503:
        headers["Retry-After"] = "2"
    if isinstance(error, UnauthorizedError):
        # RFC 6750 §3
        why = ', error="invalid_token"' if error.is_invalid else ""
        headers["WWW-Authenticate"] = f'Bearer realm="liveedge"{why}'
    if isinstance(error, ForbiddenError) and error.scope is not None:
        headers["WWW-Authenticate"] = f'Bearer realm="liveedge", error="insufficient_scope", scope="{error.scope}"'
        body |= {"scope": error.scope, "camera_id": error.camera_id}
    if isinstance(error, NegotiationError):
        body["transports"] = list(error.transports)
    return web.json_response(body, status=error.status, headers=headers)


def error_answer(request: web.Request, error: Exception) -> web.Response | None:
    """The answer to a request that raised ``error``; ``None``: raise it, aiohttp has the answer.

    An unexpected exception is logged with its traceback and answered 500.
    """
    if isinstance(error, LiveedgeError):
        if error.status >= 500 and error.status not in EXPECTED:
            log.error("%s %s failed", request.method, request.path, exc_info=error)
        return error_response(error)
    if isinstance(error, web.HTTPException):
        return _refusal(request, error)
    if isinstance(error, TimeoutError):
        # The connection has timed out: nobody can receive an answer.
        return None
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        # The client closed the connection during the answer, as every viewer of a stream does. This is no error, and
        # aiohttp would log a traceback.
        return web.Response(status=CLIENT_GONE)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        log.warning("%s %s failed: %s", request.method, request.path, redact(error))
        return error_response(StorageError(f"the disk or the host fails at present: {error.strerror}"))
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    message = "the gateway failed on this request; its log has the reason"
    return web.json_response({"error": LiveedgeError.code, "message": message}, status=500)


def _refusal(request: web.Request, error: web.HTTPException) -> web.Response | None:
    if error.status < 400 or error.content_type == "application/json":
        return None
    headers = {
        name: value for name, value in error.headers.items() if name in ("Allow", "Accept-Encoding", "Content-Range")
    }
    code = CODES.get(error.status, OTHER_CODE)
    message = f"{error.reason}: {request.method} {request.path}"
    return web.json_response({"error": code, "message": message}, status=error.status, headers=headers)
