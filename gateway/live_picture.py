"""live_picture: one JPEG of a camera at its live edge, from whichever of its streams has it."""

import contextlib

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.errors import UnavailableError
from gateway.jpeg.reader import JpegFrame
from gateway.pictures import PictureSource

PICTURE_WAIT_S = 10.0
"""How long a request waits for a camera that connects: longer than the default of CAPTURE_TIMEOUT."""


async def live_picture(
    camera: Camera,
    width: int | None,
    patience_s: float = PICTURE_WAIT_S,
    quality: int | None = None,
    preferred: RenditionName | None = None,
) -> JpegFrame:
    """One picture, ``width`` pixels wide (``None``: the camera's). ``quality`` is on libjpeg's scale,
    ``preferred`` as of :class:`~gateway.pictures.PictureSource`.

    Keeps the camera captured meanwhile. Raises :class:`~gateway.errors.UnavailableError` if there is none within
    ``patience_s``.
    """
    with contextlib.closing(PictureSource(camera, "snapshot", width, is_single=True, preferred=preferred)) as source:
        rendition = await source.started(patience_s)
        try:
            return await rendition.jpeg.snapshot(width, quality)
        except UnavailableError:
            if camera.sub is None:
                raise
        source.avoid(rendition)
        return await (await source.started(patience_s)).jpeg.snapshot(width, quality)
