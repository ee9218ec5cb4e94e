"""ObjectStore: the objects of ``ARCHIVE_URL`` in any storage that speaks the S3 API.

Why botocore. An upload has to go on in another process, so the id of a multipart upload and the ETags of its parts have
to be at hand. ``obstore`` 0.12 does not show upload ids, and signs URLs without their query, so that parts cannot be
sent beside it. Those of ``minio`` are private methods. ``aiobotocore`` brings an event loop to calls that worker
threads make: reading recordings is blocking everywhere here. botocore is Amazon's own: signatures, regions, and
credentials from every source that AWS has (environment, files, roles of machines and containers), which must not be
written again. ``bench.s3`` measures it.

Rules:

1. Blocking, and safe to use from several threads. No connection is waited for longer than :data:`CONNECT_S`, and
   nothing that is sent or received on it longer than :data:`READ_S`; a request is tried twice.
2. The server checks each body that it gets against its MD5 (RFC 1864), which every S3 server does.
3. Every method raises :class:`~hls.storage.errors.ObjectStoreError`, as text that has no secret.
4. A folder in ``ARCHIVE_URL`` whose name begins with a dot is that of another archive: nothing in it is listed.
"""

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.config.messages import install_extra
from gateway.errors import SettingsError
from hls.settings import ArchiveSettings
from hls.storage.errors import ObjectStoreError, StoreFault, error_of

CONNECT_S = 3.0
READ_S = 10.0
"""Longer than any healthy server needs for its first byte, and less than people wait for a picture."""

CONNECTIONS_MAX = 24
"""Uploads and readers at a time."""

COPY_MAX_BYTES = 5 * 1024**3
"""The largest object that one CopyObject copies (docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html)."""

COPY_PART_BYTES = 32 * 1024**2

DEFAULT_REGION = "us-east-1"
"""What most servers that are not Amazon's expect in a signature."""


class PartDone(NamedTuple):
    """A part of an upload that the storage has. ``size`` in bytes."""

    number: int
    etag: str
    size: int


class UnfinishedUpload(NamedTuple):
    """A multipart upload that was neither completed nor aborted. ``begun_s`` in Unix seconds."""

    key: str
    upload_id: str
    begun_s: float


