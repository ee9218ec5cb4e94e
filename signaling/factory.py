"""Makes the messaging adapter that the setting ``MESSAGING`` names.

``MESSAGING`` is ``socketio`` (the EMS at ``SOCKETIO_SERVER_URL``, or nothing if that is not set), ``none``, or the
dotted name of a class, ``package.module:Class``, which is a :class:`~signaling.messaging.StreamMessaging`.
"""

import importlib

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import LiveedgeError, SettingsError, redact
from gateway.service import CaptureService
from gateway.webrtc.server import WebRtcServer
from signaling.control import LiveEdgeSource
from signaling.ems import EmsMessaging
from signaling.event_commands import EventCommands
from signaling.event_store import EventStore
from signaling.messaging import NoMessaging, StreamMessaging
from signaling.ptz import Ptz
from signaling.recording_commands import RecordingCommands
from signaling.recordings import Recordings
from signaling.request_keeper import RequestStore
from signaling.settings import MessagingSettings
from signaling.webrtc import create_control


def create_messaging(
    settings: MessagingSettings,
    service: CaptureService,
    webrtc: WebRtcServer | None = None,
    *,
    live_edge: LiveEdgeSource | None = None,
    clock: Clock = SYSTEM_CLOCK,
    requests: RequestStore | None = None,
    events: EventStore | None = None,
    recordings: Recordings | None = None,
    ptz: Ptz | None = None,
) -> StreamMessaging:
    """The adapter that the settings name. The requests of an EMS are kept in ``requests``.

    Raises :class:`~gateway.errors.SettingsError`.
    """
    control = create_control(service, webrtc, live_edge)
    if events is not None:
        EventCommands(control, events, clock)
    RecordingCommands(control, recordings, clock)
    (ptz or Ptz()).add_to(control)
    name = settings.messaging.strip()
    if name == "none" or (name == "socketio" and settings.socketio_server_url is None):
        return NoMessaging(settings, control)
    if name == "socketio":
        return EmsMessaging(settings, control, clock, requests)
    adapter = _adapter_class(name)
    try:
        return adapter(settings, control)
    except LiveedgeError:
        raise
    except Exception as error:
        raise SettingsError(f"MESSAGING: {name!r} cannot be created: {redact(error)}") from error


def _adapter_class(name: str) -> type[StreamMessaging]:
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
