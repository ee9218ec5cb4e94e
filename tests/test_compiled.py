"""Compiled modules: they are used while their sources are what was compiled, and pure Python is used otherwise."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hatchling.bridge.app import Application

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tests_compiled_{name}", ROOT / "compiled" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files() -> list[str]:
    lines = (ROOT / "compiled" / "modules.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


HOOK = load("hatch_build").CompileBuildHook
FINDER = load("finder").CompiledFinder


def run(code: str, folder: Path, **environment: str) -> list[str]:
    """The lines that Python prints, in a folder from which it imports what is there."""
    environment = {**os.environ, **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


WHERE = (
    "import gateway.packet, hls.parts.segmenter; from gateway.compiled import pure_reason;"
    " print(pure_reason()); print(gateway.packet.__file__); print(hls.parts.segmenter.__file__)"
)
"""Prints whether modules are compiled, and where two of them come from."""


@pytest.mark.integration
def test_this_suite_runs_over_compiled_modules_where_they_can_be_compiled() -> None:
    """``make test`` compiles what was edited, as ``make run`` does."""
    reason, *places = run(WHERE, ROOT, LIVEEDGE_COMPILED="")
    obstacle = HOOK(str(ROOT), {}, None, None, "", "wheel")._obstacle()
    assert reason == str(obstacle)
    suffixes = (".py",) if obstacle else tuple(EXTENSION_SUFFIXES)
    assert all(place.endswith(suffixes) for place in places)


@pytest.mark.integration
def test_a_switch_imports_python(tmp_path: Path) -> None:
    [reason] = run("import liveedge_compiled; print(liveedge_compiled.reason())", tmp_path, LIVEEDGE_COMPILED="no")
    assert reason == "LIVEEDGE_COMPILED says so"


@pytest.mark.integration
def test_a_changed_source_is_never_used_compiled(tmp_path: Path) -> None:
    for package in ("gateway", "hls", "signaling", "web"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("player", "static"))
    with (tmp_path / "hls" / "parts" / "segmenter.py").open("a") as source:
        source.write("\n# edited\n")
    reason, *places = run(WHERE, tmp_path, LIVEEDGE_COMPILED="")
    assert "has changed" in reason or "without compiled modules" in reason or "when it was installed" in reason
    assert places == [str(tmp_path / "gateway/packet.py"), str(tmp_path / "hls/parts/segmenter.py")]


def test_all_modules_are_compiled_or_none(tmp_path: Path) -> None:
    sources, libraries = tmp_path / "sources", tmp_path / "libraries"
    for name in ("one", "two"):
        (sources / "package").mkdir(parents=True, exist_ok=True)
        (sources / "package" / f"{name}.py").write_text(name)
        (libraries / "package").mkdir(parents=True, exist_ok=True)
        (libraries / "package" / f"{name}{EXTENSION_SUFFIXES[0]}").touch()
    modules = {f"package/{name}.py": hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two")}
    path = [str(sources / "package")]
    spec = FINDER(libraries, modules).find_spec("package.one", path)
    assert isinstance(spec.loader, ExtensionFileLoader)
    assert FINDER(libraries, modules).find_spec("package.other", path) is None
    (sources / "package" / "two.py").write_text("something else")
    finder = FINDER(libraries, modules)
    assert finder.find_spec("package.one", path) is None
    assert finder.reason.startswith("package/two.py has changed")
    (sources / "package" / "two.py").unlink()
    assert FINDER(libraries, modules).find_spec("package.one", path) is None


def test_every_listed_module_exists_and_belongs_to_the_package() -> None:
    assert files() == sorted(files())
    for file in files():
        assert (ROOT / file).is_file()
        assert file.split("/")[0] in ("gateway", "hls")
        assert not file.endswith("__init__.py")


@pytest.fixture
def build(tmp_path: Path) -> Callable[[], tuple[str, dict[str, str]]]:
    """Builds a small tree; returns why it is pure Python, and what the wheel gets."""
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "small.py").write_text("ONE = 1\n")
    shutil.copytree(ROOT / "compiled", tmp_path / "compiled", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "compiled" / "modules.txt").write_text("# few\ngateway/small.py\n")

    def built() -> tuple[str, dict[str, str]]:
        hook = HOOK(str(tmp_path), {}, None, None, "", "wheel", Application())
        data: dict[str, Any] = {"force_include": {}, "force_include_editable": {}}
        hook.initialize("editable", data)
        assert data["force_include"] == {}
        included: dict[str, str] = data["force_include_editable"]
        manifest = json.loads(next(Path(each) for each in included if each.endswith("manifest.json")).read_text())
        return manifest["reason"], {target: place for place, target in included.items()}

    return built


Build = Callable[[], tuple[str, dict[str, str]]]


def test_without_a_compiler_it_is_pure_python_and_says_so(
    build: Build, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    reason, included = build()
    assert "no C compiler" in reason
    assert "liveedge runs as pure Python: there was no C compiler" in capfd.readouterr().err
    assert sorted(included) == [
        "liveedge_compiled.pth",
        "liveedge_compiled/__init__.py",
        "liveedge_compiled/manifest.json",
    ]


def test_it_can_be_left_out(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEEDGE_COMPILE", "no")
    assert build()[0] == "LIVEEDGE_COMPILE said so when it was installed"


@pytest.mark.integration
def test_compiling_that_fails_does_not_fail_the_installation(build: Build, tmp_path: Path) -> None:
    (tmp_path / "compiled" / "compile.py").write_text('raise SystemExit("cannot compile this")')
    reason, included = build()
    assert "could not be compiled" in reason
    assert "cannot compile this" in Path(reason.split("see ")[1]).read_text()
    assert not any(target.endswith(".so") for target in included)
