"""Content codings of requests: none is taken. A body that says it is compressed is answered 415 (RFC 9110 §15.5.16).

What clients send here is small. A body that is decompressed could be made larger than any limit of its bytes.
"""

from aiohttp import hdrs, web


def refuse_content_codings(request: web.Request) -> None:
    """Raises ``HTTPUnsupportedMediaType``."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() not in ("", "identity"):
        raise web.HTTPUnsupportedMediaType(headers={hdrs.ACCEPT_ENCODING: "identity"})
