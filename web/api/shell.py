"""The service worker of the page with its shell: the files that it keeps, to start the page without the gateway.

The shell is the page, its style and pictures, and the modules that are loaded before anything is shown. What is loaded
later needs the gateway. Its version is a digest of all of them and of the service worker, so that
browsers see another service worker as soon as one of them differs.
"""

import hashlib
import json
import re
from pathlib import Path

WORKER = "player-service-worker.js"

FIRST = ("index.html", "page.css", "icon.svg", "icon-trouble.svg", "icon-192.png", "manifest.webmanifest")

ENTRY = "player-page.js"

_STATIC_IMPORT = re.compile(r"""(?:\bfrom|\bimport)\s*["']\./([\w-]+\.js)["']""")
"""Modules that are loaded on demand are in ``import("./…")``."""


def shell_files(static: Path) -> list[str]:
    """The names of the shell's files, those of the modules last. Blocking. Raises ``OSError``."""
    modules: list[str] = []
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        if name not in modules:
            modules.append(name)
            waiting += _STATIC_IMPORT.findall((static / name).read_text())
    return [*FIRST, *modules]


def service_worker_text(static: Path) -> tuple[str, str]:
    """The script, and a tag of its contents. Blocking. Raises ``OSError``."""
    names = shell_files(static)
    digest = hashlib.sha256()
    for name in (*names, WORKER):
        digest.update((static / name).read_bytes())
    # Relative to the page, which is the first.
    files = ["" if name == "index.html" else f"static/{name}" for name in names]
    version = digest.hexdigest()[:16]
    shell = json.dumps({"version": version, "files": files})
    return f"self.SHELL = {shell};\n{(static / WORKER).read_text()}", version
