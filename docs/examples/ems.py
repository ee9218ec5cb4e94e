"""An EMS: captures cameras, takes their frames, asks for a picture and the recordings, marks an event.

``pip install python-socketio aiohttp``, then ``python ems.py 5000 door yard``.
"""

import asyncio
import sys
from typing import Any
from urllib.parse import parse_qs

import socketio
from aiohttp import web

CLIENT_ID = "example"  # who wants the capture; each user of an EMS may have an id
CAMERAS = sys.argv[2:]

sio = socketio.AsyncServer(async_mode="aiohttp", max_http_buffer_size=8_000_000)  # frames of 4K fit


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201


@sio.event
async def connect(sid: str, environ: dict[str, Any], _auth: object = None) -> None:
    if parse_qs(environ["QUERY_STRING"]).get("type") != ["service"]:
        raise socketio.exceptions.ConnectionRefusedError("only a gateway may connect")
    say("connected")
    # In a task: the gateway is connected when this returns, and answers then.
    sio.start_background_task(use, sid)


async def ask(sid: str, event: str, **data: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await sio.call(event, {"client_id": CLIENT_ID, **data}, to=sid, timeout=15)
    return answer


async def use(sid: str) -> None:
    # The gateway keeps these starts over a reconnect and a restart. To repeat them does no harm.
    for camera_id in CAMERAS:
        status = await ask(sid, "capture_start_request", camera_id=camera_id, frame_rate=5, width=320, quality=70)
        if "error" in status:
            say("refused", camera_id, status["message"])
            continue
        picture = await ask(sid, "snapshot_request", camera_id=camera_id)
        say("snapshot", camera_id, len(picture["frame_data"]) if "frame_data" in picture else picture["message"])
        recorded = await ask(sid, "segments_list_request", camera_id=camera_id, limit=10)
        say("segments", camera_id, len(recorded["segments"]) if "segments" in recorded else recorded["message"])
        marked = await ask(sid, "event_create_request", camera_id=camera_id, label="example", duration_s=0)
        say("marked", camera_id, marked.get("event", {}).get("id"))


@sio.event
async def capture_status_response(_sid: str, status: dict[str, Any]) -> None:
    say("status", status.get("camera_id"), status["state"], status.get("error_message", ""))


@sio.event
async def video_frame_from_service(_sid: str, frame: dict[str, Any]) -> None:
    # python-socketio acknowledges when this returns: a slow EMS then gets newer frames, not more.
    metadata = frame["metadata"]
    size = f"{metadata['width']}x{metadata['height']}"
    say("frame", metadata["camera_id"], metadata["sequence"], size, len(frame["frame_data"]))


@sio.event
async def service_heartbeat(_sid: str, heartbeat: dict[str, Any]) -> None:
    say("heartbeat", heartbeat["version"], heartbeat["cameras"])


@sio.event
async def event_changed(_sid: str, change: dict[str, Any]) -> None:
    event = change.get("event", {})
    say("event", change["kind"], event.get("camera_id"), event.get("label"))


async def main() -> None:
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", int(sys.argv[1])).start()  # noqa: S104
    say("listening", runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
