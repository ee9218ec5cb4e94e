"""A frame callback: frames of a camera as JPEG, without the web server."""

import asyncio
import sys

from gateway.jpeg.frame_bytes import FrameBytes
from gateway.service import CaptureService


async def collect(url: str, frames: int, **camera: object) -> list[FrameBytes]:
    """Return ``frames`` frames of the camera at ``url``; ``camera`` is any setting of a camera's table."""
    collected: list[FrameBytes] = []
    enough = asyncio.Event()

    async def on_frame(frame: FrameBytes) -> None:  # a plain function works too
        collected.append(frame)
        if len(collected) >= frames:
            enough.set()

    async with CaptureService.from_url(url, frame_rate=5, frame_width=160, **camera) as service:
        service.set_frame_callback(on_frame)
        await service.start_capture()
        await enough.wait()
    return collected


if __name__ == "__main__":
    for frame in asyncio.run(collect(sys.argv[1], 3)):
        print(frame.sequence, frame.width, frame.height, len(frame))  # noqa: T201
