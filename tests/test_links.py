"""The documentation: links have targets, both languages match, every page can be reached from the README."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    """The targets of a page's links. Code is left out."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return LINK.findall(re.sub(r"(?m)^(?: {4}|\t).*$", "", text))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_targets(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "http://127.0.0.1:8000/", "http://localhost:8000/")), link
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(target), f"{link}: {target.name} has no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if ":" not in link]
        waiting += [target for target in targets if target.suffix == ".md" and target.exists()]
    assert not set(PAGES) - reached


def test_both_languages_have_the_same_structure() -> None:
    english, korean = ((ROOT / name).read_text() for name in ("README.md", "README.ko.md"))
    code = re.compile(r"```.*?```", re.DOTALL)
    assert code.findall(english) == code.findall(korean)
    for text in (r"(?m)^## ", r"(?m)^\| `[^|]+"):
        assert len(re.findall(text, english)) == len(re.findall(text, korean))
    assert set(links(ROOT / "README.md")) - {"README.ko.md"} == set(links(ROOT / "README.ko.md")) - {"README.md"}
    names = re.compile(r"`([A-Z][A-Z_]{3,}|/[^`]*|[a-z_]+_request)`")
    assert sorted(names.findall(english)) == sorted(names.findall(korean))
