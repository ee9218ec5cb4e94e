"""SettingsFile: ``liveedge.toml``, with the line of everything in it.

The parser of the standard library keeps no positions, and a message without a line makes people search. So the text is
read a second time, only for the lines of its headers and keys. A key that this second reading does not find, in an
inline table for example, has the line of the key that contains it. The lines are used in messages and nowhere else.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gateway.errors import SettingsError

CLOSE_ENOUGH = 0.72
"""Likeness (:class:`difflib.SequenceMatcher`) from which a name is suggested: about two wrong letters in ten."""

_HEADER = re.compile(r"\s*\[\[?(?P<keys>[^\[\]]+)\]\]?\s*(?:#.*)?$")
_PAIR = re.compile(r"""\s*(?P<keys>(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_KEY = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True)
class SettingsFile:
    """The values of a file, and their lines. ``lines`` are counted from 1."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file. One that does not exist has no values. Raises :class:`~gateway.errors.SettingsError`."""
        try:
            text = path.read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise SettingsError(f"{path}, line {line}: is not UTF-8: save the file as UTF-8") from None
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from None
        return cls(path, values, _lines(text))

    def where(self, *keys: str) -> str:
        """The beginning of a message about a key: ``liveedge.toml, line 7: ``. Empty text if the file lacks the key."""
        value: object = self.values
        for key in keys:
            if not isinstance(value, Mapping):
                break  # an index: a list has no lines of its own
            if key not in value:
                return ""
            value = value[key]
        for length in range(len(keys), 0, -1):
            if (line := self.lines.get(keys[:length])) is not None:
                return f"{self.path.name}, line {line}: "
        return f"{self.path.name}: "


def suggestion(name: str, known: Iterable[str], cutoff: float = CLOSE_ENOUGH) -> str | None:
    """The known name that is most like ``name``, if one is close enough."""
    close = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=cutoff)
    return close[0] if close else None


def _lines(text: str) -> dict[tuple[str, ...], int]:
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            keys = table = _split(header["keys"])
        elif pair := _PAIR.match(line):
            keys = table + _split(pair["keys"])
        else:
            continue
        for length in range(1, len(keys) + 1):
            lines.setdefault(keys[:length], number)
    return lines


def _split(keys: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in _KEY.findall(keys))
