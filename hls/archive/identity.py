"""What the file of an archive segment says about itself, so that the index can be rebuilt from the files alone."""

import base64
import json
from typing import Any

from hls.archive.activity import Activity
from hls.archive.baseline import NOTHING_LEARNED, Baseline
from hls.archive.segment import Segment

IDENTITY_KEY = "comment"
"""The MP4 tag that carries it, as JSON."""


def identity(segment: Segment, baseline: Baseline = NOTHING_LEARNED) -> dict[str, Any]:
    """The value of :data:`IDENTITY_KEY`. ``baseline`` is that of its activity, at its beginning."""
    return {
        "camera": segment.camera_id,
        "start_90k": segment.start_90k,
        "run": segment.run,
        "continues": segment.continues,
        "activity": baseline.pack(),
    }


def sound_identity(activity: Activity) -> dict[str, str]:
    """What the tag of a finished file has beside :func:`identity`: the levels of its sound, which no frame tells."""
    return {"sound": base64.b64encode(activity.sound).decode()} if activity.sound else {}


def identity_tag(values: dict[str, Any]) -> str:
    """The text of the tag."""
    return json.dumps(values, separators=(",", ":"))
