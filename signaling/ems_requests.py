"""EmsRequests: what the EMS has started and what it has heard, kept over a restart of the gateway. Sans-IO.

Without it, what an EMS started would end with a power cut, and nobody would know: the EMS thinks that it records.

Rules:

1. A request is kept from its ``capture_start_request`` to its ``capture_stop_request``.
2. After a restart the captures are started again, unless the gateway was off for longer than ``EMS_REQUEST_KEEP``. The
   time that the gateway runs does not count.
3. A clock that is set back makes no request older.
4. The place in the log of events, up to which the EMS has heard of every change, does not grow old: the log itself says
   whether it goes back so far.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.capture_clients import CLIENTS_MAX
from gateway.errors import redact
from signaling.frame_options import FrameOptions

log = logging.getLogger(__name__)


class KeptRequest(BaseModel):
    """One client's request for one camera."""

    model_config = ConfigDict(frozen=True)

    camera_id: str
    client_id: str
    metadata: dict[str, Any] = {}
    frames: FrameOptions = FrameOptions()


class _Kept(BaseModel):
    """What is written. ``running_at`` is when the gateway last ran, Unix seconds."""

    running_at: float
    requests: list[KeptRequest]
    events_position: str | None = None


class EmsRequests:
    """See the module."""

    def __init__(self) -> None:
        self.events_position: str | None = None
        """Rule 4; ``None``: it has heard of no change yet."""
        self._requests: dict[str, dict[str, KeptRequest]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._requests.values()))

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that a client of the EMS has started."""
        return tuple(self._requests)

    def __iter__(self) -> Iterator[KeptRequest]:
        return (request for of_camera in self._requests.values() for request in of_camera.values())

    def add(
        self,
        camera_id: str,
        client_id: str,
        metadata: Mapping[str, Any] | None,
        frames: FrameOptions | None = None,
    ) -> None:
        """A client has started a camera, and wants such frames."""
        of_camera = self._requests.setdefault(camera_id, {})
        of_camera[client_id] = KeptRequest(
            camera_id=camera_id, client_id=client_id, metadata=dict(metadata or {}), frames=frames or FrameOptions()
        )

    def frames(self, camera_id: str) -> list[FrameOptions]:
        """The frames that the clients of a camera want."""
        return [request.frames for request in self._requests.get(camera_id, {}).values()]

    def remove(self, camera_id: str, client_id: str) -> None:
        """A client has stopped a camera."""
        self.retain(camera_id, lambda each: each != client_id)

    def retain(self, camera_id: str, condition: Callable[[str], bool]) -> None:
        """Forget the clients of a camera that do not satisfy a condition: others may have taken their place."""
        kept = {each: request for each, request in self._requests.get(camera_id, {}).items() if condition(each)}
        if kept:
            self._requests[camera_id] = kept
        else:
            self._requests.pop(camera_id, None)

    def dump(self, now_s: float) -> bytes:
        """What to write. ``now_s`` is the wall clock, Unix seconds."""
        kept = _Kept(running_at=now_s, requests=list(self), events_position=self.events_position)
        return kept.model_dump_json().encode()

    def restore(self, written: bytes, now_s: float, keep_s: float) -> bool:
        """Take what was written. Returns false where no request is restored: it is too old (rule 2), or damaged."""
        try:
            kept = _Kept.model_validate_json(written)
        except ValidationError as error:
            log.warning("the requests of the EMS before the restart cannot be read: %s", redact(error))
            return False
        self.events_position = kept.events_position
        off_s = now_s - kept.running_at
        if not keep_s or not kept.requests:
            return False
        if off_s > keep_s:
            log.warning(
                "%d requests of the EMS are not restored: the gateway was off for %.0f s, longer than EMS_REQUEST_KEEP",
                len(kept.requests),
                off_s,
            )
            return False
        for request in kept.requests[:CLIENTS_MAX]:
            self.add(request.camera_id, request.client_id, request.metadata, request.frames)
        return True
