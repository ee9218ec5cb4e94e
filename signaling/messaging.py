"""StreamMessaging: the port towards an event service, and the choice of the adapter behind it.

``MESSAGING`` is ``socketio`` (the EMS at ``SOCKETIO_SERVER_URL``; nothing where that is not set), ``none``, or the
dotted name of one's own: ``package.module:Class``. The class is called with the settings and the :class:`Control`,
and does with them what :mod:`signaling.ems` does: commands that it receives go to :meth:`Control.execute`, news come
from ``control.service.on_status``, pictures from ``camera.jpeg``.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from gateway.errors import SettingsError
from gateway.service import CaptureService
from gateway.webrtc.server import WebRtcServer
from signaling.control import Control, LiveEdgeSource
from signaling.settings import MessagingSettings
from signaling.webrtc import WebRtcRelay


class StreamMessaging(ABC):
    """A connection to an event service."""

    def __init__(self, settings: MessagingSettings, control: Control) -> None:
        self.settings = settings
        self.control = control

    @abstractmethod
    async def start(self) -> None:
        """Begin. Returns at once, whatever the event service does."""

    @abstractmethod
    async def close(self) -> None:
        """End, within two seconds, whatever the event service does."""

    @abstractmethod
    def status(self) -> Mapping[str, Any]:
        """The connection now, as ``/api/status`` shows it: ``adapter``, ``connected`` and what else is known.

        No credential in it.
        """


class NoMessaging(StreamMessaging):
    """Nobody is told, and nobody asks."""

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    def status(self) -> Mapping[str, Any]:
        return {"adapter": "none", "connected": False}


def create_messaging(
    settings: MessagingSettings,
    service: CaptureService,
    webrtc: WebRtcServer | None = None,
    *,
    live_edge: LiveEdgeSource | None = None,
) -> StreamMessaging:
    """The adapter that the settings name. Raises :class:`~gateway.errors.SettingsError`."""
    return _adapter(settings)(settings, create_control(service, webrtc, live_edge))


def create_control(
    service: CaptureService, webrtc: WebRtcServer | None = None, live_edge: LiveEdgeSource | None = None
) -> Control:
    """All commands that the parts at hand can obey."""
    control = Control(service, live_edge)
    if webrtc is not None:
        WebRtcRelay(control, webrtc)
    return control


def _adapter(settings: MessagingSettings) -> type[StreamMessaging]:
    from signaling.ems import EmsMessaging  # it implements this module's port

    name = settings.messaging.strip()
    if name == "none" or (name == "socketio" and settings.socketio_server_url is None):
        return NoMessaging
    if name == "socketio":
        return EmsMessaging
    module_name, _, class_name = name.rpartition(":" if ":" in name else ".")
    if not module_name:
        raise SettingsError(f"MESSAGING: {name!r} is not socketio, none or the dotted name of a class")
    try:
        adapter = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"MESSAGING: {name!r} cannot be imported: {error}") from None
    if not (isinstance(adapter, type) and issubclass(adapter, StreamMessaging)):
        raise SettingsError(f"MESSAGING: {name!r} is not a subclass of signaling.messaging.StreamMessaging")
    return adapter
