"""The size of a Socket.IO event, and the refusal of an answer that is too large for its receiver.

A Socket.IO server closes the connection on a message above its ``maxPayload``, which takes every other command with it.
"""

import json
from collections.abc import Iterator
from typing import Any

from signaling.answers import Refusal
from signaling.control import Reply

KEPT = ("client_id", "camera_id")
"""Fields of an answer that its refusal has too."""

KEPT_MAX = 200
"""Characters of such a field."""


def fitting(reply: Reply, text_max_bytes: int, attachment_max_bytes: int) -> Reply:
    """The reply, or its refusal where the receiver would not accept it."""
    text_bytes, attachments = message_bytes(reply.event, reply.data)
    if text_bytes <= text_max_bytes and max(attachments, default=0) <= attachment_max_bytes:
        return reply
    sizes = [(text_bytes, text_max_bytes), *((each, attachment_max_bytes) for each in attachments)]
    size, limit = next((size, limit) for size, limit in sizes if size > limit)
    message = (
        f"the answer has {size} bytes and the receiver accepts {max(0, limit)} (maxHttpBufferSize): ask for a smaller"
        " limit, width or quality"
    )
    refusal = Refusal(error="too_large", message=message)
    kept = {key: reply.data[key] for key in KEPT if isinstance(reply.data.get(key), str)}
    kept = {key: value for key, value in kept.items() if len(value) <= KEPT_MAX}
    return Reply(reply.event, {**kept, **refusal.wire()} if reply.event else reply.data, refusal)


def message_bytes(event: str, data: dict[str, Any]) -> tuple[int, list[int]]:
    """The bytes of an event's text, and of each of its attachments, which are messages of their own."""
    attachments = list(_attachments(data))
    placeholder = {"_placeholder": True, "num": 99}
    return len(json.dumps([event, data], separators=(",", ":"), default=lambda _: placeholder)), attachments


def _attachments(value: Any) -> Iterator[int]:
    if isinstance(value, bytes):
        yield len(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _attachments(each)
