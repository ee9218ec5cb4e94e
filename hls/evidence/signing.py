"""The Ed25519 key (RFC 8032) that signs evidence, and its checks.

Rules:

1. The key is made at the first start and kept in ``DATA_DIR/evidence.key``: PKCS #8 in PEM, mode 0600.
2. A file that others could read or write, or that is no key, is kept beside it as ``evidence.key.replaced``, and a new
   key is made: signatures of the old one stay valid by its public key, which the index has.
3. A key is named by the first 16 hexadecimal digits of the SHA-256 of its public key (32 bytes, RFC 8032 §5.1.5).
"""

import base64
import binascii
import hashlib
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.errors import BadRequestError, SettingsError

log = logging.getLogger(__name__)

FILE_NAME = "evidence.key"

KEY_FILE_MAX_BYTES = 4096

KEY_ID_CHARS = 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: ``raw`` are its 32 bytes."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """Rule 3."""
        return hashlib.sha256(self.raw).hexdigest()[:KEY_ID_CHARS]

    @property
    def pem(self) -> str:
        """As SubjectPublicKeyInfo (RFC 8410) in PEM, for openssl."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def text(self) -> str:
        """The 32 bytes in Base64."""
        return base64.b64encode(self.raw).decode()

    @classmethod
    def from_pem(cls, text: str) -> "PublicKey":
        """Raises :class:`~gateway.errors.BadRequestError` for anything else than an Ed25519 key in PEM."""
        try:
            key = load_pem_public_key(text.encode())
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise BadRequestError("this is not an Ed25519 public key in PEM")
        return cls(key.public_bytes_raw())

    def is_signature(self, signature: str, statement: bytes) -> bool:
        """Whether a signature (Base64) is that of the statement by this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(base64.b64decode(signature, validate=True), statement)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


class SigningKey:
    """The private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())
        self.key_id = self.public.key_id

    def sign(self, statement: bytes) -> str:
        """The signature of a statement, in Base64."""
        return base64.b64encode(self._key.sign(statement)).decode()


def load_key(data_dir: Path, write: Callable[[Path, bytes], None]) -> SigningKey:
    """The key of a data directory; makes one if there is none. Blocking.

    ``write`` replaces a file by bytes, with mode 0600. Raises :class:`~gateway.errors.SettingsError` if the directory
    cannot be written: what is signed by a key that is lost with the process would be worth nothing.
    """
    path = data_dir / FILE_NAME
    try:
        key = read_key(path)
        if key is not None:
            return key
    except ValueError as error:
        log.warning("%s is kept as %s.replaced, and a new key signs from now on: %s", path, FILE_NAME, error)
        try:
            os.replace(path, path.with_name(f"{FILE_NAME}.replaced"))
        except OSError as failure:
            raise SettingsError(f"{path} cannot be renamed: {failure.strerror}") from None
    made = Ed25519PrivateKey.generate()
    try:
        write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except OSError as error:
        raise SettingsError(f"{path}, the key of evidence, cannot be written: {error.strerror}") from None
    return SigningKey(made)


def read_key(path: Path) -> SigningKey | None:
    """The key in a file; ``None`` without a file. Raises ``ValueError`` for a file that must not be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(error.strerror) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ValueError("it is not a file of the user that runs liveedge")
        if status.st_mode & 0o077:
            raise ValueError("others could read it; its mode must be 0600")
        data = file.read(KEY_FILE_MAX_BYTES)
    key = load_pem_private_key(data, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is not an Ed25519 key")  # noqa: TRY004
    return SigningKey(key)
