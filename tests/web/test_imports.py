"""What a gateway loads when it starts. A library that it does not need yet takes megabytes for nothing."""

import subprocess
import sys

NOT_LOADED = ("cv2", "numpy", "sqlalchemy.dialects.postgresql")
"""12 MB, 11 MB and 3 MB."""


def test_a_start_loads_no_library_that_only_some_gateways_need() -> None:
    """Engines that draw pictures load numpy and OpenCV, an index in PostgreSQL its dialect."""
    program = "import sys, web.cli, web.app; print(*(name for name in sys.argv[1:] if name in sys.modules))"
    command = [sys.executable, "-c", program, *NOT_LOADED]
    loaded = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert loaded.split() == []
