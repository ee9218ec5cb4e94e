"""The file in which a gateway without a cluster keeps what :mod:`signaling.request_keeper` knows of the EMS."""

from pathlib import Path

from signaling.request_keeper import RequestStore
from web.private_files import write_private


def request_file(data_dir: Path) -> RequestStore:
    """Not readable by others."""
    path = data_dir / "ems-requests.json"

    def load() -> bytes | None:
        return path.read_bytes() if path.exists() else None

    return RequestStore(load, lambda data: write_private(path, data))
