"""Movement: PTZ of one camera.

Rules:

1. A continuous movement ends after its time-out, by a stop of ours: many cameras ignore the time-out that they are
   given. It ends at once when the client that began it goes away.
2. The newest command counts: a stop does not wait for the commands before it, and those that wait are not sent. A
   camera may carry out a command that it was slow to take after the stop: then it is stopped again.
3. A camera that does not turn by its field of view is turned to a place of its picture by an estimate
   (:data:`~gateway.onvif.ptz.ESTIMATED_FOV`), unless it is zoomed in.
4. :data:`WAITING_MAX` commands wait for the camera, and as many stops. More are refused: a camera takes a few a second.
"""

import asyncio
import contextlib

from gateway.errors import LiveedgeError, UnavailableError
from gateway.onvif import ptz
from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError, OnvifUnsupportedError
from gateway.onvif.ptz import Move, PtzOptions
from gateway.onvif.ptz_command import PtzFields, PtzPreset, PtzState
from gateway.onvif.soap import Call
from web.onvif.camera import CameraOnvif, Connected

WAITING_MAX = 8

STOP_TRIES = 3
"""A stop that is lost would leave the camera turning."""


class Movement:
    """See the module. Lives on the event loop; :meth:`close` it."""

    def __init__(self, camera_id: str, onvif: CameraOnvif) -> None:
        self._camera_id = camera_id
        self._onvif = onvif
        self._options: tuple[Connected, PtzOptions] | None = None
        self._owner: object | None = None
        """Who moves the camera now."""
        self._end: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._stops = 0
        self._newest = 0
        self._stopped = 0
        """Commands up to this number are over; rule 2."""

    async def state(self) -> PtzState:
        """What the camera can do. Raises :class:`~gateway.errors.LiveedgeError`."""
        connected, options = await self._known()
        presets: list[PtzPreset] = []
        # A camera whose presets cannot be read can still be moved.
        with contextlib.suppress(OnvifError):
            answer = await self._onvif.call(ptz.get_presets(connected.profile.token))
            presets = [PtzPreset(token=each.token, name=each.name) for each in ptz.parse_presets(answer)]
        return PtzState(
            camera_id=self._camera_id,
            can_move=options.has_continuous,
            can_step=options.has_relative,
            can_zoom=options.has_zoom,
            can_center=options.fov is not None or options.generic is not None,
            is_center_estimated=options.fov is None and options.generic is not None,
            presets=presets,
        )

    async def command(self, command: PtzFields, owner: object) -> None:
        """Carry out a command of a client. Raises :class:`~gateway.errors.LiveedgeError`."""
        if command.action == "stop":
            await self._stop_at_once()
            return
        if self._waiting >= WAITING_MAX:
            raise _too_many()
        self._newest += 1
        number = self._newest
        self._waiting += 1
        try:
            async with self._lock:
                if number <= self._stopped or (number != self._newest and command.action == "move"):
                    return  # rule 2
                connected, options = await self._known()
                request = _call(command, connected.profile.token, options)
                if command.action == "center" and options.fov is None and options.has_zoom:
                    await self._require_wide(connected)
                self._cancel_end()
                # Before the call: if it is interrupted, the camera may still move.
                if command.action == "move":
                    self._owner = owner
                    self._end = asyncio.create_task(self._end_after(command.timeout_s), name="ptz-stop")
                else:
                    self._owner = None
                try:
                    await self._onvif.call(request)
                finally:
                    if number <= self._stopped:
                        await self._send_stop()
        finally:
            self._waiting -= 1

    async def _stop_at_once(self) -> None:
        """A client's stop. Raises :class:`~gateway.errors.LiveedgeError`."""
        if self._stops >= WAITING_MAX:
            raise _too_many()
        self._stops += 1
        try:
            self._cancel_end()
            self._forget()
            connected, _ = await self._known()
            await self._onvif.call(ptz.stop(connected.profile.token))
        finally:
            self._stops -= 1

    async def release(self, owner: object) -> None:
        """The connection of a client has ended; rule 1."""
        if self._owner is owner:
            self._cancel_end()
            await self._stop()

    async def close(self) -> None:
        """Stop what moves."""
        self._cancel_end()
        if self._owner is not None:
            await self._stop()

    async def _known(self) -> tuple[Connected, PtzOptions]:
        connected = await self._onvif.connected()
        if self._options is None or self._options[0] is not connected:
            if not connected.profile.has_ptz:
                raise OnvifUnsupportedError(f"camera {self._camera_id} cannot be moved").because("camera_unmovable")
            try:
                options = ptz.parse_options(await self._onvif.call(ptz.get_options(connected.profile.ptz)))
            except OnvifUnauthorizedError:
                raise
            except OnvifError:
                options = ptz.UNKNOWN
            self._options = (connected, options)
        return self._options

    async def _require_wide(self, connected: Connected) -> None:
        """Rule 3. Raises :class:`~gateway.onvif.errors.OnvifUnsupportedError`."""
        try:
            zoom = ptz.parse_zoom(await self._onvif.call(ptz.get_status(connected.profile.token)))
        except OnvifUnauthorizedError:
            raise
        except OnvifError:
            return  # it does not say
        if zoom is not None and zoom > ptz.ZOOMED:
            raise OnvifUnsupportedError(
                "the camera does not say how much of its range a picture shows that is zoomed in: zoom out first"
            ).because("zoom_out_first")

    def _cancel_end(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    async def _end_after(self, timeout_s: float) -> None:
        await asyncio.sleep(timeout_s)
        await self._stop()

    def _forget(self) -> None:
        """All commands so far are over; rule 2."""
        self._owner = None
        self._stopped = self._newest

    async def _stop(self) -> None:
        self._forget()
        await self._send_stop()

    async def _send_stop(self) -> None:
        for _ in range(STOP_TRIES):
            with contextlib.suppress(LiveedgeError):
                connected = await self._onvif.connected()
                await self._onvif.call(ptz.stop(connected.profile.token), 2.0)
                return


def _too_many() -> UnavailableError:
    return UnavailableError("the camera is slower than the commands: send fewer", retry_after_s=1).because(
        "camera_slow"
    )


def _call(command: PtzFields, token: str, options: PtzOptions) -> Call:
    """Raises :class:`~gateway.onvif.errors.OnvifUnsupportedError`."""
    move = Move(command.pan, command.tilt, command.zoom)
    if command.action == "move":
        return ptz.continuous_move(token, move, command.timeout_s)
    if command.action == "step":
        return ptz.relative_move(token, move)
    if command.action == "preset":
        return ptz.go_to_preset(token, command.preset or "")
    if command.action == "center":
        request = ptz.center_on(token, command.x or 0.0, command.y or 0.0, options)
        if request is None:
            raise OnvifUnsupportedError(
                "the camera cannot turn to a place of its picture: it has no relative movement"
            ).because("no_relative_movement")
        return request
    return ptz.go_home(token)
