"""Whether a request comes from a page of this gateway."""

from urllib.parse import urlsplit


def is_same_origin(origin: str, host: str) -> bool:
    """Whether the origin of a page (RFC 6454) is the server at ``host``, as a Host header has it."""
    # The scheme is not compared: a proxy may end TLS.
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        own = urlsplit(f"//{host}")
        return (
            default is not None
            and parts.hostname == own.hostname
            and (parts.port or default) in (own.port, default if own.port is None else own.port)
        )
    except ValueError:
        return False
