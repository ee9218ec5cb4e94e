"""A connection of a forward by WHIP (RFC 9725): HTTP in the gateway, WebRTC in a process of its own.

Rules:

1. A URL with a user and a password is sent with Basic, one with a user alone with Bearer: that is a token. Neither goes
   to another host, also where the server redirects.
2. The server's candidates are checked as its address is, and names among them are left out. So a server cannot have the
   gateway send to what it may not connect to.
3. The session is deleted at its end, as far as the server still answers.
"""

import asyncio
import base64
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urljoin, urlsplit

from gateway.capture.engine import CaptureSource, CheckAddress
from gateway.capture.url import CameraUrl
from gateway.errors import CameraTimeoutError, CaptureError, LiveedgeError
from gateway.forward.connection import TIMEOUT_S, Write, require_codec
from gateway.forward.process import ForwardError, ForwardProcess
from gateway.forward.target import ForwardTarget
from gateway.media import Packet

SDP = "application/sdp"

REDIRECTS_MAX = 3
"""A server may send its clients elsewhere (RFC 9725 §4.5)."""

DELETE_S = 2.0

CANDIDATES_MAX = 32


@dataclass(frozen=True, slots=True)
class WhipAnswer:
    """An answer of HTTP. ``location`` is as the server wrote it."""

    status: int
    content_type: str
    location: str | None
    body: bytes


class WhipHttp(Protocol):
    """What makes the requests of WHIP. Redirects are not followed. Bounded in time and in size."""

    async def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        source: CaptureSource,
        timeout_s: float,
    ) -> WhipAnswer:
        """One request. ``source`` has the check of addresses and the settings of TLS.

        Raises :class:`~gateway.errors.LiveedgeError` whose text has no secret.
        """
        ...


@asynccontextmanager
async def whip_connection(
    target: ForwardTarget, source: CaptureSource, first: Packet, http: WhipHttp
) -> AsyncIterator[Write]:
    """Connect; what writes packets. Raises ``ForwardError`` and ``CaptureError``, and so does writing."""
    require_codec(first, ("h264",))
    process = await ForwardProcess.start("gateway.forward.whip_worker")
    session: _Session | None = None

    async def write(packets: list[Packet]) -> None:
        if any(packet.is_video and packet.pts_90k != packet.dts_90k for packet in packets):
            raise ForwardError("WebRTC cannot carry the camera's B-frames: switch them off in the camera")
        async with _in_time(target):
            await process.ask(packets)

    try:
        async with _in_time(target):
            offer = await process.ask_for_text((first.info, _is_local(target.url)))
            session = await _Session.open(target, source, offer, http)
            await process.ask(checked_answer(session.answer, source.check_address))
        yield write
    finally:
        await process.close()
        if session is not None:
            await session.delete()


@asynccontextmanager
async def _in_time(target: ForwardTarget) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    except TimeoutError:
        reason = f"the server at {target.name} did not take the stream within {TIMEOUT_S:.0f} s"
        raise CameraTimeoutError(reason) from None


class _Session:
    """What the server made of the offer."""

    def __init__(self, url: str | None, headers: Mapping[str, str], source: CaptureSource, http: WhipHttp) -> None:
        self.answer = ""
        self._url = url
        self._headers = headers
        self._source = source
        self._http = http

    @classmethod
    async def open(cls, target: ForwardTarget, source: CaptureSource, offer: str, http: WhipHttp) -> "_Session":
        """Offer. Raises :class:`ForwardError` and ``CaptureError``."""
        url = start = _without_userinfo(target.url)
        for _ in range(REDIRECTS_MAX + 1):
            headers = {"Content-Type": SDP, "Accept": SDP, **_authorization(target.url, start, url)}
            answer = await _request(http, "POST", url, headers, offer.encode(), source, TIMEOUT_S)
            if answer.status not in (307, 308) or not answer.location:
                break
            url = _elsewhere(url, answer.location)
        if answer.status != 201:
            raise ForwardError(_refusal(answer.status))
        location = _elsewhere(url, answer.location) if answer.location else None
        headers = _authorization(target.url, start, location) if location else {}
        session = cls(location, headers, source, http)
        if answer.content_type != SDP:
            await session.delete()
            raise ForwardError("the server answered with no session description: is this the address of a WHIP server?")
        session.answer = answer.body.decode(errors="replace")
        return session

    async def delete(self) -> None:
        """End the session."""
        if self._url is not None:
            with contextlib.suppress(ForwardError, CaptureError):
                await _request(self._http, "DELETE", self._url, self._headers, None, self._source, DELETE_S)
            self._url = None


async def _request(
    http: WhipHttp,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    source: CaptureSource,
    timeout_s: float,
) -> WhipAnswer:
    try:
        return await http(method, url, headers, body, source=source, timeout_s=timeout_s)
    except CaptureError:
        raise
    except LiveedgeError as error:
        raise ForwardError(str(error)) from None


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"the server answered HTTP {status}: set a token as the user of the URL, or a user and a password"
    advice = {
        404: ": it knows no such path",
        406: ": it does not take this video or sound",
        409: ": another publisher is there, or the path takes none",
        503: ": it is not ready",
    }
    return f"the server answered HTTP {status}, not 201{advice.get(status, '')}"


def _elsewhere(url: str, location: str) -> str:
    """An address that the server gave. Raises :class:`ForwardError`."""
    try:
        new = urljoin(url, location)
        scheme, has_host = urlsplit(new).scheme, bool(urlsplit(new).hostname)
    except ValueError:
        scheme, has_host = "", False
    if not has_host or scheme not in ("http", "https") or (url.startswith("https:") and scheme != "https"):
        raise ForwardError("the server sent the gateway to an address that is none, or that is not encrypted")
    return new


def _without_userinfo(url: CameraUrl) -> str:
    return str(CameraUrl(url.scheme, "", url.host, url.port, url.target))


def _authorization(url: CameraUrl, start: str, where: str) -> dict[str, str]:
    """Rule 1, for a request to ``where``."""
    first, then = urlsplit(start), urlsplit(where)
    if not url.userinfo or (first.scheme, first.netloc) != (then.scheme, then.netloc):
        return {}
    user, colon, password = url.userinfo.partition(":")
    if not colon:
        return {"Authorization": f"Bearer {unquote(user)}"}
    text = f"{unquote(user)}:{unquote(password)}"
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def _is_local(url: CameraUrl) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(url.host).is_loopback
    return url.host == "localhost"


def checked_answer(sdp: str, check: CheckAddress | None) -> str:
    """The answer without candidates that may not be used, rule 2. Raises :class:`ForwardError` where none is left."""
    lines, found = [], 0
    reason = "the server's answer has no candidate of ICE that can be used"
    for line in sdp.replace("\r\n", "\n").split("\n"):
        if line.startswith("a=candidate:"):
            words = line.split()
            if len(words) < 8 or found >= CANDIDATES_MAX:
                continue
            try:
                address = ipaddress.ip_address(words[4].partition("%")[0])
                if check is not None:
                    check(address)
            except ValueError:
                continue
            except LiveedgeError as error:
                reason = str(error)
                continue
            found += words[2].lower() == "udp"
        lines.append(line)
    if not found:
        raise ForwardError(reason)
    return "\r\n".join(lines)
