"""Every change of an event, as the gateway hears of it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal

import aiohttp
from pydantic import TypeAdapter

from liveedge_client.address import header_value
from liveedge_client.errors import InvalidArgumentError, ServerError, UnavailableError, UnreachableError
from liveedge_client.http import Query, Requests
from liveedge_client.model import Model
from liveedge_client.models import Event
from liveedge_client.sse import EventStreamParser, Message

SILENCE_S = 45.0
"""The gateway sends something every 15 s: after three times that, the connection is dead."""

LONGEST_WAIT_S = 30.0
"""Between two attempts to connect again."""


@dataclass(frozen=True)
class EventChange:
    """A change of an event. ``reset``, without an ``event``: changes are missing, read the list of events again."""

    kind: Literal["created", "updated", "deleted", "reset"]
    event: Event | None
    id: str
    """Pass it as ``last_id`` to hear of the changes after this one."""


class _Data(Model):
    event: Event


_DATA = TypeAdapter(_Data)


async def changes(requests: Requests, query: Query, last_id: str | None) -> AsyncGenerator[EventChange, None]:
    """The changes after ``last_id``, or from now on. It connects again by itself, and misses none.

    Raises :class:`LiveedgeError` if the first connection fails, and if the gateway refuses a later one.
    """
    parser = EventStreamParser(header_value(last_id or "", "last_id"))
    was_connected = False
    wait_s = 0.0
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": parser.last_id} if parser.last_id else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=requests.timeout.total, sock_read=SILENCE_S)
        url = requests.resolve("/api/events/stream", query)
        try:
            async with requests.send("GET", url, headers=headers, timeout=timeout) as response:
                was_connected = True
                async for data in response.content.iter_any():
                    wait_s = 0.0
                    for message in parser.feed(data):
                        change = _change(message, parser.last_id)
                        if change is not None:
                            yield change
        except (UnreachableError, UnavailableError, ServerError):
            # A proxy answers 502 while the gateway restarts.
            if not was_connected:
                raise
        except InvalidArgumentError:
            raise
        except ValueError as error:
            raise ServerError(200, "other_version", f"the stream of events cannot be read: {error}") from error
        # Half a message of a connection that ended is none.
        parser = EventStreamParser(parser.last_id)
        wait_s = min(LONGEST_WAIT_S, wait_s * 2 or parser.retry_s)
        await asyncio.sleep(wait_s)


def _change(message: Message, last_id: str) -> EventChange | None:
    if message.type == "reset":
        return EventChange("reset", None, last_id)
    if message.type in ("created", "updated", "deleted"):
        return EventChange(message.type, _DATA.validate_json(message.data).event, last_id)  # type: ignore[arg-type]
    return None
