"""The official JavaScript client, in Node, against our server."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from signaling.answers import CaptureStatusResponse, FrameMetadata, FramesSubscribed, Refusal
from tests.support.node import NODE

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.signaling.conftest import SignalingServer

CLIENT = Path(__file__).with_name("client.mjs")


async def test_the_official_client(server: "SignalingServer") -> None:
    process = await asyncio.create_subprocess_exec(
        NODE, str(CLIENT), server.url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    told: dict[str, Any] = json.loads(out)
    started = CaptureStatusResponse.model_validate(told["started"])
    assert (started.camera_id, started.metadata) == ("yard", {"camera_id": "yard", "n": 1})
    assert Refusal.model_validate(told["refused"]).error == "bad_request"
    assert Refusal.model_validate(told["unknown"]).error == "not_found"
    assert FramesSubscribed.model_validate(told["subscribed"]).width == 80
    assert told["transport"] == "websocket"
    assert {status["camera_id"] for status in told["statuses"]} == {"default", "yard"}
    for frame in told["frames"]:
        assert frame["magic"] == "ffd8"
        FrameMetadata.model_validate({name: frame[name] for name in FrameMetadata.model_fields})
        assert datetime.fromisoformat(frame["timestamp"]).tzinfo is not None
    sequences = [frame["sequence"] for frame in told["frames"][:5]]
    assert sequences == sorted(set(sequences))
    # Frames captured while the connection was cut are not sent later: the client continues at the live edge.
    assert told["resumed"]["timestamp"] > told["frames"][4]["timestamp"]
    assert told["unsubscribed"] == {"ok": True}
