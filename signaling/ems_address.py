"""The address of the EMS, and the certificates that it may have."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import SettingsError


def tls_context(ca_file: Path | None, setting: str = "SOCKETIO_CA_FILE") -> ssl.SSLContext:
    """The certificates that a server may have: those of the system, and of a private authority.

    Raises :class:`~gateway.errors.SettingsError`, which names the setting.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"{setting}: {ca_file} has no certificates that can be read: {error.strerror or error}; it must"
                " be a file in PEM format"
            ) from None
    return context


def endpoint(url: str) -> tuple[str, str]:
    """The URL to connect to, ``type=service`` included, and the path of Socket.IO there."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        # The value may be a secret in the wrong place, so it is not repeated.
        raise SettingsError("SOCKETIO_SERVER_URL is not a URL; set it to one like http://ems.example.org:5000")
    path = parts.path.strip("/")
    if not path.endswith("socket.io"):
        path = f"{path}/socket.io".lstrip("/")
    query = "&".join(part for part in (parts.query, "type=service") if part)
    return f"{parts.scheme}://{parts.netloc}/?{query}", path
