"""Run a benchmark by its name, or list the benchmarks: ``make bench NAME=fanout ARGS='--viewers 1,20'``."""

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def benchmarks() -> dict[str, str]:
    """Name and first docstring line of each benchmark: the modules of this folder that can be run."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        text = path.read_text()
        if path.stem != "__main__" and '\nif __name__ == "__main__":\n' in text:
            found[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def main() -> int:
    """Run the benchmark that the first argument names; without one, list all."""
    known = benchmarks()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in known:
        if name:
            print(f"there is no benchmark {name!r}", file=sys.stderr)
        print("usage: make bench NAME=<name> [ARGS='--help']")
        for each, about in known.items():
            print(f"  {each:16} {about}")
        return 2 if name else 0
    sys.argv[:2] = [f"bench.{name}"]
    runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
