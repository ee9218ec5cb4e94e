"""Encryption of push messages for one browser (RFC 8291), in the content coding ``aes128gcm`` (RFC 8188).

The primitives are those of ``cryptography``. ``http-ece``, the only library for Python, brings three older codings that
no browser needs any more, and has no types.
"""

import base64
import binascii
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()

POINT_BYTES = 65
"""An uncompressed point on P-256 (RFC 8291 §3.1)."""

SECRET_BYTES = 16
"""RFC 8291 §3.2."""

SALT_BYTES = 16

RECORD_BYTES = 4096
"""What every push service takes (RFC 8030 §7.2). A message is one record (RFC 8291 §4)."""

PLAINTEXT_MAX_BYTES = RECORD_BYTES - (SALT_BYTES + 4 + 1 + POINT_BYTES) - 1 - 16
"""3993: without the header, the delimiter and the tag."""

_DELIMITER = b"\x02"
"""Of the last record (RFC 8188 §2)."""


def decode_base64url(text: str) -> bytes:
    """Bytes of base64url, with or without padding. Raises ``ValueError``."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def encode_base64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key of a private one, as an uncompressed point."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass(frozen=True, slots=True)
class ReceiverKeys:
    """The keys of a subscription: the browser's public key ``p256dh`` and its secret ``auth``."""

    p256dh: bytes
    auth: bytes

    @classmethod
    def parse(cls, p256dh: str, auth: str) -> "ReceiverKeys":
        """The keys as the Push API gives them, in base64url. Raises ``ValueError``."""
        keys = cls(decode_base64url(p256dh), decode_base64url(auth))
        if len(keys.p256dh) != POINT_BYTES or len(keys.auth) != SECRET_BYTES:
            raise ValueError("keys of another length")
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, keys.p256dh)  # raises for what is not on the curve
        return keys


def encrypt(
    plaintext: bytes,
    keys: ReceiverKeys,
    *,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of a push message. ``sender`` and ``salt`` are new for each message; only tests give them.

    Raises ``ValueError`` for more than :data:`PLAINTEXT_MAX_BYTES`.
    """
    if len(plaintext) > PLAINTEXT_MAX_BYTES:
        raise ValueError(f"a push message has {PLAINTEXT_MAX_BYTES} bytes at most")
    sender = sender if sender is not None else ec.generate_private_key(CURVE)
    salt = salt if salt is not None else os.urandom(SALT_BYTES)
    sender_public = public_bytes(sender)
    shared = sender.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, keys.p256dh))
    # RFC 8291 §3.4
    secret = _hkdf(shared, keys.auth, b"WebPush: info\0" + keys.p256dh + sender_public, 32)
    key = _hkdf(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(secret, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + struct.pack("!LB", RECORD_BYTES, POINT_BYTES) + sender_public
    return header + AESGCM(key).encrypt(nonce, plaintext + _DELIMITER, None)


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
