"""The settings of this package: recordings and their archive."""

from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from gateway.camera_settings import CameraSettings
from gateway.config.field import Applies, OptionalSecret, SettingsGroup, Url, setting
from gateway.config.messages import contradiction


class FsyncMode(StrEnum):
    """When recorded fragments are forced to the disk."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


class RecorderSettings(SettingsGroup):
    """How files are written. A change of one of these begins a new recorder, and so a new file."""

    title: ClassVar[str] = "Recordings"

    archive_segment_seconds: int = setting(
        600,
        ge=2,
        le=86_400,
        unit="s",
        help="length of a recorded file, in time of the wall clock; a change finishes the file that is being written",
        applies=Applies.LIVE,
    )
    archive_fsync: FsyncMode = setting(
        FsyncMode.ALWAYS,
        help="when recorded fragments are forced to the disk; a change finishes the file that is being written",
        applies=Applies.LIVE,
    )


PRE_ROLL_S, POST_ROLL_S = 10.0, 5.0
"""What happened before is mostly the reason."""


class EventRecordingSettings(SettingsGroup):
    """What events want of the recordings of a camera."""

    title: ClassVar[str] = "Recordings"

    pre_roll: float = setting(
        PRE_ROLL_S,
        ge=0,
        le=120,
        unit="s",
        help="how much from before an event its clip has. With `record = events` it is recorded from memory, which"
        " takes 64 MiB a camera at most",
        applies=Applies.LIVE,
    )
    post_roll: float = setting(
        POST_ROLL_S,
        ge=0,
        le=600,
        unit="s",
        help="how much from after an event its clip has, and `record = events` records",
        applies=Applies.LIVE,
    )
    record_event_max: float = setting(
        3600.0,
        gt=0,
        le=7 * 86_400,
        unit="s",
        help="how long an event is recorded at most with `record = events`, also one that nobody ends",
        applies=Applies.LIVE,
    )


class RetentionSettings(SettingsGroup):
    """Which recordings of a camera are deleted."""

    title: ClassVar[str] = "Recordings"

    archive_max_age: float | None = setting(
        None,
        gt=0,
        unit="s",
        unset="no limit",
        example=604_800.0,
        help="recordings that are older are deleted",
        applies=Applies.LIVE,
    )
    archive_sub_max_age: float | None = setting(
        None,
        gt=0,
        unit="s",
        unset="as `ARCHIVE_MAX_AGE`",
        example=7_776_000.0,
        help="recordings of the sub stream that are older are deleted",
        applies=Applies.LIVE,
    )
    archive_event_max_age: float | None = setting(
        None,
        gt=0,
        unit="s",
        unset="as all other recordings",
        example=7_776_000.0,
        help="recordings of events, which are kept longer, are deleted when they are older. The limits of size and free"
        " space take them last",
        applies=Applies.LIVE,
    )
    archive_max_bytes: int | None = setting(
        None,
        gt=0,
        unit="bytes",
        unset="no limit",
        help="the oldest recordings of the camera are deleted beyond this size; applies at once. Without it the camera"
        " has the limit of the setting for all cameras, which applies after a restart",
        applies=Applies.LIVE,
    )


class RecordingSettings(RecorderSettings, EventRecordingSettings, RetentionSettings):
    """How a camera is recorded: for all cameras, and in a camera's table for that camera."""


class EventSettings(SettingsGroup):
    """Events of all cameras."""

    title: ClassVar[str] = "Events"

    events_max: int = setting(
        100_000,
        ge=1,
        le=10_000_000,
        unit="events",
        help="the oldest events are deleted beyond this number; not those that protect recordings",
        applies=Applies.LIVE,
    )
    event_max_age: float | None = setting(
        None,
        gt=0,
        unit="s",
        unset="no limit",
        example=7_776_000.0,
        help="events that ended longer ago are deleted; not those that protect recordings",
        applies=Applies.LIVE,
    )


class ExportSettings(SettingsGroup):
    """Exports of recordings."""

    title: ClassVar[str] = "Exports"

    export_max_age: float = setting(
        86_400.0,
        gt=0,
        unit="s",
        help="how long an [export](evidence.md#export) can be downloaded",
        applies=Applies.RESTART,
    )
    export_max_bytes: int = setting(
        20 << 30,
        ge=1 << 20,
        unit="bytes",
        help="space of all exports together; they also leave `ARCHIVE_MIN_FREE_BYTES` on the disk",
        applies=Applies.RESTART,
    )


