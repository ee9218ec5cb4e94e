"""look_at: everything about one device: what it is, its streams with their pictures, and the cameras to make of it.

Rules:

1. One user and password are tried once (:mod:`gateway.onvif.password_tries`), also where the device takes them over
   ONVIF and refuses them over RTSP.
2. The host of each stream is the device's own, whatever the device writes: see rule 2 of :mod:`web.onvif.client`.
3. Pictures are taken one after the other, of the chosen streams first, within :data:`PICTURES_S`: a camera has two to
   four RTSP sessions, and others may use them.
4. However slow a device is, the report comes: :data:`ASK_S` for what it is, :data:`STREAMS_S` for the addresses of its
   streams. A stream without an address is in the report, and is not chosen; nor is one that is refused as the sub
   stream.
"""

import asyncio
import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from gateway.capture.engine import CheckAddress
from gateway.capture.url import CameraUrl, parse
from gateway.errors import CameraRefusedError, CameraUnauthorizedError, CaptureError, LiveedgeError, redact
from gateway.onvif import device, media
from gateway.onvif.device import DeviceInformation, suggested_id
from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError, OnvifUnreachableError, OnvifUnsupportedError
from gateway.onvif.media import Profile
from gateway.onvif.soap import Service
from gateway.rendition import UNDECODABLE_CODE
from gateway.rtsp.auth import Credentials
from web.onvif.client import OnvifClient, Tries
from web.onvif.picture import keyframe, small_jpeg
from web.onvif.profiles import profiles_of
from web.onvif.report import DeviceCamera, DeviceReport, DeviceStream
from web.onvif.rtsp_paths import RtspPaths

ASK_S = 30.0

STREAMS_S = 20.0

PICTURES_S = 25.0

STREAMS_MAX = 64
"""Streams that are asked for their address."""

RTSP_PORT = 554


@dataclass(frozen=True, slots=True)
class Look:
    """What is needed to look at devices. ``check`` is of addresses; ``taken`` are the ids of cameras."""

    credentials: Credentials | None
    tries: Tries
    check: CheckAddress | None
    taken: Collection[str] = ()
    wants_pictures: bool = True


async def look_at_onvif(url: str, look: Look) -> DeviceReport:
    """Look at a device with ONVIF. Raises :class:`~gateway.onvif.errors.OnvifError`, ``OnvifUnreachableError``."""
    client = OnvifClient(url, look.credentials, look.tries, look.check)
    try:
        try:
            async with asyncio.timeout(ASK_S):
                await client.open()
                information = await _information(client)
                profiles, service = await profiles_of(client)
        except TimeoutError:
            raise OnvifUnreachableError(f"{client.host} answers too slowly: what it is took {ASK_S:g} s", 5) from None
        streams = await _streams(client, service, profiles[:STREAMS_MAX])
        has_url = {each.token for each in streams if each.url}
        usable = [each for each in profiles if each.token in has_url]
        chosen = media.choose_streams(usable)
        if look.wants_pictures:
            order = [each.token for pair in chosen for each in pair if each is not None]
            streams, refused = await _with_pictures(client, service, streams, order, look)
            refused -= {main.token for main, _ in chosen}
            chosen = media.choose_streams([each for each in usable if each.token not in refused])
        return DeviceReport(
            address=client.host,
            onvif_url=str(client.url),
            manufacturer=information.manufacturer,
            model=information.model,
            firmware=information.firmware,
            serial=information.serial,
            clock_offset_s=None if client.clock_offset_s is None else round(client.clock_offset_s, 1),
            has_ptz=client.has(Service.PTZ) and any(each.has_ptz for each in profiles),
            has_events=client.has(Service.EVENTS),
            streams=streams,
            cameras=_cameras(chosen, streams, information, str(client.url), look.taken),
        )
    finally:
        await client.close()


