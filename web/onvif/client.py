"""OnvifClient: calls of one device.

Theory of operation. :meth:`OnvifClient.open` asks for the camera's clock and services, which needs no user. Other calls
go without credentials at first: the refusal tells which kind the camera wants. They then go in both, HTTP Digest where
it was asked for, and WS-UsernameToken, so that one password is tried once.

Rules:

1. A refused password counts (:mod:`gateway.onvif.password_tries`). It is not sent again by this client. Tries of one
   host are made one after the other. One without an answer, or with one that is no SOAP message, counts too: there are
   cameras that refuse a password so.
2. All services are called at the host of the device's own address, whatever the device writes: a camera behind a
   translating router has its inner addresses there, and a hostile one any others. The port counts only with that host.
   Addresses that cannot be read are left out.
3. An answer with 401 to credentials that were accepted before is a nonce that was used up, and is tried again once. If
   that is refused too, the password was changed: it counts (rule 1).
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from weakref import WeakValueDictionary

from yarl import URL

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import redact_url
from gateway.onvif import device
from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError, OnvifUnreachableError, OnvifUnsupportedError
from gateway.onvif.password_tries import PasswordTries
from gateway.onvif.soap import Call, Service, envelope, parse_answer
from gateway.onvif.xml import XML_MAX_BYTES, Element
from gateway.rtsp.auth import Authenticator, Credentials
from web.checked_resolver import CheckAddress
from web.onvif.http import JPEG_MAX_BYTES, Answer, OnvifHttp

CALL_S = 5.0
"""The longest a call may take, unless it waits for events."""


class Tries:
    """The passwords that were tried in this process, and whose turn it is; rule 1."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.passwords = PasswordTries()
        self.clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, host: str) -> asyncio.Lock:
        """Held while a password of a host is tried."""
        return self._turns.setdefault(host, asyncio.Lock())


