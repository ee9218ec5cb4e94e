"""CameraOnvif: the ONVIF connection of one camera. It is opened when somebody needs it, and kept.

Rules:

1. The user is that of ``onvif_url``, else that of ``url``.
2. The profile is the one whose stream is the camera's; else the main stream of the first lens.
3. An error of the connection closes it. The next call opens another.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from yarl import URL

from gateway.camera_settings import CameraSettings
from gateway.capture.rtsp_connect import credentials
from gateway.capture.url import parse
from gateway.errors import CaptureError
from gateway.onvif import media
from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError, OnvifUnreachableError, OnvifUnsupportedError
from gateway.onvif.media import Profile
from gateway.onvif.soap import Call, Service
from gateway.onvif.xml import Element
from web.checked_resolver import CheckAddress
from web.onvif.client import CALL_S, OnvifClient, Tries
from web.onvif.profiles import profiles_of


@dataclass(frozen=True, slots=True)
class Connected:
    """An open connection: the media service in use, the camera's profile, and the tokens of its lens.

    ``sources`` is ``None`` where the device has one lens.
    """

    client: OnvifClient
    media: Service
    profile: Profile
    sources: frozenset[str] | None


class CameraOnvif:
    """See the module. Lives on the event loop; :meth:`close` it."""

    def __init__(self, settings: CameraSettings, tries: Tries, check: CheckAddress | None) -> None:
        assert settings.onvif_url is not None
        url = parse(settings.onvif_url.get_secret_value())
        stream = None
        with contextlib.suppress(CaptureError):
            stream = parse(settings.url.get_secret_value())
        self._credentials = credentials(url) or (credentials(stream) if stream is not None else None)
        self._url = str(URL(str(url)).with_user(None))
        self._target = stream.target if stream is not None else ""
        self._tries = tries
        self._check = check
        self._opening = asyncio.Lock()
        self._connected: Connected | None = None
        self.clock_offset_s: float | None = None
        """The camera's clock minus ours, when it was compared last."""

    async def connected(self) -> Connected:
        """The connection. Raises :class:`~gateway.errors.LiveedgeError`."""
        async with self._opening:
            if self._connected is None:
                client = OnvifClient(self._url, self._credentials, self._tries, self._check)
                try:
                    await client.open()
                    self.clock_offset_s = client.clock_offset_s
                    self._connected = await self._with_profile(client)
                except BaseException:
                    await client.close()
                    raise
            return self._connected

    async def call(self, request: Call, timeout_s: float = CALL_S, address: str | None = None) -> Element:
        """The answer to a call; rule 3. Raises :class:`~gateway.errors.LiveedgeError`."""
        connected = await self.connected()
        try:
            return await connected.client.call(request, timeout_s, address)
        except (OnvifUnreachableError, OnvifUnauthorizedError):
            await self.drop(connected)
            raise

    async def read_clock(self) -> None:
        """Compare the clocks again. Raises :class:`~gateway.errors.LiveedgeError`."""
        connected = await self.connected()
        await connected.client.read_clock()
        self.clock_offset_s = connected.client.clock_offset_s

    async def drop(self, connected: Connected) -> None:
        """Close a connection that does not work."""
        if self._connected is connected:
            self._connected = None
        await connected.client.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._connected is not None:
            await self.drop(self._connected)

    async def _with_profile(self, client: OnvifClient) -> Connected:
        profiles, service = await profiles_of(client)
        if not profiles:
            raise OnvifUnsupportedError("the device has no profiles with video").because("no_video_stream")
        profile = media.choose_streams(profiles)[0][0]
        for each in profiles[:16] if len(profiles) > 1 else ():
            with contextlib.suppress(OnvifError, CaptureError):
                written = media.parse_uri(await client.call(media.get_stream_uri(service, each.token)))
                if parse(written).target == self._target:
                    profile = each
                    break
        names = frozenset({profile.source, profile.source_configuration} - {""})
        has_several = len({each.source for each in profiles}) > 1
        return Connected(client, service, profile, names if has_several else None)