async def look_at_rtsp(host: str, port: int, look: Look) -> DeviceReport:
    """Look at a camera without ONVIF, by the addresses of common makers. Raises ``OnvifError`` and ``CaptureError``."""
    paths = RtspPaths(host, port, look.credentials, look.tries, look.check)
    try:
        found = await paths.find()
    finally:
        paths.close()
    if found is None:
        raise OnvifUnsupportedError(
            f"{host} has none of the RTSP addresses of common makers: its manual or its own page tells its address"
        ).because("no_rtsp_address")
    maker, main, sub = found
    streams = []
    for name, path in (("main", main), ("sub", sub)):
        if path is not None:
            stream = DeviceStream(
                token="",
                name=name,
                source="",
                codec="",
                width=None,
                height=None,
                frame_rate=None,
                bitrate_bps=None,
                url=paths.base + path,
                picture=None,
                problem=None,
            )
            streams.append(await _from_rtsp(stream, look, paths.device) if look.wants_pictures else stream)
    camera = DeviceCamera(
        camera_id=suggested_id(f"camera-{host}", frozenset(look.taken)),
        name=host,
        url=streams[0].url,
        sub_url=streams[1].url if len(streams) > 1 else None,
        onvif_url=None,
    )
    return DeviceReport(
        address=host,
        onvif_url=None,
        manufacturer=maker.name,
        model="",
        firmware="",
        serial="",
        clock_offset_s=None,
        has_ptz=False,
        has_events=False,
        streams=streams,
        cameras=[camera],
    )


async def _information(client: OnvifClient) -> DeviceInformation:
    try:
        return device.parse_information(await client.call(device.GET_INFORMATION))
    except OnvifUnauthorizedError:
        raise
    except OnvifError:
        return DeviceInformation()


async def _streams(client: OnvifClient, service: Service, profiles: Sequence[Profile]) -> list[DeviceStream]:
    """Rule 4."""
    until_s = asyncio.get_running_loop().time() + STREAMS_S
    return [await _stream(client, service, each, until_s) for each in profiles]


async def _stream(client: OnvifClient, service: Service, profile: Profile, until_s: float) -> DeviceStream:
    url, problem, code = "", None, None
    try:
        async with asyncio.timeout_at(until_s):
            written = media.parse_uri(await client.call(media.get_stream_uri(service, profile.token)))
        url = own_stream_url(written, client.host)
    except TimeoutError:
        problem = "the device took too long for the addresses of all its streams"
        code = OnvifUnreachableError.code
    except (LiveedgeError, ValueError) as error:
        problem = f"it has no RTSP address: {redact(error)}"
        code = error.reason or error.code if isinstance(error, LiveedgeError) else OnvifError.code
    return DeviceStream(
        token=profile.token,
        name=profile.name,
        source=profile.source,
        codec=profile.codec,
        width=profile.width or None,
        height=profile.height or None,
        frame_rate=profile.frame_rate or None,
        bitrate_bps=profile.bitrate_bps or None,
        url=url,
        picture=None,
        problem=problem,
        problem_code=code,
    )


def own_stream_url(written: str, host: str) -> str:
    """Rule 2: the address without credentials, at the device's own host. Raises ``CaptureError``, ``OnvifError``."""
    url = parse(written)
    if url.scheme not in ("rtsp", "rtsps"):
        raise OnvifError(f"{url.scheme}:// is not how cameras are pulled")
    return str(CameraUrl(url.scheme, "", host, url.port, url.target))


def with_credentials(url: str, credentials: Credentials | None) -> str:
    """A stream's address with user and password, percent-encoded."""
    if credentials is None:
        return url
    userinfo = f"{quote(credentials.user, safe='')}:{quote(credentials.password, safe='')}"
    return str(replace(parse(url), userinfo=userinfo))


