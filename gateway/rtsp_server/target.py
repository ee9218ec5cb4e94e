"""The addresses of the RTSP server: ``/{camera}`` is its main stream, ``/{camera}/sub`` the other one."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gateway.camera_settings import RenditionName
from gateway.rtsp.session import RefusedError


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another node captures a camera: which, in a sentence, and the host where clients reach it, if that is known."""

    message: str
    host: str | None = None


def target_of(uri: str) -> tuple[str, RenditionName, int | None]:
    """Camera, rendition and track of an address. Raises :class:`~gateway.rtsp.session.RefusedError`."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise RefusedError(400, "an address that cannot be read") from None
    # Some clients put the control of a track behind the query.
    names = [unquote(each) for each in parts.path.split("/") if each]
    behind_query = parts.query.rpartition("/")[2]
    last = names[-1] if names else ""
    track = None
    for text in (last, behind_query):
        key, _, number = text.partition("=")
        if key == "trackID" and number.isascii() and number.isdigit() and len(number) < 4:
            track = int(number)
            if text is last:
                names.pop()
            break
    if len(names) == 2 and names[1] in (RenditionName.MAIN, RenditionName.SUB):
        return names[0], RenditionName(names[1]), track
    if len(names) == 1:
        return names[0], RenditionName.MAIN, track
    raise RefusedError(404, "there is nothing at this address; cameras are at /{camera} and /{camera}/sub")


def at_host(uri: str, host: str) -> str:
    """The same address at another host, without credentials."""
    parts = urlsplit(uri)
    port = f":{parts.port}" if parts.port is not None else ""
    return parts._replace(netloc=f"[{host}]{port}" if ":" in host else f"{host}{port}").geturl()
