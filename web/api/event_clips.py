"""The clip of an event: what of the recording belongs to it, and whether all of it is on the disk."""

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.event import Event
from hls.playback.clip import CLIP_MAX_S
from hls.settings import RecordingSettings, recording_settings
from web.gateway import Gateway

LAG_MAX_S = 15.0
"""A recording that is further behind has stopped."""


def clip_span(
    gateway: Gateway, event: Event, pre_roll_s: float | None = None, post_roll_s: float | None = None
) -> tuple[int, int]:
    """What the clip of an event shows, in 90 kHz ticks, with the settings of its camera where nothing else is given.

    That of an event that goes on ends with what is on the disk.
    """
    camera = gateway.service.cameras.get(event.camera_id)
    settings = recording_settings(camera.settings) if camera is not None else RecordingSettings()
    start_90k = max(0, event.start_90k - seconds_90k(settings.pre_roll if pre_roll_s is None else pre_roll_s))
    if event.end_90k is None:
        end_90k = gateway.archive.settled_90k(event.camera_id) or gateway.clock.wall_90k()
        end_90k = max(end_90k, event.start_90k + 1)
    else:
        # A moment has no duration, and a clip of a second has a frame.
        end_90k = event.end_90k + seconds_90k(settings.post_roll if post_roll_s is None else post_roll_s)
        end_90k = max(end_90k, start_90k + CLOCK_RATE)
    return start_90k, min(end_90k, start_90k + CLIP_MAX_S * CLOCK_RATE)


def is_still_coming(gateway: Gateway, camera_id: str, end_90k: int) -> bool:
    """Whether something of the recording up to a moment is still to come."""
    behind_90k = gateway.clock.wall_90k() - end_90k
    settled_90k = gateway.archive.settled_90k(camera_id)
    return settled_90k is not None and settled_90k < end_90k and behind_90k <= LAG_MAX_S * CLOCK_RATE
