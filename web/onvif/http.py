"""OnvifHttp: one device's HTTP, with HTTP Digest (RFC 7616).

Rules:

1. Every exchange is bounded: in time as a whole, and in bytes of the answer. Redirects are not followed.
2. Addresses are checked at each connect (:mod:`web.checked_resolver`). Certificates are not: cameras sign their own.
3. No password is sent in clear. A device that asks for Basic on a connection without TLS does not get it: anybody on
   the network can pose as a device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import aiohttp
from yarl import URL

from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import tls_context
from gateway.errors import LiveedgeError
from gateway.onvif.errors import OnvifError, OnvifUnreachableError
from gateway.rtsp.auth import Challenge, parse_challenges
from web.checked_resolver import CheckAddress, CheckedResolver, check_host, refusal_of

CONNECT_S = 3.0

JPEG_MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body`` is whole, or the exchange has failed."""

    status: int
    content_type: str
    body: bytes
    challenges: list[Challenge]
    peer: str
    """The address that answered."""
    wants_clear: bool = False
    """Whether it asks for nothing but a password in clear; rule 3."""
    location: str = ""
    """Where it redirects to; rule 1."""


class OnvifHttp:
    """See the module. Lives on the event loop; :meth:`close` it."""

    def __init__(self, check: CheckAddress | None) -> None:
        self._check = check
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=CheckedResolver(check),
                use_dns_cache=False,
                ssl=tls_context(CaptureSource("", "")),
                limit=8,
                keepalive_timeout=10,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # Nothing is decompressed here: what comes would have no bound.
            headers={"User-Agent": f"liveedge/{version('liveedge')}", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, timeout_s: float, max_bytes: int
    ) -> Answer:
        """One request and its answer. Raises :class:`~gateway.onvif.errors.OnvifError`, ``OnvifUnreachableError``."""
        where = f"{url.host}:{url.port}"
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S, timeout_s))
        try:
            check_host(url.raw_host or "", self._check)
            async with self._session.request(
                method, url, headers=headers, data=body, allow_redirects=False, timeout=timeout
            ) as answer:
                peer = _peer(answer)
                content = await _read(answer, max_bytes)
                challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", ()))
                safe = [each for each in challenges if url.scheme == "https" or each.scheme != "basic"]
                location = answer.headers.get("Location", "") if 300 <= answer.status < 400 else ""
                return Answer(
                    answer.status, answer.content_type, content, safe, peer, bool(challenges) and not safe, location
                )
        except TimeoutError:
            raise OnvifUnreachableError(f"nothing at {where} answered within {timeout_s:g} s", 5) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise (refusal_of(error) or _unreachable(where, error)) from None


def _peer(answer: aiohttp.ClientResponse) -> str:
    transport = answer.connection.transport if answer.connection is not None else None
    name = transport.get_extra_info("peername") if transport is not None else None
    return str(name[0]) if name else ""


async def _read(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > max_bytes:
            answer.close()
            raise OnvifError(f"the camera's answer is longer than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _unreachable(where: str, error: Exception) -> LiveedgeError:
    if isinstance(error, aiohttp.ClientConnectorError):
        return OnvifUnreachableError(f"no connection to {where}: {error.os_error.strerror or 'it failed'}", 5)
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return OnvifUnreachableError(f"{where} closed the connection without an answer", 5)
    return OnvifError(f"{where} sent no valid HTTP answer ({type(error).__name__})")
