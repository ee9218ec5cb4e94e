"""The key that signs URLs if ``AUTH_SIGNING_KEY`` is not set: made once, and kept in ``DATA_DIR/signing.key``.

A link in a mail, or a player that was left running, should still work after a restart of the gateway. A user who can
read the file can sign any URL, but could also read the recordings and the cameras' passwords beside it. When a URL ends
(by its time, or with the token that it was made with) does not depend on the key.

Rules:

1. The file has mode 0600. A file that others could read or write, or that is not a regular file of our user, is
   replaced with a warning: the URLs that it signed end.
2. If the file cannot be written, the key lives as long as the process, with a warning.
"""

import logging
import re
import secrets
from pathlib import Path

from web.private_files import read_private, write_private

log = logging.getLogger(__name__)

FILE_NAME = "signing.key"

KEY_BYTES = 32
KEY_CHARS = 43
"""Length of :data:`KEY_BYTES` in Base64."""

_KEY = re.compile(rb"[A-Za-z0-9_-]{%d}" % KEY_CHARS)


def kept_key(data_dir: Path) -> str:
    """The key of a data directory; makes one if there is none. Never raises; see rule 2."""
    path = data_dir / FILE_NAME
    try:
        key = _read(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning("%s is replaced, and the URLs that it signed end: %s", path, _why(error))
    else:
        return key
    key = secrets.token_urlsafe(KEY_BYTES)
    try:
        write_private(path, key.encode())
    except OSError as error:
        log.warning("%s cannot be written (%s): signed URLs end with this process", path, _why(error))
    return key


def _read(path: Path) -> str:
    """Raises ``OSError``, and ``ValueError`` for a file that must not be used."""
    key = read_private(path, KEY_CHARS)
    if not _KEY.fullmatch(key):
        raise ValueError("it is not a key")
    return key.decode()


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
