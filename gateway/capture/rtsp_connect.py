"""How the RTSP connection to a camera is made: address, TLS, credentials, and where redirects may lead.

Rules:

1. Every address of the host is checked before the first is connected to. Each has its share of the time.
2. Redirects are followed :data:`REDIRECTS_MAX` times, and never to a URL that has redirected already. Each target
   passes the check of addresses that cameras refer to, and gets the credentials only where scheme, host and port stay
   the same. A redirect that is not followed fails the attempt, so the next one waits as after every failure.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from gateway.capture import camera_errors, resolver
from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import Address, CaptureSource
from gateway.capture.rtsp_connection import RtspConnection
from gateway.capture.rtsp_tunnel import HttpTunnelConnection
from gateway.capture.url import CameraUrl, parse
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnreachableError, CaptureError
from gateway.rtsp.auth import Authenticator, Credentials
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.messages import Message

REDIRECTS_MAX = 3
"""A camera behind a load balancer needs one; more is a loop."""

TLS_SCHEMES = frozenset({"rtsps", "rtsps+http"})

TUNNEL_SCHEMES = frozenset({"rtsp+http", "rtsps+http"})
"""RTSP over HTTP, and over HTTPS."""

SCHEMES = TLS_SCHEMES | TUNNEL_SCHEMES | {"rtsp"}


class Redirects:
    """Where to connect to: first :attr:`url`, with :attr:`source`, and after each :meth:`follow` the next place."""

    def __init__(self, source: CaptureSource) -> None:
        """Raises a :class:`~gateway.errors.CaptureError` for a URL that is not of RTSP."""
        self.url = self._first = parse(source.url)
        if self.url.scheme not in SCHEMES:
            raise CaptureError(f"{self.url.scheme}:// is not how cameras are pulled; write rtsp:// or rtsps://")
        self.source = self._given = source
        self._visited = {self.url}

    def follow(self, location: str) -> None:
        """Take a redirect to ``location``. Raises :class:`~gateway.errors.CameraRefusedError` by rule 2."""
        self.url = redirected(self.url, location)
        if len(self._visited) > REDIRECTS_MAX or self.url in self._visited:
            raise CameraRefusedError(
                f"the camera at {host_and_port(self._first)} redirects again and again; write the address of the stream"
                " itself"
            )
        self._visited.add(self.url)
        given = self._given
        is_referred = self.url.host != self._first.host
        self.source = (
            replace(given, check_address=given.check_referred or given.check_address) if is_referred else given
        )


def redirected(url: CameraUrl, location: str) -> CameraUrl:
    """Where a redirect leads, with the credentials of ``url`` only by rule 2."""
    try:
        target = parse(location)
    except CaptureError:
        raise CameraRefusedError(
            f"the camera at {host_and_port(url)} redirects to an address that cannot be read; write the address of the"
            " stream itself"
        ) from None
    # Also the scheme: credentials of a TLS connection must not go over one without.
    is_same_place = (target.scheme, target.host, target.connect_port) == (url.scheme, url.host, url.connect_port)
    userinfo = url.userinfo if is_same_place else ""
    return CameraUrl(target.scheme, userinfo, target.host, target.port, target.target)


async def connect(
    url: CameraUrl,
    source: CaptureSource,
    on_frame: Callable[[int, memoryview], None],
    on_message: Callable[[Message], None],
) -> RtspConnection:
    """Connect by rule 1. Raises a :class:`~gateway.errors.CaptureError`."""
    addresses = await resolver.addresses(url, source)
    for number, address in enumerate(addresses, start=1):
        try:
            async with asyncio.timeout(source.timeout_s * number / len(addresses)):
                return await _connect(str(address), url, source, on_frame, on_message)
        except (OSError, TimeoutError) as error:
            if number == len(addresses):
                raise _polled(camera_errors.connect_failed(error, url, source.timeout_s), address, url) from None
        except RtspStatusError as error:
            raise camera_errors.refused(url, error.status, error.method) from None
        except RtspProtocolError as error:
            raise camera_errors.not_rtsp(url, str(error)) from None
    raise camera_errors.not_opened(url, "its name has no address")


async def _connect(
    address: str,
    url: CameraUrl,
    source: CaptureSource,
    on_frame: Callable[[int, memoryview], None],
    on_message: Callable[[Message], None],
) -> RtspConnection:
    tls = tls_context(source) if url.scheme in TLS_SCHEMES else None
    if url.scheme not in TUNNEL_SCHEMES:
        return await RtspConnection.open(address, url.connect_port, on_frame, on_message, tls, url.host)
    target = url.target if url.target.startswith("/") else f"/{url.target}"
    return await HttpTunnelConnection.open_tunnel(
        (address, url.connect_port),
        (urlsplit(request_uri(url)).netloc, target),
        Authenticator(credentials(url)),
        on_frame,
        on_message,
        tls,
        url.host,
    )


def request_uri(url: CameraUrl) -> str:
    """The URL as it stands in requests: without credentials (RFC 2326 §3.2), and without the tunnel."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme.partition('+')[0]}://{host}{port}{url.target}"


def credentials(url: CameraUrl) -> Credentials | None:
    """User and password of the URL; a user alone has an empty password."""
    if not url.userinfo:
        return None
    user, _, password = url.userinfo.partition(":")
    return Credentials(unquote(user), unquote(password))


def tls_context(source: CaptureSource) -> ssl.SSLContext:
    """Most cameras sign their certificates themselves, and many speak only old versions: without ``tls_verify``, TLS is
    for privacy alone, and every version is better than none."""
    if source.tls_verify:
        return ssl.create_default_context(cafile=str(source.tls_ca_file) if source.tls_ca_file is not None else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _polled(fault: CaptureError, address: Address, url: CameraUrl) -> CaptureError:
    """Let the port of a camera that did not answer be polled, at the address that was checked."""
    if isinstance(fault, CameraUnreachableError | CameraTimeoutError):
        fault.silent_at = (str(address), url.connect_port)
    return fault
