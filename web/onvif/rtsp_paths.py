"""Which RTSP addresses of common makers a camera has, asked by DESCRIBE. For cameras without ONVIF.

Rules:

1. Patterns are tried in the order of the file, at most :data:`PATTERNS_S` in all. The first maker whose main stream the
   camera has is it. A path that holds the password comes last, and only with the tries that are left.
2. Credentials go after a 401 only. A password that is refused counts (:mod:`gateway.onvif.password_tries`) and ends the
   search: cameras refuse it for every path alike.
"""

import asyncio
import contextlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.capture.engine import CaptureSource, CheckAddress
from gateway.capture.rtsp_connect import connect, request_uri
from gateway.capture.rtsp_connection import RtspConnection
from gateway.capture.url import parse
from gateway.errors import CameraTimeoutError
from gateway.onvif.errors import OnvifUnauthorizedError
from gateway.rtsp.auth import Authenticator, Challenge, Credentials, parse_challenges
from gateway.rtsp.client import USER_AGENT
from gateway.rtsp.messages import Headers, Message, Request, Response
from web.onvif.client import Tries

FILE = Path(__file__).with_name("rtsp_patterns.toml")

PATTERNS_S = 20.0

ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Maker:
    """A maker's addresses. ``sub`` is ``None`` where there is none."""

    name: str
    main: str
    sub: str | None
    source: str

    @property
    def has_password(self) -> bool:
        """Whether the path itself holds the password."""
        return "{password}" in self.main


@cache
def makers() -> tuple[Maker, ...]:
    """Those of the file, the ones with the password in the path last."""
    table = tomllib.loads(FILE.read_text())
    found = [Maker(each["name"], each["main"], each.get("sub"), each["source"]) for each in table["maker"]]
    return tuple(sorted(found, key=lambda maker: maker.has_password))


def path_of(pattern: str, credentials: Credentials | None) -> str:
    """The path of a pattern."""
    user, password = (credentials.user, credentials.password) if credentials is not None else ("", "")
    return pattern.replace("{user}", quote(user, safe="")).replace("{password}", quote(password, safe=""))


class RtspPaths:
    """Asks one host, over one connection at a time; :meth:`close` it. ``port`` is that of RTSP."""

    def __init__(
        self, host: str, port: int, credentials: Credentials | None, tries: Tries, check: CheckAddress | None
    ) -> None:
        self.base = f"rtsp://{f'[{host}]' if ':' in host else host}:{port}"
        self._host = host
        self.device = host
        """What tries are counted of: the address that answered, so that two names of a device are one."""
        self._source = CaptureSource("discover", self.base, timeout_s=ANSWER_S, check_address=check)
        self._credentials = credentials
        self._tries = tries
        self._authenticator = Authenticator(None)
        self._is_accepted = False
        self._connection: RtspConnection | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._cseq = 0

    async def find(self) -> tuple[Maker, str, str | None] | None:
        """The maker whose addresses the camera has, with the paths of its main and its sub stream; rule 1.

        Raises ``OnvifUnauthorizedError``, ``OnvifLockedError`` and ``CaptureError``.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATTERNS_S):
                for maker in makers():
                    main = path_of(maker.main, self._credentials)
                    if (not maker.has_password or self._credentials is not None) and await self._has(main, maker):
                        sub = path_of(maker.sub, self._credentials) if maker.sub is not None else None
                        return maker, main, sub if sub is not None and await self._has(sub, maker) else None
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def _has(self, path: str, maker: Maker) -> bool:
        """Whether the camera describes a path; rule 2."""
        if maker.has_password:
            return await self._try(path)
        answer = await self._describe(path)
        if answer.status != 401:
            return answer.status == 200
        challenges = parse_challenges(answer.headers.get_all("WWW-Authenticate"))
        if self._is_accepted:
            # A nonce that was used up; or a camera that has 401 for what it does not know.
            self._authenticator.succeeded()
            return self._authenticator.accept(challenges) and (await self._describe(path)).status == 200
        if self._credentials is None:
            raise OnvifUnauthorizedError(f"{self._host} wants a user and a password")
        return await self._try(path, challenges)

    async def _try(self, path: str, challenges: Sequence[Challenge] = ()) -> bool:
        assert self._credentials is not None
        passwords, now = self._tries.passwords, self._tries.clock.monotonic()
        self.device = (await self._connected()).peer
        async with self._tries.turn(self.device):
            if not self._is_accepted:
                passwords.check(self.device, self._credentials, now)
            if challenges:
                self._authenticator = Authenticator(self._credentials)
                self._authenticator.accept(challenges)
            status = (await self._describe(path)).status
            if status == 401 and not self._is_accepted:
                passwords.failed(self.device, self._credentials, now)
                raise OnvifUnauthorizedError(f"{self._host} refuses this user and password; correct them")
            if challenges or status == 200:
                self._is_accepted = True
                passwords.succeeded(self.device)
        return status == 200

    async def _describe(self, path: str) -> Response:
        """Raises :class:`~gateway.errors.CaptureError`. A camera that hangs up after each answer is connected again."""
        uri = request_uri(parse(self.base + path))
        for is_last in (False, True):
            had_connection = self._connection is not None
            connection = await self._connected()
            self._cseq += 1
            headers = [("CSeq", str(self._cseq)), ("User-Agent", USER_AGENT), ("Accept", "application/sdp")]
            if (authorization := self._authenticator.authorization("DESCRIBE", uri)) is not None:
                headers.append(("Authorization", authorization))
            self._answer = asyncio.get_running_loop().create_future()
            connection.send(Request("DESCRIBE", uri, Headers(headers)))
            ended = asyncio.ensure_future(connection.wait_ended())
            waits: set[asyncio.Future[Any]] = {self._answer, ended}
            await asyncio.wait(waits, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if self._answer.done():
                return self._answer.result()
            self.close()
            if is_last or not had_connection:
                break
        raise CameraTimeoutError(f"{self._host} does not answer over RTSP")

    async def _connected(self) -> RtspConnection:
        if self._connection is None:
            url = parse(self.base)
            self._connection = await connect(url, self._source, lambda _channel, _frame: None, self._on_message)
        return self._connection

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Response) and message.status >= 200 and self._answer and not self._answer.done():
            self._answer.set_result(message)