class ObjectStore:
    """See the module. Keys are relative to ``ARCHIVE_URL``. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(self, settings: ArchiveSettings) -> None:
        assert settings.archive_url is not None
        parts = urlsplit(settings.archive_url)
        self._bucket = parts.netloc
        self._prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        self._client = _client(settings)

    @property
    def url(self) -> str:
        """For people: without credentials."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def close(self) -> None:
        """Close all connections that are idle."""
        self._client.close()

    def check(self) -> None:
        """Whether the bucket answers and lists what is in it."""
        with _errors_as_ours():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    # --- multipart uploads

    def begin(self, key: str) -> str:
        """Begin a multipart upload. Returns its id."""
        with _errors_as_ours():
            answer = self._client.create_multipart_upload(**self._object(key), ContentType="video/mp4")
            return str(answer["UploadId"])

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> PartDone:
        """Upload a part, or replace it."""
        with _errors_as_ours():
            answer = self._client.upload_part(
                **self._object(key), UploadId=upload_id, PartNumber=number, Body=data, ContentMD5=_md5(data)
            )
            return PartDone(number, str(answer["ETag"]), len(data))

    def parts(self, key: str, upload_id: str) -> list[PartDone]:
        """The parts that the storage has of an unfinished upload, in order."""
        done: list[PartDone] = []
        with _errors_as_ours():
            for page in self._client.get_paginator("list_parts").paginate(**self._object(key), UploadId=upload_id):
                done += [PartDone(each["PartNumber"], each["ETag"], each["Size"]) for each in page.get("Parts", ())]
        return sorted(done)

    def complete(self, key: str, upload_id: str, parts: Sequence[PartDone]) -> None:
        """Make an object of these parts."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with _errors_as_ours():
            self._client.complete_multipart_upload(
                **self._object(key), UploadId=upload_id, MultipartUpload={"Parts": listed}
            )

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an upload, with its parts. It may be unknown."""
        with _errors_as_ours(ignored=(StoreFault.NO_UPLOAD, StoreFault.NO_OBJECT)):
            self._client.abort_multipart_upload(**self._object(key), UploadId=upload_id)

    def unfinished(self) -> Iterator[UnfinishedUpload]:
        """All unfinished uploads (rule 4)."""
        # Some servers answer so where there is none.
        with _errors_as_ours(ignored=(StoreFault.NO_UPLOAD,)):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for each in page.get("Uploads", ()):
                    begun: datetime = each["Initiated"]
                    if self._is_own(each["Key"]):
                        yield UnfinishedUpload(self._key(each["Key"]), each["UploadId"], begun.timestamp())

    # --- objects

    def size(self, key: str) -> int | None:
        """The size of an object in bytes; ``None`` if there is none."""
        try:
            with _errors_as_ours():
                return int(self._client.head_object(**self._object(key))["ContentLength"])
        except ObjectStoreError as error:
            if error.fault is StoreFault.NO_OBJECT:
                return None
            raise

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write a small object."""
        with _errors_as_ours():
            self._client.put_object(**self._object(key), Body=data, ContentMD5=_md5(data), ContentType=content_type)

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes [start, end) of an object, or less where it is shorter; all without ``end``."""
        span = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
        try:
            with _errors_as_ours():
                answer = self._client.get_object(**self._object(key), **span)
                if start and not str(answer.get("ContentRange", "")).startswith(f"bytes {start}-"):
                    # A server, or a proxy before it, that does not know ranges sends all (RFC 9110 §14.2).
                    answer["Body"].close()
                    raise ObjectStoreError(StoreFault.NOT_S3)
                return bytes(answer["Body"].read(None if end is None else end - start))
        except ObjectStoreError as error:
            if error.answer == "InvalidRange":
                return b""
            raise

    def copy(self, source: "ObjectStore", source_key: str, key: str) -> None:
        """Copy an object of another folder of the same storage. One that is large goes through the memory in parts."""
        size = source.size(source_key)
        if size is None:
            raise ObjectStoreError(StoreFault.NO_OBJECT)
        if size <= COPY_MAX_BYTES:
            with _errors_as_ours():
                self._client.copy_object(**self._object(key), CopySource=source._object(source_key))
            return
        upload_id = self.begin(key)
        spans = ((start, min(start + COPY_PART_BYTES, size)) for start in range(0, size, COPY_PART_BYTES))
        parts = [
            self.put_part(key, upload_id, number, source.read(source_key, *span))
            for number, span in enumerate(spans, 1)
        ]
        self.complete(key, upload_id, parts)

    def beside(self, folder: str) -> "ObjectStore":
        """The folder of this name beside this one, through the same connections. Do not close it."""
        parent = self._prefix.rstrip("/").rpartition("/")[0]
        other = copy(self)
        other._prefix = f"{parent}/{folder}/" if parent else f"{folder}/"
        return other

    def delete(self, key: str) -> None:
        """Delete an object. It may not exist."""
        with _errors_as_ours(ignored=(StoreFault.NO_OBJECT,)):
            self._client.delete_object(**self._object(key))

    def list_keys(self) -> Iterator[str]:
        """The keys of all objects (rule 4)."""
        with _errors_as_ours():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                yield from (self._key(each["Key"]) for each in page.get("Contents", ()) if self._is_own(each["Key"]))

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{key}"}

    def _key(self, name: str) -> str:
        return name.removeprefix(self._prefix)

    def _is_own(self, name: str) -> bool:
        """Rule 4."""
        return not self._key(name).startswith(".")


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _client(settings: ArchiveSettings) -> Any:
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        raise SettingsError(f"ARCHIVE_URL needs botocore: {install_extra('s3')}") from None
    config = Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        max_pool_connections=CONNECTIONS_MAX,
        # Once more, for a connection that the server has closed while it was idle. Longer waits are the caller's.
        retries={"mode": "standard", "total_max_attempts": 2},
        # Many servers know no other checksum than MD5.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A server that is not Amazon's rarely has a name for each bucket.
        s3={"addressing_style": "path" if settings.archive_endpoint else "auto"},
    )
    key, secret = settings.archive_access_key_id, settings.archive_secret_access_key
    session = Session()
    try:
        region = settings.archive_region or session.get_config_variable("region") or DEFAULT_REGION
        return session.create_client(
            "s3",
            region_name=region,
            endpoint_url=settings.archive_endpoint,
            aws_access_key_id=key.get_secret_value() if key else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            f"ARCHIVE_URL cannot be used ({type(error).__name__}): check ARCHIVE_ENDPOINT and ARCHIVE_REGION"
        ) from None


@contextlib.contextmanager
def _errors_as_ours(ignored: Sequence[StoreFault] = ()) -> Iterator[None]:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        HTTPClientError,
        IncompleteReadError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        found = error_of(str(error.response.get("Error", {}).get("Code", "")), int(status))
        if found.fault not in ignored:
            raise found from None
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError):
        raise ObjectStoreError(StoreFault.DENIED) from None
    except (HTTPClientError, IncompleteReadError, OSError):
        raise ObjectStoreError(StoreFault.AWAY) from None
    except (ResponseParserError, KeyError):
        # The page of a proxy, of a sign-in, or of the server's console: no XML, or without what each answer of S3 has.
        raise ObjectStoreError(StoreFault.NOT_S3) from None
    except BotoCoreError as error:
        raise ObjectStoreError(StoreFault.REFUSED, type(error).__name__) from None
