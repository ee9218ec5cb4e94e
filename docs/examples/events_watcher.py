"""Save a picture of each new event: python events_watcher.py URL FOLDER, with the token in LIVEEDGE_TOKEN."""

import asyncio
import os
import sys
from pathlib import Path

from liveedge_client import Liveedge, LiveedgeError, UnavailableError


async def watch(url: str, folder: Path, token: str | None) -> None:
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with Liveedge(url, token) as gateway:
        for camera in await gateway.cameras():
            print(f"{camera.camera_id} is {camera.state}", flush=True)
        async for change in gateway.event_changes():
            if change.kind != "created" or change.event is None:
                continue
            event = change.event
            try:
                picture = await gateway.snapshot(event.camera_id, width=640)
            except UnavailableError as error:  # the camera does not send now
                print(error, flush=True)
                continue
            file = folder / f"{event.id}.jpg"
            await asyncio.to_thread(file.write_bytes, picture)
            print(f"{event.label} on {event.camera_id}: {file.name}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(watch(sys.argv[1], Path(sys.argv[2]), os.environ.get("LIVEEDGE_TOKEN")))
    except LiveedgeError as error:
        sys.exit(str(error))
