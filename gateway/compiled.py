"""Whether the modules that run for each packet are compiled (``compiled/modules.txt`` in the sources)."""

import sys


def pure_reason() -> str | None:
    """Why they run as pure Python, as a part of a sentence; ``None``: they are compiled.

    Known once they were imported.
    """
    finder = sys.modules.get("liveedge_compiled")
    found = finder.reason() if finder is not None else "it was not installed with compiled modules"
    return str(found) if found is not None else None
