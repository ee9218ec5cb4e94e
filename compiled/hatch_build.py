"""Build hook that compiles the modules of ``modules.txt`` with mypyc, and adds them to the wheel.

Theory of operation. Hatchling calls this hook for a wheel and for an editable installation alike. mypy and setuptools
come as wheels, and only if there is something to compile. The wheel gets the extension modules and the finder that
imports them (:mod:`compiled.finder`) as ``liveedge_compiled``. What was compiled is kept in ``build/compiled``, by the
digest of everything that it depends on, so that the next build takes it from there.

Rules:

1. Where nothing can be compiled (no C compiler, no header files of Python), liveedge runs as pure Python. The wheel
   says why, and so does ``liveedge serve`` when it starts.
2. So it does where compiling fails; the output is then in ``build/compiled/log``.
3. ``LIVEEDGE_COMPILE=no`` in the environment of the build leaves it out.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUIREMENTS = ["mypy>=1.15,<3", "setuptools>=77"]

SWITCH = "LIVEEDGE_COMPILE"

TIMEOUT_S = 1200
"""Twenty times what it takes on a machine with nothing else to do."""

NAME = "liveedge_compiled"


class CompileBuildHook(BuildHookInterface[Any]):
    """See the module."""

    PLUGIN_NAME = "compile"

    @property
    def _here(self) -> Path:
        return Path(self.root) / "compiled"

    @property
    def _files(self) -> list[str]:
        lines = (self._here / "modules.txt").read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    @property
    def _output(self) -> Path:
        """Where the extension modules of these sources are kept."""
        digest = hashlib.sha256(f"{sys.version} {sysconfig.get_platform()}".encode())
        for name in ["compiled/compile.py", "compiled/modules.txt", *self._files]:
            digest.update(name.encode() + (Path(self.root) / name).read_bytes())
        return Path(self.root) / "build" / "compiled" / digest.hexdigest()[:16]

    def dependencies(self) -> list[str]:
        return [] if self._obstacle() or self._output.exists() else REQUIREMENTS

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        output = self._output
        reason = self._obstacle()
        if reason is None and not output.exists():
            reason = self._compile(output)
        modules = {file: _digest(Path(self.root) / file) for file in self._files}
        written = Path(self.root) / "build" / "compiled"
        written.mkdir(parents=True, exist_ok=True)
        (written / "manifest.json").write_text(json.dumps({"reason": reason, "modules": modules}, indent=1))
        (written / f"{NAME}.pth").write_text(f"import {NAME}; {NAME}.install()\n")
        included = {
            str(self._here / "finder.py"): f"{NAME}/__init__.py",
            str(written / "manifest.json"): f"{NAME}/manifest.json",
            str(written / f"{NAME}.pth"): f"{NAME}.pth",
        }
        if reason is None:
            for library in output.rglob("*.so"):
                included[str(library)] = f"{NAME}/{library.relative_to(output).as_posix()}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
        else:
            self.app.display_warning(f"liveedge runs as pure Python: {reason}")
        build_data["force_include_editable" if version == "editable" else "force_include"].update(included)

    def _obstacle(self) -> str | None:
        """Why nothing can be compiled here, rule 1."""
        if os.environ.get(SWITCH, "").lower() in ("no", "false", "0"):
            return f"{SWITCH} said so when it was installed"
        compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
        if shutil.which(compiler.split()[0]) is None:
            return "there was no C compiler when it was installed (Debian: apt install gcc python3-dev)"
        if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
            return "there were no header files of Python when it was installed (Debian: apt install python3-dev)"
        return None

    def _compile(self, output: Path) -> str | None:
        """Compile into ``output``; why not, if it failed."""
        parent = output.parent
        shutil.rmtree(parent, ignore_errors=True)
        parent.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=parent) as name:
            made = Path(name, "made")
            command = [sys.executable, str(self._here / "compile.py"), name, str(made), *self._files]
            with (parent / "log").open("w") as log:
                try:
                    subprocess.run(  # noqa: S603
                        command, cwd=self.root, stdout=log, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=True
                    )
                except (OSError, subprocess.SubprocessError) as error:
                    log.write(f"\n{error}\n")
                    return f"its modules could not be compiled when it was installed, see {parent / 'log'}"
            made.rename(output)
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
