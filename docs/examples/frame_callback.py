"""A frame callback: each picture of a camera as JPEG, in ten lines, without the web server."""

import asyncio
import sys

from gateway.jpeg.feed import JpegFrame
from gateway.service import CaptureService


async def look(url: str, frames: int, **camera: object) -> list[JpegFrame]:
    """So many pictures of the camera at ``url``; ``camera`` is any setting of a camera's table."""
    seen: list[JpegFrame] = []
    enough = asyncio.Event()

    async def on_frame(frame: JpegFrame) -> None:  # a plain function will do as well
        seen.append(frame)
        if len(seen) >= frames:
            enough.set()

    async with CaptureService.from_url(url, frame_rate=5, frame_width=160, **camera) as service:
        service.set_frame_callback(on_frame)
        await service.start_capture()
        await enough.wait()
    return seen


if __name__ == "__main__":
    for frame in asyncio.run(look(sys.argv[1], 3)):
        print(frame.sequence, frame.width, frame.height, len(frame.data))  # noqa: T201
