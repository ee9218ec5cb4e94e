"""Hooks of MkDocs (mkdocs.yml): pages of docs/ may link to files of the root, which become part of the site.

A link `../liveedge.example.toml` leads to the file in the repository and on the site alike.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

LINK = re.compile(r"\]\(\.\./(?P<name>[^)#/]+)\)")
"""A Markdown link from a page of docs/ to a file of the root."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each file that a page links to."""
    names = {match["name"] for page in files.documentation_pages() for match in LINK.finditer(page.content_string)}
    for name in sorted(names):
        if (ROOT / name).is_file():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links to where the files are on the site."""
    return LINK.sub(lambda match: f"]({match['name']})", markdown)
