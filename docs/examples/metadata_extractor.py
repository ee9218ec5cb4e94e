"""A metadata extractor: how bright a finished archive segment begins, next to its other data in the index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from hls.archive.segment import Segment


def brightness(segment: Segment, path: Path) -> Mapping[str, Any]:
    """Name it ``examples.metadata_extractor:brightness`` in ``ARCHIVE_METADATA``. It may be slow, and may raise."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    return {"brightness": round(float(frame.to_ndarray(format="gray").mean()), 1)}
