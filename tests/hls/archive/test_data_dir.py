"""File systems that lack something: locks, syncing of folders, shared memory."""

import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from hls.archive import database
from hls.archive.data_dir import lock_data_dir, unlock_data_dir
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import Recording
from hls.archive.segment import EndReason
from hls.archive.sqlite_file import network_file_system
from hls.archive.table import SegmentTable
from hls.settings import FsyncMode
from tests.support.recording import index_of, parts_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from web.private_files import write_private


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOLCK, "rpc.statd"),
        (errno.EOPNOTSUPP, "has no locks"),
        (errno.ENOSYS, "has no locks"),
        (errno.EACCES, "SELinux"),
        (errno.EPERM, "SELinux"),
        (errno.EINTR, "check the file system"),
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


def test_a_lock_that_is_interrupted_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, left = fcntl.flock, [errno.EINTR] * 3

    def interrupt(descriptor: int, operation: int) -> None:
        if left:
            raise OSError(left.pop(), "interrupted")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", interrupt)
    unlock_data_dir(lock_data_dir(tmp_path))


def test_a_second_process_is_refused_for_real(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path)
    with pytest.raises(SettingsError, match="another liveedge"):
        lock_data_dir(tmp_path)
    unlock_data_dir(lock)


@pytest.mark.parametrize(
    ("what", "code"),
    [("folder", code) for code in (errno.EINVAL, errno.ENOSYS, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)]
    + [("file", code) for code in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)],
)
def test_what_cannot_be_synced_is_recorded_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, code: int
) -> None:
    def refusing(sync: Callable[[int], None]) -> Callable[[int], None]:
        def refuse(descriptor: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{descriptor}") is (what == "folder"):
                raise OSError(code, os.strerror(code))
            sync(descriptor)

        return refuse

    monkeypatch.setattr(os, "fsync", refusing(os.fsync))
    monkeypatch.setattr(os, "fdatasync", refusing(os.fdatasync))
    recording = Recording("door", tmp_path, 600, FsyncMode.ALWAYS)
    result = recording.write([QueuedPart(part) for part in parts_of(encode(EncoderSettings(seconds=2)))])
    assert result.error is None
    [(segment, fragments)] = recording.finish(EndReason.STOPPED).closed
    assert fragments
    assert segment.path(tmp_path).stat().st_size == segment.size
    write_private(tmp_path / "key", b"secret")
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_a_file_whose_data_cannot_be_written_back_is_not_reported_as_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    recording = Recording("door", tmp_path, 600, FsyncMode.ALWAYS)
    result = recording.write([QueuedPart(part) for part in parts_of(encode(EncoderSettings(seconds=2)))])
    assert result.error is not None
    assert result.growing is None
    assert not result.closed


@pytest.mark.parametrize("code", [errno.EPERM, errno.EEXIST, errno.EXDEV, errno.ENOSYS, errno.EBUSY])
def test_a_file_that_cannot_be_renamed_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "key"
    write_private(path, b"a longer secret")
    monkeypatch.setattr(os, "replace", refuse)
    write_private(path, b"secret")
    assert path.read_bytes() == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


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


@pytest.mark.parametrize("has_log", [False, True])
def test_the_index_is_opened_where_a_write_ahead_log_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, has_log: bool
) -> None:
    """For a real refusal, SQLite cannot make the file that it maps as shared memory."""
    recordings = record(tmp_path, encode(EncoderSettings(seconds=1)))
    if has_log:
        # As a process leaves it that was killed: the rows are in the log alone.
        index = index_of(tmp_path, recordings)
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"index.sqlite3{suffix}", tmp_path / f"copy{suffix}")
        index.close()
        for suffix in ("", "-wal"):
            (tmp_path / f"copy{suffix}").rename(tmp_path / f"index.sqlite3{suffix}")
    (tmp_path / "index.sqlite3-shm").symlink_to("nowhere/at/all")
    index = SegmentTable(tmp_path)
    index.open()
    assert "write-ahead log is refused" in caplog.text
    assert len(index.page("door", None, None, 10)) == has_log
    index.save(*recordings[0])
    other = sqlite3.connect(tmp_path / "index.sqlite3")
    assert other.execute("SELECT count(*) FROM segment").fetchone() == (1,), "another program can read it"
    other.close()
    assert len(index.page("door", None, None, 10)) == 1
    index.close()


def test_another_program_that_leaves_the_index_does_not_delete_its_log(tmp_path: Path) -> None:
    """The locks of this process are still there after the file was looked at."""
    index = index_of(tmp_path, record(tmp_path, encode(EncoderSettings(seconds=1))))
    log = tmp_path / "index.sqlite3-wal"
    before = log.stat().st_ino
    assert index.is_in_place()
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM segment').fetchall()"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "index.sqlite3")], check=True)
    assert log.stat().st_ino == before
    assert index.is_in_place()
    index.close()


def test_a_file_system_that_refuses_the_locks_of_sqlite_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes ENOLCK for the lock of another program."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    index = index_of(tmp_path)
    index.close()
    other = sqlite3.connect(tmp_path / "index.sqlite3")
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    with pytest.raises(SettingsError, match="database is locked"):
        index.open()
    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(SettingsError, match="refuses locks"):
        index.open()
    other.close()