async def _with_pictures(
    client: OnvifClient, service: Service, streams: Sequence[DeviceStream], order: Sequence[str], look: Look
) -> tuple[list[DeviceStream], set[str]]:
    """Rule 3. Returns the streams, and the tokens of those that the camera refuses to send."""
    by_token = {each.token: each for each in streams}
    wanted = sorted(by_token, key=lambda token: order.index(token) if token in order else len(order))
    until_s = asyncio.get_running_loop().time() + PICTURES_S
    is_refused = False
    refused: set[str] = set()
    for token in wanted:
        stream = by_token[token]
        try:
            async with asyncio.timeout_at(until_s):
                stream = await _from_snapshot(client, service, stream)
                if stream.picture is None and stream.url and not is_refused:
                    stream = await _measured(stream, look, client.device)
        except TimeoutError:
            slow = OnvifUnreachableError("the device took too long for pictures of all its streams")
            stream = _without_picture(stream, slow)
        except CaptureError as error:
            if isinstance(error, CameraRefusedError):
                refused.add(token)
            stream = _without_picture(stream, error)
        except OnvifError as error:
            is_refused = True
            stream = _without_picture(stream, error)
        by_token[token] = stream
    return [by_token[each.token] for each in streams], refused


async def _from_snapshot(client: OnvifClient, service: Service, stream: DeviceStream) -> DeviceStream:
    try:
        address = media.parse_uri(await client.call(media.get_snapshot_uri(service, stream.token)))
        data = await client.snapshot(address) if address else None
    except LiveedgeError:
        return stream  # RTSP has one too
    picture = await asyncio.to_thread(small_jpeg, data) if data is not None else None
    return stream if picture is None else stream.model_copy(update={"picture": _base64(picture)})


def _without_picture(stream: DeviceStream, error: LiveedgeError) -> DeviceStream:
    return stream.model_copy(update={"problem": redact(error), "problem_code": error.reason or error.code})


async def _from_rtsp(stream: DeviceStream, look: Look, device_address: str) -> DeviceStream:
    """Raises :class:`~gateway.onvif.errors.OnvifUnauthorizedError` where the password is refused; rule 1."""
    try:
        return await _measured(stream, look, device_address)
    except CaptureError as error:
        return _without_picture(stream, error)


async def _measured(stream: DeviceStream, look: Look, device_address: str) -> DeviceStream:
    """Raises as :func:`_from_rtsp`, and :class:`~gateway.errors.CaptureError` where there is no picture."""
    try:
        info, picture = await keyframe(with_credentials(stream.url, look.credentials), look.check)
    except CameraUnauthorizedError as error:
        if look.credentials is not None:
            look.tries.passwords.failed(device_address, look.credentials, look.tries.clock.monotonic())
        raise OnvifUnauthorizedError(f"over RTSP the camera refuses this user: {redact(error)}").because(
            "camera_unauthorized"
        ) from None
    measured = {"codec": info.codec, "width": info.width, "height": info.height}
    return stream.model_copy(
        update={
            **measured,
            "picture": _base64(picture) if picture is not None else None,
            "problem": None if picture is not None else "its keyframe cannot be decoded",
            "problem_code": None if picture is not None else UNDECODABLE_CODE,
        }
    )


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _cameras(
    chosen: Sequence[tuple[Profile, Profile | None]],
    streams: Sequence[DeviceStream],
    information: DeviceInformation,
    onvif_url: str,
    taken: Collection[str],
) -> list[DeviceCamera]:
    urls = {each.token: each.url for each in streams}
    cameras: list[DeviceCamera] = []
    for number, (main, sub) in enumerate(chosen, start=1):
        what = information.model or information.manufacturer or "camera"
        name = what if len(chosen) == 1 else f"{what} {number}"
        camera_id = suggested_id(name, frozenset({*taken, *(each.camera_id for each in cameras)}))
        sub_url = urls[sub.token] if sub is not None else None
        cameras.append(
            DeviceCamera(
                camera_id=camera_id,
                name=name,
                url=urls[main.token],
                sub_url=sub_url,
                onvif_url=onvif_url,
            )
        )
    return cameras
