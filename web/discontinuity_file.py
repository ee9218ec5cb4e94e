"""DiscontinuityFile: the limit of :class:`~hls.live.discontinuities.DiscontinuityNumbers`, kept in ``DATA_DIR``."""

from pathlib import Path

from web.private_files import write_private

FILE_NAME = "hls-discontinuities"

DIGITS_MAX = 12


class DiscontinuityFile:
    """See the module. Blocking."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME

    def load(self) -> int:
        """The number in the file; 0 without a file, or for one that has no number. Raises ``OSError``."""
        try:
            with self._path.open("rb") as file:
                text = file.read(DIGITS_MAX + 2).strip()
        except FileNotFoundError:
            return 0
        return int(text) if text.isdigit() and len(text) <= DIGITS_MAX else 0

    def save(self, limit: int) -> None:
        """Write the number. Raises ``OSError``."""
        write_private(self._path, f"{limit}\n".encode())