class OnvifClient:
    """See the module. ``url`` is that of the device service. :meth:`close` it."""

    def __init__(
        self, url: str, credentials: Credentials | None, tries: Tries, check: CheckAddress | None = None
    ) -> None:
        self.url = URL(url)
        self.host = self.url.host or ""
        self.device = self.host
        """What tries are counted of: the address that answered, so that two names of a device are one."""
        self.services: Mapping[Service, str] = {Service.DEVICE: url}
        self.clock_offset_s: float | None = None
        """The camera's clock minus ours; ``None``: it does not tell."""
        self._credentials = credentials
        self._tries = tries
        self._http = OnvifHttp(check)
        self._digest = Authenticator(credentials)
        self._is_accepted = False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def open(self) -> None:
        """Read the clock and the services. Raises :class:`~gateway.onvif.errors.OnvifError`."""
        await self.read_clock()
        try:
            services = device.parse_services(await self.call(device.GET_SERVICES))
        except OnvifUnauthorizedError:
            raise
        except OnvifError:
            services = {}
        if not services:
            services = device.parse_capabilities(await self.call(device.GET_CAPABILITIES))
        self.services = {**self._readable(services), Service.DEVICE: str(self.url)}

    def _readable(self, services: Mapping[Service, str]) -> dict[Service, str]:
        found = {}
        for service, address in services.items():
            with contextlib.suppress(OnvifError):
                self._own(address)
                found[service] = address
        return found

    async def read_clock(self) -> None:
        """Compare the camera's clock, in whole seconds, with ours in the middle of the call."""
        began_s = time.time()
        try:
            camera_s = device.parse_clock(await self.call(device.GET_CLOCK))
        except (OnvifUnauthorizedError, OnvifUnsupportedError):
            raise
        except OnvifError:
            camera_s = None
        ended_s = time.time()
        self.clock_offset_s = None if camera_s is None else camera_s + 0.5 - (began_s + ended_s) / 2

    def has(self, service: Service) -> bool:
        """Whether the camera has a service."""
        return service in self.services

    async def call(self, request: Call, timeout_s: float = CALL_S, address: str | None = None) -> Element:
        """The answer to a call, at ``address`` in place of its service's (rule 2). Raises ``OnvifError``."""
        where = address if address is not None else self.services.get(request.service)
        if where is None:
            raise OnvifUnsupportedError(f"the camera has no service for {request.operation}")
        try:
            async with asyncio.timeout(timeout_s * 2):
                return await self._call(request, self._own(where), timeout_s)
        except TimeoutError:
            raise OnvifUnreachableError(f"{self.host} did not answer {request.operation} in time", 5) from None

    async def _call(self, request: Call, url: URL, timeout_s: float) -> Element:
        if self._is_accepted:
            return await self._authorized(request, url, timeout_s)
        answer = await self._post(request, url, None, timeout_s)
        try:
            return _parsed(answer, request)
        except OnvifUnauthorizedError:
            if self._credentials is None:
                raise OnvifUnauthorizedError(f"{self.host} wants a user and a password") from None
        return await self._try(request, url, answer, timeout_s)

    async def snapshot(self, address: str) -> bytes | None:
        """The JPEG at a snapshot address; ``None`` where there is none. Raises ``OnvifError``."""
        url = self._own(address)
        answer = await self._get(url, {})
        if answer.status == 401 and self._credentials is not None and self._is_accepted:
            digest = Authenticator(self._credentials)
            if digest.accept(answer.challenges):
                answer = await self._get(url, {"Authorization": digest.authorization("GET", url.raw_path_qs) or ""})
        is_jpeg = answer.status == 200 and answer.body.startswith(b"\xff\xd8")
        return answer.body if is_jpeg else None

    async def _get(self, url: URL, headers: Mapping[str, str]) -> Answer:
        return await self._http.exchange("GET", url, headers, None, CALL_S, JPEG_MAX_BYTES)

    def _own(self, address: str) -> URL:
        """Rule 2."""
        try:
            url = URL(address)
            port = url.port if url.host == self.host else self.url.port
            return url.with_scheme(self.url.scheme).with_host(self.host).with_port(port)
        except ValueError:
            raise OnvifError("the camera tells an address that cannot be read") from None

    async def _try(self, request: Call, url: URL, refusal: Answer, timeout_s: float) -> Element:
        assert self._credentials is not None
        self.device = refusal.peer or self.host
        async with self._tries.turn(self.device):
            if self._is_accepted:
                return await self._authorized(request, url, timeout_s)
            self._tries.passwords.check(self.device, self._credentials, self._tries.clock.monotonic())
            self._digest = Authenticator(self._credentials)
            self._digest.accept(refusal.challenges)
            answer = None
            try:
                answer = await self._post(request, url, self._credentials, timeout_s)
                found = _parsed(answer, request)
            except OnvifUnauthorizedError:
                self._tries.passwords.failed(self.device, self._credentials, self._tries.clock.monotonic())
                raise
            except BaseException:
                if answer is not None and b"Fault" in answer.body:
                    self._accepted()  # any other fault means that
                elif answer is None or answer.status not in _BUSY:
                    self._tries.passwords.unclear(self.device, self._tries.clock.monotonic())
                raise
            self._accepted()
            return found

    def _accepted(self) -> None:
        self._is_accepted = True
        self._digest.succeeded()
        self._tries.passwords.succeeded(self.device)

    async def _authorized(self, request: Call, url: URL, timeout_s: float) -> Element:
        assert self._credentials is not None
        answer = await self._post(request, url, self._credentials, timeout_s)
        if answer.status == 401 and answer.challenges:
            self._digest.succeeded()  # rule 3
            if self._digest.accept(answer.challenges):
                answer = await self._post(request, url, self._credentials, timeout_s)
        if answer.status == 401:
            self._is_accepted = False
            self._tries.passwords.failed(self.device, self._credentials, self._tries.clock.monotonic())
        found = _parsed(answer, request)
        self._digest.succeeded()
        return found

    async def _post(self, request: Call, url: URL, credentials: Credentials | None, timeout_s: float) -> Answer:
        action = request.action_uri
        headers = {
            "Content-Type": f'application/soap+xml; charset=utf-8; action="{action}"',
            # SOAP 1.1's, which several cameras read.
            "SOAPAction": f'"{action}"',
        }
        if credentials is not None:
            authorization = self._digest.authorization("POST", url.raw_path_qs)
            if authorization is not None:
                headers["Authorization"] = authorization
        body = envelope(request, str(url), credentials, time.time() + (self.clock_offset_s or 0.0))
        return await self._http.exchange("POST", url, headers, body, timeout_s, XML_MAX_BYTES)


_BUSY = (502, 503, 504)
"""A camera that starts: its web server runs, and what is behind it does not yet."""


def _parsed(answer: Answer, request: Call) -> Element:
    """Raises :class:`~gateway.onvif.errors.OnvifError` for a fault, and for what is no answer."""
    if answer.location:
        raise OnvifError(f"the camera redirects to {redact_url(answer.location)[:200]}: use the address that it names")
    if answer.status in (401, 403):
        if answer.wants_clear:
            raise OnvifUnauthorizedError(
                "the camera wants the password in clear (HTTP Basic), which is not sent without TLS: choose Digest on"
                " its own page, or use its https:// address"
            ).because("password_in_clear")
        raise OnvifUnauthorizedError(f"the camera refuses {request.operation} to this user; correct user and password")
    if answer.status == 404:
        raise OnvifUnsupportedError("there is no ONVIF service at this address").because("no_onvif_service")
    try:
        found = parse_answer(answer.body, request.operation)
    except OnvifError as error:
        if answer.status >= 400 and type(error) is OnvifError and b"Fault" not in answer.body:
            raise OnvifError(f"the camera answers {request.operation} with HTTP {answer.status}") from None
        raise
    if answer.status >= 400:
        raise OnvifError(f"the camera answers {request.operation} with HTTP {answer.status}")
    return found
