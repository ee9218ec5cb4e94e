"""liveedge_compiled: imports liveedge's compiled modules in place of their sources, while they are the same.

Theory of operation. :mod:`compiled.hatch_build` installs this file as ``liveedge_compiled/__init__.py``, with a
manifest and the extension modules beside it, and a ``.pth`` file that calls :func:`install` when Python starts. So the
sources' folder has no binaries in it, in an editable installation and in an ordinary one alike.

Rules:

1. A compiled module is used if the sources of all of them are, byte for byte, those that were compiled: they call each
   other without looking names up. Otherwise all are imported as Python, and :func:`reason` says why.
2. The sources compared are those that Python would import, wherever they are.
3. ``LIVEEDGE_COMPILED=no`` in the environment imports Python, for a debugger or a profiler.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

SWITCH = "LIVEEDGE_COMPILED"

_HERE = Path(__file__).parent


class CompiledFinder(MetaPathFinder):
    """See the module. ``modules`` are the digests (SHA-256) of the sources by their file, as ``gateway/media.py``."""

    def __init__(self, folder: Path, modules: dict[str, str], reason: str | None = None) -> None:
        self.reason = reason
        """Why the modules are Python; ``None``: they are compiled, as far as is known."""
        self._folder = folder
        self._modules = modules
        self._names = {file.removesuffix(".py").replace("/", "."): file for file in modules}
        self._checked: set[Path] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.reason is not None:
            return None
        if path is None:
            # The libraries that the modules call each other through.
            return self._spec(fullname) if fullname.startswith("liveedge_") else None
        file = self._names.get(fullname)
        if file is None:
            return None
        root = next((Path(each).parents[file.count("/") - 1] for each in path), None)
        if root is None or not self._is_current(root):
            return None
        return self._spec(fullname)

    def _spec(self, name: str) -> ModuleSpec | None:
        for suffix in EXTENSION_SUFFIXES:
            place = self._folder / (name.replace(".", "/") + suffix)
            if place.exists():
                return spec_from_file_location(name, place, loader=ExtensionFileLoader(name, str(place)))
        return None

    def _is_current(self, root: Path) -> bool:
        """Rule 1. The first fault is kept: what was imported before cannot be taken back."""
        if root not in self._checked:
            self._checked.add(root)
            for file, digest in self._modules.items():
                try:
                    found = hashlib.sha256((root / file).read_bytes()).hexdigest()
                except OSError:
                    found = ""
                if found != digest:
                    self.reason = f"{file} has changed since it was compiled; install liveedge again (make does)"
                    break
        return self.reason is None


def install() -> None:
    """Import compiled modules from now on."""
    if _installed() is not None:
        return
    try:
        manifest = json.loads((_HERE / "manifest.json").read_text())
    except (OSError, ValueError):
        return
    reason = manifest["reason"]
    if os.environ.get(SWITCH, "").lower() in ("no", "false", "0"):
        reason = f"{SWITCH} says so"
    sys.meta_path.insert(0, CompiledFinder(_HERE, manifest["modules"], reason))


def reason() -> str | None:
    """Why liveedge's modules are Python; ``None``: they are compiled."""
    finder = _installed()
    return finder.reason if finder is not None else "it was installed without compiled modules"


def _installed() -> CompiledFinder | None:
    return next((each for each in sys.meta_path if isinstance(each, CompiledFinder)), None)
