"""What ``/api/status`` shows of the archive. The HTTP API, the problems and the metrics read these models."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hls.archive.clock_guard import ClockFault
from hls.archive.disk_error import DiskFault


class PreRollStatus(BaseModel):
    """What is in memory of a stream that is recorded on events, until one wants it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=0.0, description="0 while an event is being recorded")
    bytes: int = 0
    packets_dropped: int = Field(
        default=0, description="packets that were dropped because those in memory have too many bytes"
    )


class RecorderStatus(BaseModel):
    """The state of the recording of one stream. ``lag_s``: how far the disk is behind the newest frame, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_recording: bool = False
    segment: str | None = None
    lag_s: float = 0.0
    bytes_written: int = 0
    segments_closed: int = 0
    gaps: int = Field(default=0, description="finished segments with a gap before them")
    packets_dropped: int = 0
    audio_packets_dropped: int = Field(
        default=0,
        description="audio packets that no segment has: from before its first frame, or out of order",
    )
    unindexed_dropped: int = Field(
        default=0,
        description="finished segments that the next start adds to the index, because too many waited for it",
    )
    pre_roll: PreRollStatus | None = Field(
        default=None, description="null unless the stream is recorded on events (`record = events`)"
    )
    error: str | None = None
    disk_fault: DiskFault | None = Field(
        default=None,
        description="why the disk cannot be written: full and quota end when there is space, the others when somebody"
        " repairs the disk or its mount",
    )


class CameraRecordingStatus(RecorderStatus):
    """The state of the recording of one camera: that of its main stream, and beside it that of its sub stream."""

    bytes_per_day: int | None = Field(
        default=None, description="what both streams write in a day, measured over a week at most; null: too little yet"
    )
    days_that_fit: float | None = Field(
        default=None,
        description="how many days of this camera's recordings fit, with all limits of retention and the other cameras;"
        " null: unknown, or nothing limits them",
    )
    sub: RecorderStatus | None = Field(
        default=None, description="the recording of the sub stream; null where that is not recorded"
    )


class ClockStatus(BaseModel):
    """Whether the clock of the host may be used to delete recordings by their age."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_trusted: bool = True
    fault: ClockFault | None = None
    error: str | None = Field(default=None, description="what is wrong, in a sentence")
    untrusted_since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="by the clock of the host at that moment"
    )
    plausible_s: int = Field(
        default=0, description="for how long the clock has been plausible since; after a day it is trusted again"
    )


class StorageStatus(BaseModel):
    """The object storage of ``ARCHIVE_URL``. The counts are since the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    is_reachable: bool = Field(description="false also before the first answer")
    error: str | None = Field(default=None, description="why nothing is uploaded at present, in a sentence")
    backlog_segments: int = Field(default=0, description="finished segments that are not uploaded yet")
    backlog_bytes: int = Field(default=0, description="the size of their files")
    uploads: int = Field(default=0, description="uploads at this moment")
    parts_uploaded: int = 0
    bytes_uploaded: int = 0
    segments_uploaded: int = 0
    failures: int = Field(default=0, description="requests that failed, and uploads that began again")
    objects_deleted: int = Field(default=0, description="recordings that were deleted from the storage")
    uploads_aborted: int = Field(default=0, description="unfinished uploads of no one that were removed")
    local_copies_removed: int = Field(
        default=0, description="files of uploaded segments that were removed from `DATA_DIR`"
    )
    cache_bytes: int = Field(default=0, description="memory of the cache of what is read from the storage")
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_read: int = Field(default=0, description="bytes read from the storage for playback")


class ArchiveStatus(BaseModel):
    """The archive. Credentials for some cameras only see those cameras; the other fields are then ``null``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cameras: dict[str, CameraRecordingStatus]
    index_error: str | None = None
    index_is_incomplete: bool | None = None
    index_repairs: int | None = None
    retention_error: str | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    disk_measured_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="when the disk's space was measured; old if the disk hangs"
    )
    segments_deleted: dict[str, int] | None = Field(
        default=None, description="of main streams, by the limit of retention that was reached"
    )
    sub_segments_deleted: dict[str, int] | None = Field(
        default=None, description="of sub streams, by the limit of retention that was reached"
    )
    clock: ClockStatus | None = None
    storage: StorageStatus | None = Field(default=None, description="null without `ARCHIVE_URL`")
