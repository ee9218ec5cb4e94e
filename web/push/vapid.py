"""The key by which push services know this gateway (VAPID, RFC 8292): made once, and kept in ``DATA_DIR/push.key``.

A browser subscribes for this key. With another one, all browsers would have to subscribe again, so a file that cannot
be used is not replaced: there are no notifications until it is repaired or moved away.
"""

import time
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from web.private_files import locked, read_private, write_private
from web.push.encryption import CURVE, encode_base64url, public_bytes

FILE_NAME = "push.key"

FILE_MAX_BYTES = 4096


EXPIRES_S = 12 * 3600
"""RFC 8292 §2: at most 24 hours."""


def new_key() -> bytes:
    """A private key in PEM format."""
    key = ec.generate_private_key(CURVE)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class VapidKey:
    """See the module. In a cluster, all nodes have the one that is in its database."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = encode_base64url(public_bytes(key))
        """``applicationServerKey`` of the Push API."""

    @classmethod
    def kept(cls, data_dir: Path) -> "VapidKey":
        """The key of a data directory; makes one if there is none. Blocking.

        Raises ``OSError``, and ``ValueError`` for a file that cannot be used.
        """
        path = data_dir / FILE_NAME
        if not path.exists():
            with locked(path):  # of several workers, one makes it
                if not path.exists():
                    write_private(path, new_key())
        return cls.read(read_private(path, FILE_MAX_BYTES))

    @classmethod
    def read(cls, data: bytes) -> "VapidKey":
        """A key in PEM format. Raises ``ValueError``."""
        try:
            found = load_pem_private_key(data, None)
        except (ValueError, TypeError):
            found = None
        if isinstance(found, ec.EllipticCurvePrivateKey) and isinstance(found.curve, ec.SECP256R1):
            return cls(found)
        raise ValueError("it is not a private key on P-256 in PEM format")

    def authorization(self, endpoint: str, contact: str | None, now_s: float | None = None) -> str:
        """The value of ``Authorization`` for an endpoint (RFC 8292 §3). ``contact``: a mailto: or https: URL."""
        parts = urlsplit(endpoint)
        claims: dict[str, object] = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(time.time() if now_s is None else now_s) + EXPIRES_S,
        }
        if contact is not None:
            claims["sub"] = contact
        return f"vapid t={jwt.encode(claims, self._key, algorithm='ES256')}, k={self.public}"
