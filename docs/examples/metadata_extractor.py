"""A metadata extractor: adds the brightness of the first picture to a finished archive segment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from hls.archive.segment import Segment


def brightness(segment: Segment, path: Path) -> Mapping[str, Any]:
    """Set ``ARCHIVE_METADATA`` to ``examples.metadata_extractor:brightness``. It may be slow, and it may raise."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    return {"brightness": round(float(frame.to_ndarray(format="gray").mean()), 1)}
