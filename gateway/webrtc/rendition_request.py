"""RenditionRequest: which stream of its camera a viewer asks for, and what is known of the streams before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.camera import Camera
from gateway.camera_settings import RenditionName, TranscodeMode
from gateway.errors import BadRequestError
from gateway.media import VideoInfo
from gateway.rendition import Rendition
from gateway.webrtc.bandwidth import rendition_choice
from gateway.webrtc.bandwidth.rendition_choice import RenditionChooser

TILE_MAX = 16_384
"""Device pixels; more than any screen has."""

ASSUMED_SUB = rendition_choice.Rendition(RenditionName.SUB, 500_000, 640, 360)
"""A sub stream that was never captured, until it is: what most of them are."""

TRANSCODED = VideoInfo("h264", "avc1.42c01f", 1280, 720, b"")
"""What a transcode makes, and what many sub streams are."""

ASSUMED_HEVC = VideoInfo("hevc", "hvc1.1.6.L93.b0", 640, 360, b"")


@dataclass(frozen=True, slots=True)
class RenditionRequest:
    """What a viewer asks for. ``pinned``: this one and no other. ``tile``: at how many device pixels it is shown."""

    pinned: RenditionName | None = None
    tile: tuple[int, int] | None = None

    @classmethod
    def parse(cls, rendition: str | None, width: int | None, height: int | None) -> "RenditionRequest":
        """Of a request's parameters, where ``auto`` is no pin. Raises :class:`~gateway.errors.BadRequestError`."""
        if rendition not in (None, "auto", *RenditionName):
            raise BadRequestError("rendition: it is auto, main or sub")
        pinned = None if rendition in (None, "auto") else RenditionName(rendition)
        if (width is None) is not (height is None):
            raise BadRequestError("width and height: give both, or none")
        if width is None or height is None:
            return cls(pinned)
        if not (1 <= width <= TILE_MAX and 1 <= height <= TILE_MAX):
            raise BadRequestError(f"width and height: they are device pixels, from 1 to {TILE_MAX}")
        return cls(pinned, (width, height))


AUTO = RenditionRequest()


def preferred(camera: Camera, request: RenditionRequest) -> list[Rendition]:
    """The renditions with which a viewer may begin, the best one first.

    A pinned one comes first. Else those that are there come before the others: the first picture has priority, and a
    switch follows. Raises :class:`~gateway.errors.NotFoundError` for a pinned one that the camera does not have.
    """
    if request.pinned is not None:
        pinned = camera.rendition(request.pinned)
        return sorted(camera.renditions.values(), key=lambda each: each is not pinned)
    candidates = {each.name: each for each in camera.renditions.values()}
    chosen = RenditionChooser().choose(0.0, describe(candidates), estimate_bps=None, tile=request.tile)
    ordered = sorted(candidates.values(), key=lambda each: each.name != chosen.rendition.name)
    return sorted(ordered, key=lambda each: not (each.hub.gop and each.has_pictures))


def describe(renditions: Mapping[RenditionName, Rendition]) -> list[rendition_choice.Rendition]:
    """Size and bitrate of renditions, as far as known."""
    described = []
    for name, rendition in renditions.items():
        info = rendition.hub.info
        if info is None:
            main = rendition_choice.Rendition(name, 0, 1920, 1080)
            described.append(ASSUMED_SUB if name is RenditionName.SUB else main)
        else:
            bits_per_s = rendition.bitrate_bps or 0
            described.append(rendition_choice.Rendition(name, bits_per_s, info.video.width, info.video.height))
    return described


def videos(camera: Camera) -> list[VideoInfo]:
    """What the camera may send to a viewer during its time, as far as known, to be negotiated."""
    infos = [each.hub.info for each in camera.renditions.values()]
    found = [info.video for info in infos if info is not None]
    if None in infos:
        found += [TRANSCODED, ASSUMED_HEVC]
    if camera.settings.transcode is TranscodeMode.AUTO:
        found.append(TRANSCODED)
    return found