class ObjectStorageSettings(SettingsGroup):
    """Recordings in an object storage."""

    title: ClassVar[str] = "Object storage"

    archive_url: str | None = setting(
        None,
        unset="recordings are in `DATA_DIR` only",
        example="s3://bucket/liveedge",
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_./=-]*)?$",
        help="bucket and prefix of an S3 storage, to which recordings are uploaded while they are recorded; see [object"
        " storage](s3.md)",
        applies=Applies.RESTART,
    )
    archive_endpoint: Url | None = setting(
        None,
        unset="Amazon S3",
        example="https://s3.example.org",
        pattern=r"^https?://[^/@?#\s]+/?$",
        help="address of the S3 server",
        applies=Applies.RESTART,
    )
    archive_region: str | None = setting(
        None,
        unset="that of the AWS environment, else `us-east-1`",
        example="eu-central-1",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        help="region of the bucket",
        applies=Applies.RESTART,
    )
    archive_access_key_id: OptionalSecret = setting(
        None,
        unset="the credentials that AWS tools find: environment, files, the role of the machine",
        example="liveedge",
        help="access key of the S3 server; goes with `ARCHIVE_SECRET_ACCESS_KEY`",
        applies=Applies.RESTART,
    )
    archive_secret_access_key: OptionalSecret = setting(
        None,
        unset="as `ARCHIVE_ACCESS_KEY_ID`",
        example="a-secret-of-the-s3-server",
        help="secret key of the S3 server",
        applies=Applies.RESTART,
    )
    archive_local_keep: float = setting(
        86_400.0,
        ge=0,
        unit="s",
        help="how long the file of an uploaded recording stays in `DATA_DIR` after its end; then it is read from the"
        " object storage. Where the disk is full, less",
        applies=Applies.RESTART,
    )
    archive_cache_bytes: int = setting(
        64 << 20,
        ge=4 << 20,
        unit="bytes",
        help="memory for what is read from the object storage",
        applies=Applies.RESTART,
    )
    archive_uploads: int = setting(
        4,
        ge=1,
        le=16,
        unit="uploads",
        help="how many parts of recordings are uploaded at a time; each takes 5 MiB of memory",
        applies=Applies.RESTART,
    )
    archive_upload_rate: int | None = setting(
        None,
        ge=10_000,
        unit="bytes/s",
        unset="no limit",
        example=5_000_000,
        help="limit of all uploads together. Below the bit rate of the cameras, uploads fall behind for ever",
        applies=Applies.RESTART,
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.archive_access_key_id is None) is not (self.archive_secret_access_key is None):
            raise contradiction(
                "ARCHIVE_ACCESS_KEY_ID and ARCHIVE_SECRET_ACCESS_KEY go together: set both or neither",
                "archive_access_key_id",
                "archive_secret_access_key",
            )
        return self


class ArchiveSettings(RecordingSettings, EventSettings, ExportSettings, ObjectStorageSettings):
    """The archive of all cameras."""

    title: ClassVar[str] = "Archive"

    data_dir: Path = setting(
        Path("data"),
        help="directory of the recordings, their index and the cameras that the API added",
        applies=Applies.RESTART,
    )
    database_url: OptionalSecret = setting(
        None,
        unset="SQLite in `DATA_DIR`",
        example="sqlite:////srv/liveedge/index.db",
        help="SQLAlchemy URL of the index of recordings",
        applies=Applies.RESTART,
    )
    archive_max_bytes: int | None = setting(
        None,
        gt=0,
        unit="bytes",
        unset="no limit",
        example=500_000_000_000,
        help="the oldest recordings are deleted beyond this size: a limit for all cameras together, and for each camera"
        " whose table has no limit. A change of the limit in a camera's table applies at once",
        applies=Applies.RESTART,
    )
    archive_min_free_bytes: int = setting(
        1 << 30,
        ge=0,
        unit="bytes",
        help="free space that recordings leave on the disk",
        applies=Applies.RESTART,
    )
    archive_metadata: str | None = setting(
        None,
        example="mymodule:describe",
        help="`module:function` that adds JSON to each finished archive segment, see [extending](extending.md)",
        applies=Applies.RESTART,
    )


class RecordedCameraSettings(CameraSettings, RecordingSettings):
    """One camera, with the settings of its recordings."""

    @model_validator(mode="after")
    def _check_age(self) -> Self:
        for name in ("archive_max_age", "archive_sub_max_age", "archive_event_max_age"):
            max_age = getattr(self, name)
            if max_age is not None and max_age < self.archive_segment_seconds:
                raise contradiction(
                    f"{name.upper()} ({max_age:g} s) is shorter than ARCHIVE_SEGMENT_SECONDS"
                    f" ({self.archive_segment_seconds} s), which would delete a recording as soon as it is finished:"
                    " raise the first or lower the second",
                    name,
                    "archive_segment_seconds",
                )
        return self


def needs_new_recorder(before: CameraSettings | None, after: CameraSettings | None) -> bool:
    """Whether the recorder of one stream cannot go on with changed settings; ``None``: there is no such stream."""
    if before is None or after is None:
        return before is not after
    old, new = recording_settings(before), recording_settings(after)
    names = RecorderSettings.model_fields
    return before.record is not after.record or any(getattr(old, name) != getattr(new, name) for name in names)


def recording_settings(camera: CameraSettings) -> RecordingSettings:
    """How a camera is recorded. A camera that is configured without this package has the defaults."""
    return camera if isinstance(camera, RecordingSettings) else RecordingSettings()
