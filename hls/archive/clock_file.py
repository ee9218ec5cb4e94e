"""Read the clocks of the host, and keep the state of the :class:`~hls.archive.clock_guard.ClockGuard` in ``DATA_DIR``.

The confirmation of ``liveedge confirm-clock`` is a file, too: it works whether a gateway runs or not, for each user who
may write to the recordings. It holds the wall clock of that moment, and is void if the clock has been set since.
Blocking.
"""

import ctypes
import uuid
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from gateway.clock import Clock, boot_seconds, seconds_90k
from gateway.errors import SettingsError
from hls.archive.clock_guard import ClockReading, ClockState
from hls.archive.data_dir import FILE_MODE, write_private_text
from hls.archive.durable import replace_file

STATE_FILE = "clock.json"

CONFIRMATION_FILE = "clock.confirmed"

CONFIRMED_WITHIN_S = 3600.0
"""A confirmation is void when the wall clock is further from it than this."""

_STA_UNSYNC = 0x0040
"""adjtimex(2): the clock is not synchronized."""

_TIMEX_BYTES = 512
"""More than any ``struct timex`` has (208 on 64-bit Linux)."""


@cache
def boot_id() -> str:
    """The name of this boot of the host; where the system has none, that of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex


def is_synchronized() -> bool:
    """Whether the kernel says that NTP has set the wall clock; false where it does not say (adjtimex(2))."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    # struct timex begins with modes (int), offset, freq, maxerror, esterror (long) and status (int).
    buffer = (ctypes.c_long * (_TIMEX_BYTES // ctypes.sizeof(ctypes.c_long)))()
    if adjtimex(ctypes.byref(buffer)) < 0:
        return False
    status = ctypes.c_int.from_buffer(buffer, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & _STA_UNSYNC


def read_clocks(clock: Clock) -> ClockReading:
    """All clocks now."""
    return ClockReading(clock.wall_90k(), boot_seconds(clock), boot_id(), is_synchronized())


def load_state(data_dir: Path) -> ClockState | None:
    """The saved state; ``None`` if there is none that can be read."""
    try:
        return ClockState.model_validate_json((data_dir / STATE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def save_state(data_dir: Path, state: ClockState) -> None:
    """Replace the saved state. Raises ``OSError``."""
    path = data_dir / STATE_FILE
    new = path.with_suffix(".new")
    write_private_text(new, state.model_dump_json())
    replace_file(new, path, FILE_MODE)


def write_confirmation(data_dir: Path, clock: Clock) -> None:
    """Confirm that the wall clock is right. Raises :class:`~gateway.errors.SettingsError`."""
    try:
        write_private_text(data_dir / CONFIRMATION_FILE, str(clock.wall_90k()))
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}): run this as the user that runs liveedge"
        ) from None


def take_confirmation(data_dir: Path, wall_90k: int) -> bool:
    """Whether the wall clock was confirmed, and has not been set since. The confirmation is used up."""
    path = data_dir / CONFIRMATION_FILE
    try:
        text = path.read_text()[:20]
        path.unlink()
        confirmed_90k = int(text)
    except (OSError, ValueError):
        return False
    return abs(wall_90k - confirmed_90k) < seconds_90k(CONFIRMED_WITHIN_S)
