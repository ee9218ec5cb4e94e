"""What an answer of the object storage means, as text for an administrator.

The texts name no address, no bucket and no key: clients may see them.
"""

from enum import StrEnum

from gateway.errors import StorageError


class StoreFault(StrEnum):
    """The kind of an error."""

    AWAY = "away"
    DENIED = "denied"
    NO_BUCKET = "no_bucket"
    NO_OBJECT = "no_object"
    NO_UPLOAD = "no_upload"
    NOT_S3 = "not_s3"
    REFUSED = "refused"


TEXTS = {
    StoreFault.AWAY: "the object storage does not answer; it is tried again. Check the network, ARCHIVE_ENDPOINT and"
    " the server",
    StoreFault.DENIED: "the object storage refuses the credentials: check ARCHIVE_ACCESS_KEY_ID,"
    " ARCHIVE_SECRET_ACCESS_KEY and ARCHIVE_REGION, the clock of this host, and that the key may list, read, write and"
    " delete under ARCHIVE_URL",
    StoreFault.NO_BUCKET: "the bucket of ARCHIVE_URL does not exist: make it, or correct ARCHIVE_URL and"
    " ARCHIVE_ENDPOINT",
    StoreFault.NO_OBJECT: "the object storage does not have this recording",
    StoreFault.NOT_S3: "what answers is no object storage, or something before it that changes answers: check"
    " ARCHIVE_ENDPOINT, which is the address of the S3 API and not that of a console, and the proxies on the way",
    StoreFault.NO_UPLOAD: "the object storage has forgotten an unfinished upload; it begins again",
}

_FAULTS = {
    "NoSuchBucket": StoreFault.NO_BUCKET,
    "NoSuchKey": StoreFault.NO_OBJECT,
    "404": StoreFault.NO_OBJECT,
    "NoSuchUpload": StoreFault.NO_UPLOAD,
    "InvalidPart": StoreFault.NO_UPLOAD,
    "InvalidPartOrder": StoreFault.NO_UPLOAD,
    "EntityTooSmall": StoreFault.NO_UPLOAD,
    **dict.fromkeys(
        (
            *("403", "401", "AccessDenied", "AllAccessDisabled", "AccountProblem", "AuthFailure", "ExpiredToken"),
            *("InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "SignatureDoesNotMatch"),
            *("RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp"),
            *("PermanentRedirect", "IllegalLocationConstraintException"),
        ),
        StoreFault.DENIED,
    ),
    **dict.fromkeys(
        ("500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout"),
        StoreFault.AWAY,
    ),
}
"""By the code of the answer (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""


class ObjectStoreError(StorageError):
    """The object storage failed. ``fault`` is for programs, the text for people."""

    def __init__(self, fault: StoreFault, answer: str = "") -> None:
        super().__init__(TEXTS.get(fault) or f"the object storage refuses a request: {answer}")
        self.fault = fault
        self.answer = answer
        """The code of S3 in the answer, if there was one."""


def error_of(code: str, status: int = 0) -> ObjectStoreError:
    """The error of an answer with this code of S3, and this HTTP status."""
    fault = _FAULTS.get(code)
    if fault is None:
        fault = StoreFault.AWAY if status >= 500 else StoreFault.DENIED if status in (401, 403) else StoreFault.REFUSED
    # Codes are names; a server that puts something else there is not repeated.
    return ObjectStoreError(fault, code if code.isalnum() and len(code) < 64 else f"HTTP {status}")
