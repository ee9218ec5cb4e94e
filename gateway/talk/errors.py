"""Why nobody can talk to a camera."""

from gateway.errors import ConflictError


class NoBackChannelError(ConflictError):
    """The camera has no loudspeaker that can be reached, or ``talk`` is off."""

    code = "no_back_channel"


class TalkBusyError(ConflictError):
    """Somebody else talks to the camera."""

    code = "talk_busy"
