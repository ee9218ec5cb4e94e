"""The HTTP of forwards by WHIP, for :mod:`gateway.forward.whip_connection`.

Rules:

1. Each request has a connection of its own, made to addresses that were checked (:mod:`web.checked_resolver`).
2. Time and the size of the answer are bounded, redirects are not followed, and no text has more than host and port.
"""

from collections.abc import Mapping
from importlib.metadata import version

import aiohttp
from yarl import URL

from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import tls_context
from gateway.errors import CameraTimeoutError, CameraUnreachableError
from gateway.forward.whip_connection import WhipAnswer
from web.checked_resolver import CheckedResolver, check_host, refusal_of

ANSWER_MAX_BYTES = 64 * 1024


async def whip_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    source: CaptureSource,
    timeout_s: float,
) -> WhipAnswer:
    """See :class:`~gateway.forward.whip_connection.WhipHttp`."""
    try:
        target = URL(url, encoded=True)
        where = f"{target.host}:{target.port}"
        check_host(target.raw_host or "", source.check_address)
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(source.check_address),
            use_dns_cache=False,
            ssl=tls_context(source),
            force_close=True,
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                headers={"User-Agent": f"liveedge/{version('liveedge')}"},
            ) as session,
            session.request(method, target, headers=headers, data=body, allow_redirects=False) as answer,
        ):
            content = await _read(answer, where)
            return WhipAnswer(answer.status, answer.content_type, answer.headers.get("Location"), content)
    except TimeoutError:
        raise CameraTimeoutError(f"the server at {where} did not answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise (refusal_of(error) or CameraUnreachableError(_reason(error, where))) from None


async def _read(answer: aiohttp.ClientResponse, where: str) -> bytes:
    content = bytearray()
    async for part in answer.content.iter_chunked(16 * 1024):
        content += part
        if len(content) > ANSWER_MAX_BYTES:
            raise CameraUnreachableError(f"the answer of the server at {where} is too large")
    return bytes(content)


def _reason(error: Exception, where: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return f"no TLS connection to the server at {where}: its certificate or its version was refused"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name of the server at {where} has no address"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to the server at {where}: {error.os_error.strerror or 'it failed'}"
    return f"the server at {where} sent no valid answer of HTTP ({type(error).__name__})"
