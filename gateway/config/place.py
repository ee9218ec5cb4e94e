"""Place: where a setting is written, and how its name is written there.

A message names a setting as its reader wrote it. Texts in the code write the names of settings in upper case, which is
right for the environment; :func:`respell` writes them as the file does where the file has them.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

_NAME = re.compile(r"\b(?P<name>[A-Z][A-Z0-9_]+)\b(?P<value> ?= ?[^\s,;:)]+)?")
_BARE = re.compile(r"true|false|[-+]?\d[\d_.]*")
"""Values that TOML writes without quotes."""
_WORDS = frozenset({"url"})
"""Settings whose names are also words in upper case."""


@dataclass(frozen=True, slots=True)
class Place:
    """``text``: ``liveedge.toml, line 7`` or ``environment``; empty for what is written nowhere: an argument of a call.

    ``name``: how the setting is written there where that is not its name in ``liveedge.toml``.
    """

    text: str = ""
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.text)

    def __str__(self) -> str:
        return f"{self.text}: " if self.text else ""

    def spelled(self, name: str) -> str:
        """The name of the setting ``name`` as it is written here."""
        return self.name or name


NOWHERE = Place()

Where = Callable[..., Place]
"""``where("cameras", "door", "url")`` is where a setting is written."""


def nowhere(*_keys: str) -> Place:
    """The :data:`Where` for settings that are written nowhere: arguments of a call."""
    return NOWHERE


def names_in(message: str, known: Collection[str]) -> list[str]:
    """The settings that a text names in upper case, in its order."""
    names = [match["name"].lower() for match in _NAME.finditer(message)]
    return [name for name in names if name in known and name not in _WORDS]


def respell(message: str, known: Collection[str], where: Where, default: Place) -> str:
    """``message`` with each upper case name of ``known`` as it is written. One that is written nowhere is written as
    ``default`` writes its name."""

    def spell(match: re.Match[str]) -> str:
        name = match["name"].lower()
        place = where(name)
        if name not in known or name in _WORDS or (not place and default.name):
            return match[0]
        if place.name or match["value"] is None:
            return f"{place.spelled(name)}{match['value'] or ''}"
        value = match["value"].strip(" =")
        return f"{name} = {value}" if _BARE.fullmatch(value) else f'{name} = "{value}"'

    return _NAME.sub(spell, message)
