"""Compile modules to C extensions with mypyc. Run by :mod:`compiled.hatch_build`, in the root of the sources.

    python compile.py TEMPORARY OUTPUT FILE...

``OUTPUT`` gets the extension modules in the folders of their packages, and one library beside them for each package
that the modules call each other through. Both are needed.
"""

import sys
from pathlib import Path

from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

OPTIONS = """
[mypy]
python_version = {version}
explicit_package_bases = True
namespace_packages = True
ignore_missing_imports = True
cache_dir = {cache}
"""
"""Types are checked strictly elsewhere (``make check``). The libraries are not installed where this runs."""


def main() -> None:
    temporary, output, *files = sys.argv[1:]
    settings = Path(temporary, "mypy.ini")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    settings.write_text(OPTIONS.format(version=version, cache=Path(temporary, "cache")))
    packages = sorted({file.split("/")[0] for file in files})
    groups: list[tuple[list[str], str | None]] = [
        ([file for file in files if file.startswith(f"{each}/")], f"liveedge_{each}") for each in packages
    ]
    extensions = mypycify(
        [f"--config-file={settings}", *files],
        separate=groups,
        opt_level="1",
        debug_level="0",
        target_dir=temporary,
    )
    # Not setuptools.setup(), which reads pyproject.toml.
    build = build_ext(Distribution({"name": "liveedge", "ext_modules": extensions}))
    build.build_lib, build.build_temp = output, temporary
    build.parallel = len(packages)
    build.ensure_finalized()
    build.run()


if __name__ == "__main__":
    main()
