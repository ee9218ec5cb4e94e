"""File systems that lack something: locks, syncing of folders, shared memory."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from hls.archive import database
from hls.archive.data_dir import lock_data_dir, unlock_data_dir
from hls.archive.database import network_file_system
from hls.archive.table import SegmentTable
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOLCK, "rpc.statd"),
        (errno.EOPNOTSUPP, "has no locks"),
        (errno.ENOSYS, "has no locks"),
        (errno.EIO, "check the file system"),
        (errno.EWOULDBLOCK, "another liveedge"),
    ],
)
def test_a_refused_lock_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SettingsError, match=words) as caught:
        lock_data_dir(tmp_path)
    assert ("another liveedge" in str(caught.value)) is (code == errno.EWOULDBLOCK)


def test_a_second_process_is_refused_for_real(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path)
    with pytest.raises(SettingsError, match="another liveedge"):
        lock_data_dir(tmp_path)
    unlock_data_dir(lock)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_that_cannot_be_synced_is_recorded_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    [(segment, fragments)] = record(tmp_path, encode(EncoderSettings(seconds=1)), segment_s=2)
    assert fragments
    assert segment.path(tmp_path).stat().st_size == segment.size


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/nas rw,relatime shared:2 - cifs //nas/video rw
31 30 8:2 / /mnt/nas/local rw - xfs /dev/sdb rw
32 22 0:41 / /mnt/my\\040disk rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/liveedge", None),
        ("/mnt/nas/data", "cifs"),
        ("/mnt/nas", "cifs"),
        ("/mnt/nas/local/data", None),
        ("/mnt/my disk/data", "fuse.sshfs"),
        ("/mnt/nasty", None),
    ],
)
def test_the_file_system_of_a_folder(folder: str, kind: str | None) -> None:
    assert network_file_system(Path(folder), MOUNTS) == kind


def test_the_index_has_no_write_ahead_log_on_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "network_file_system", lambda _: "cifs")
    index = SegmentTable(tmp_path)
    index.open()
    with index.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    assert "cifs" in caplog.text
    assert not list(tmp_path.glob("*-wal"))
    assert index.is_in_place()
    index.close()
