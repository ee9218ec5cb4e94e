"""The record of a segment: its row of the index as JSON, an object beside that of its file.

A file has all that its row says, but to read it from the object storage would mean to download it. With the records,
the index is rebuilt from the storage with one small request for each segment.
"""

import base64
import json
from dataclasses import asdict, fields
from typing import Any

from gateway.camera_settings import RenditionName
from hls.archive.activity import Activity
from hls.archive.baseline import Baseline
from hls.archive.fragment import Fragment, pack_fragments, unpack_fragments
from hls.archive.segment import EndReason, Segment, SegmentState, SegmentWithFragments
from hls.archive.upload import key

RECORD_SUFFIX = ".json"

VERSION = 1

_NOT_KEPT = {"activity", "is_protected", "sequence", "discontinuities"}
"""What the index says better: numbers depend on all segments of a stream."""


def record_key(camera_id: str, name: str) -> str:
    """The key of the record of a segment."""
    return key(camera_id, name).removesuffix(".mp4") + RECORD_SUFFIX


def write_record(segment: Segment, fragments: tuple[Fragment, ...], activity: Activity | None) -> bytes:
    """A segment as the content of its record."""
    values: dict[str, Any] = {name: value for name, value in asdict(segment).items() if name not in _NOT_KEPT}
    values["head"] = _text(segment.head)
    record: dict[str, Any] = {"version": VERSION, "segment": values, "fragments": _text(pack_fragments(fragments))}
    if activity is not None:
        record["activity"] = {
            "levels": _text(activity.levels),
            "sound": _text(activity.sound),
            "baseline": activity.baseline.pack(),
        }
    return json.dumps(record, separators=(",", ":")).encode()


def read_record(data: bytes) -> SegmentWithFragments | None:
    """The inverse of :func:`write_record`; ``None`` for anything else, and for a record of a newer version."""
    try:
        record = json.loads(data)
        if record["version"] != VERSION:
            return None
        values = {name: value for name, value in record["segment"].items() if name in _FIELDS}
        values["head"] = base64.b64decode(values["head"])
        values["state"] = SegmentState(values["state"])
        values["rendition"] = RenditionName(values["rendition"])
        values["end_reason"] = EndReason(values["end_reason"]) if values["end_reason"] else None
        if (kept := record.get("activity")) is not None:
            values["activity"] = Activity(
                levels=base64.b64decode(kept["levels"]),
                sound=base64.b64decode(kept["sound"]),
                baseline=Baseline.unpack(kept["baseline"]),
            )
        segment = Segment(**values)
        return SegmentWithFragments(segment, unpack_fragments(base64.b64decode(record["fragments"]), segment.init_size))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_FIELDS = {field.name for field in fields(Segment)}
