"""Settings as text for people: the tables of the documentation and the annotated example, made from the settings' data.

``scripts/generate-settings`` writes them into the files; ``make settings-docs`` runs it.
"""

import re
import textwrap
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gateway.config.field import Applies, Setting, settings_of
from gateway.settings import GatewaySettings

APPLIES = {Applies.LIVE: "at once", Applies.RUN: "new run", Applies.RESTART: "restart"}

EXAMPLE_WIDTH = 118


def table(model: type[GatewaySettings]) -> str:
    """One Markdown table for each group of settings."""
    per_camera = {each.name: each for each in settings_of(model.camera_model)}
    parts = []
    for title, settings in _groups(model).items():
        rows = [
            "| setting | default | unit, range | meaning | a change applies | per camera |",
            "|---|---|---|---|---|---|",
        ]
        for each in settings:
            cells = (
                f"`{each.name.upper()}`",
                _default_cell(each),
                ", ".join(filter(None, (each.unit, _bounds(each)))),
                each.help + _choices(each),
                APPLIES[each.applies],
                _per_camera_cell(each, per_camera.get(each.name)),
            )
            rows.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
        parts.append(f"### {title}\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def example(model: type[GatewaySettings]) -> str:
    """Every setting as a commented line of ``liveedge.toml``, with its meaning above it. Tables are left out."""
    parts = []
    for title, settings in _groups(model).items():
        entries = [_entry(each) for each in settings if not _is_table(each)]
        if entries:
            parts += [f"# --- {title}", *entries]
    return "\n\n".join(parts)


def _entry(each: Setting) -> str:
    default = _default(each)
    about = each.help + _choices(each)
    if each.help[0].islower():
        about = about[0].upper() + about[1:]
    about = re.sub(r"\[([^]]*)\]\((\w+\.md)[^)]*\)", r"\1 (docs/\2)", about)
    facts = [f"{about}."]
    if default in (None, []):
        facts.append(f"Default: {each.unset or 'not set'}. The value is an example.")
    if each.unit or _bounds(each):
        facts.append(f"Unit: {each.unit}." if each.unit else f"Range: {_bounds(each)}.")
    if each.applies is Applies.RESTART:
        facts.append("(restart)")
    text = " ".join(facts).replace("`", "")
    lines = textwrap.wrap(text, EXAMPLE_WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    return "\n".join([*lines, f"# {each.name} = {_toml(default if default not in (None, []) else each.example)}"])


def _groups(model: type[GatewaySettings]) -> Mapping[str, list[Setting]]:
    """The settings of each group. Groups with the same title are one."""
    groups: dict[str, list[Setting]] = {}
    for each in settings_of(model):
        groups.setdefault(each.group, []).append(each)
    return groups


def _default(each: Setting) -> Any:
    default = each.field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return None
    return default.value if isinstance(default, Enum) else default


def _default_cell(each: Setting) -> str:
    default = _default(each)
    if _is_table(each) or default in (None, []):
        return each.unset or ""
    return f"`{default}`" if not isinstance(default, bool) else f"`{str(default).lower()}`"


def _per_camera_cell(each: Setting, of_camera: Setting | None) -> str:
    """Whether a camera's table may have the setting, and when a change there applies if that differs."""
    if of_camera is None:
        return ""
    return "yes" if of_camera.applies is each.applies else f"yes, {APPLIES[of_camera.applies]}"


def _is_table(each: Setting) -> bool:
    return isinstance(_default(each), dict | BaseModel)


def _bounds(each: Setting) -> str:
    found = {
        name: value
        for item in each.field.metadata
        for name in ("ge", "gt", "le")
        if (value := getattr(item, name, None)) is not None
    }
    if "ge" in found and "le" in found:
        return f"{found['ge']} to {found['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most"}
    return ", ".join(f"{words[name]} {value}" for name, value in found.items())


def _choices(each: Setting) -> str:
    """The values of an enumeration, as a sentence that follows the help text."""
    annotation = each.field.annotation
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return f". One of {', '.join(f'`{item.value}`' for item in kind)}"
    return ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Enum):
        value = value.value
    return str(value) if isinstance(value, int | float) else f'"{value}"'
