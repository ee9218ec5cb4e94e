"""StreamMessaging: the port towards an event service.

:mod:`signaling.factory` makes the adapter that the setting ``MESSAGING`` names. An adapter is created with the settings
and the :class:`Control`, and uses them as :mod:`signaling.ems` does: it passes commands to :meth:`Control.execute`,
takes status changes from ``control.service.on_status``, and frames from ``camera.jpeg``.
"""

from abc import ABC, abstractmethod

from signaling.control import Control
from signaling.settings import MessagingSettings
from signaling.status import MessagingStatus


class StreamMessaging(ABC):
    """A connection to an event service."""

    def __init__(self, settings: MessagingSettings, control: Control) -> None:
        self.settings = settings
        self.control = control

    def reload(self, settings: MessagingSettings) -> None:
        """Use changed settings. Those that need a restart are the ones that the adapter was created with."""
        self.settings = settings

    @abstractmethod
    async def start(self) -> None:
        """Begin. Returns at once, even if the event service does not answer. If it raises, there is no messaging."""

    @abstractmethod
    async def close(self) -> None:
        """End within two seconds, even if the event service does not answer."""

    async def forget(self) -> None:
        """After :meth:`close`, where another node of a cluster goes on: end what the event service has requested here.

        :meth:`start` may be called again afterwards.
        """
        return

    @abstractmethod
    def status(self) -> MessagingStatus:
        """The connection now, as ``/api/status`` shows it. An adapter may add fields of its own.

        It contains no credentials.
        """


class FailedMessaging(StreamMessaging):
    """In place of an adapter that could not start. ``error`` is the reason, without secrets."""

    def __init__(self, settings: MessagingSettings, control: Control, error: str) -> None:
        super().__init__(settings, control)
        self._error = error

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    def status(self) -> MessagingStatus:
        return MessagingStatus(
            adapter=self.settings.messaging, connected=False, error=f"the adapter could not start: {self._error}"
        )


class NoMessaging(StreamMessaging):
    """No event service: nothing is sent, nothing is received."""

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    def status(self) -> MessagingStatus:
        return MessagingStatus(adapter="none", connected=False)
