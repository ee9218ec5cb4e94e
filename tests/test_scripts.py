"""The scripts that keep the repository in order: constraints, release notes, the list of benchmarks."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from signaling.asyncapi import asyncapi_document

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)


# --- constraints


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("constraints.txt", "\nyarl==", "\nyarl>=", "is not a name and an exact version"),
        ("constraints.txt", "\nyarl==", "\nhttps://example.com/yarl.whl\nyarl==", "is not a name and an exact version"),
        ("constraints.txt", "\nyarl==", "\n--index-url https://example.com\nyarl==", "is not a name and an exact"),
        ("constraints.txt", "\nyarl==", "\ncurly==", "yarl<2,>=1.18 has 0 versions for Python 3.11"),
        ("constraints.txt", "\naiortc==", "\naiortc==0.", "aiortc<2,>=1.16 is not met by 0."),
        ("pyproject.toml", '    "yarl>=', '    "an-added-package",\n    "yarl>=', "an-added-package has 0 versions"),
        (
            "pyproject.toml",
            "[project.optional-dependencies]",
            '[project.optional-dependencies]\nx = ["extra"]',
            "extra",
        ),
        ("pyproject.toml", "[dependency-groups]", '[dependency-groups]\nx = ["grouped"]', "grouped has 0 versions"),
    ],
)
def test_constraints_that_do_not_fit_are_named(tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    assert run("scripts/constraints", "--check", "--root", tmp_path).returncode == 0
    text = (tmp_path / file).read_text()
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new))
    done = run("scripts/constraints", "--check", "--root", tmp_path)
    assert done.returncode == 1
    assert fault in done.stderr


# --- release notes


def test_release_notes_are_the_section_of_their_version(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "release-notes", tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- soon\n\n"
        "## 0.2.0 - 2026-12-01\n\n### Added\n\n- this\n\n## [0.1.0]\n\n- that\n"
    )
    for version, notes in (("v0.2.0", "### Added\n\n- this\n"), ("0.1.0", "- that\n"), ("Unreleased", "- soon\n")):
        assert run("scripts/release-notes", version, cwd=tmp_path).stdout == notes
    done = run("scripts/release-notes", "v0.3.0", cwd=tmp_path)
    assert done.returncode == 1
    assert "0.3.0" in done.stderr


def test_the_changelog_has_notes_for_the_next_release() -> None:
    assert run("scripts/release-notes", "Unreleased").stdout.startswith("### ")


# --- benchmarks


def test_benchmarks_are_listed_and_run_by_name() -> None:
    done = run("-m", "bench")
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    files = {path.stem for path in (ROOT / "bench").glob("*.py")}
    assert "fanout" in listed
    assert set(listed) <= files
    unknown = run("-m", "bench", "fan-out")
    assert unknown.returncode == 2
    assert "no benchmark" in unknown.stderr
    # A benchmark gets its arguments: this one prints its help.
    helped = run("-m", "bench", "index", "--help")
    assert helped.returncode == 0
    assert "--segments" in helped.stdout


# --- commands that files name


@pytest.mark.parametrize(
    "file", ["CONTRIBUTING.md", "README.md", ".pre-commit-config.yaml", ".devcontainer/devcontainer.json", ".ci/run"]
    + [str(path.relative_to(ROOT)) for path in sorted((ROOT / ".github").rglob("*.*"))],
)  # fmt: skip
def test_make_targets_that_files_name_exist(file: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z./-]+):", (ROOT / "Makefile").read_text()))
    text = (ROOT / file).read_text()
    named = set(re.findall(r"(?:`|run: |^|\")make (?:-s )?([a-z./-]+)", text, re.MULTILINE))
    assert named <= targets
    assert named or "make" not in text or file.endswith("template.md")


def test_extras_that_messages_and_documents_name_exist() -> None:
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    code = "".join(path.read_text() for path in (ROOT / "hls").rglob("*.py"))
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    lists = re.findall(r"EXTRAS=([a-z0-9,]+)", pages)
    assert set(re.findall(r"install_extra\('(\w+)'\)", code)) == declared
    assert {name for names in lists for name in names.split(",")} == declared
    assert "pip install 'liveedge[" not in code + pages, "liveedge is on no registry"


def test_workflows_and_templates_are_yaml_with_what_github_requires() -> None:
    for path in (ROOT / ".github" / "workflows").iterdir():
        workflow = yaml.safe_load(path.read_text())
        assert {"name", True, "jobs", "permissions"} <= set(workflow), path  # YAML reads the key `on` as true
        for job in workflow["jobs"].values():
            assert job["runs-on"]
            assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        template = yaml.safe_load(path.read_text())
        if path.name != "config.yml":
            assert {"name", "description", "body"} <= set(template), path
            ids = [field["id"] for field in template["body"]]
            assert len(ids) == len(set(ids))
    pythons = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["check"]["strategy"]["matrix"]
    assert pythons["python"] == ["3.11", "3.12", "3.13", "3.14"]


# --- the version of the Socket.IO events

GUIDE = "| version | what changed |\n| 1.2.3 | old |\n| 1.2.4 | text |\n| 1.3.0 | a field |\n| 2.0.0 | less |\n"
SCHEMA = {"properties": {"title": {"type": "string", "description": "A text"}}, "required": ["title"]}


def document(version: str, schema: object) -> dict[str, object]:
    return {"info": {"version": version}, "components": {"schemas": {"Request": schema}}}


@pytest.mark.parametrize(
    ("schema", "least"),
    [
        (SCHEMA, "1.2.3"),
        ({**SCHEMA, "description": "More text"}, "1.2.4"),
        ({**SCHEMA, "properties": {"title": {"type": "string", "description": "Another text"}}}, "1.2.4"),
        ({**SCHEMA, "properties": {**SCHEMA["properties"], "width": {"type": "integer"}}}, "1.3.0"),  # type: ignore[dict-item]
        ({**SCHEMA, "required": ["title", "width"]}, "1.3.0"),
        ({**SCHEMA, "properties": {"title": {"type": "integer", "description": "A text"}}}, "1.3.0"),
        ({**SCHEMA, "properties": {}}, "2.0.0"),
        ({"properties": SCHEMA["properties"]}, "2.0.0"),
    ],
)
def test_a_change_of_the_events_needs_another_version(schema: object, least: str) -> None:
    fault_of = runpy.run_path(str(ROOT / "scripts" / "generate-types"))["version_fault"]
    published = document("1.2.3", SCHEMA)
    for version in ("1.2.3", "1.2.4", "1.3.0", "2.0.0"):
        fault = fault_of(published, document(version, schema), GUIDE)
        assert (fault is None) == (version >= least), (version, fault)
        if fault is not None:
            assert f"to at least {least}" in fault
    assert fault_of(published, document("1.2.2", SCHEMA), GUIDE + "| 1.2.2 | older |\n")
    assert "no line about version 3.0.0" in fault_of(published, document("3.0.0", schema), GUIDE)


def test_the_published_events_are_those_of_their_version() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "generate-types"))
    published = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
    assert published == asyncapi_document(""), "EVENTS_VERSION, the table of docs/ems.md, then `make types`"
    assert script["version_fault"](published, published, (ROOT / "docs" / "ems.md").read_text()) is None


# --- the command


def test_python_starts_each_name_of_the_command() -> None:
    helps = {name: run("-m", name, "serve", "--help") for name in ("web", "gateway")}
    for name, done in helps.items():
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout.startswith("usage: liveedge serve"), name
