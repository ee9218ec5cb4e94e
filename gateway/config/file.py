"""SettingsFile: ``liveedge.toml``, with the line of everything in it.

The parser of the standard library keeps no positions, and a message without a line makes people search. So the text is
read a second time, only for the lines of its headers and keys. A key that this second reading does not find, in an
inline table for example, has the line of the key that contains it. The lines are used in messages and nowhere else.
"""

import difflib
import errno
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gateway.config.place import NOWHERE, Place
from gateway.errors import SettingsError

CLOSE_ENOUGH = 0.72
"""Likeness (:class:`difflib.SequenceMatcher`) from which a name is suggested: about two wrong letters in ten."""

_HEADER = re.compile(r"\s*\[\[?(?P<keys>[^\[\]]+)\]\]?\s*(?:#.*)?$")
_PAIR = re.compile(r"""\s*(?P<keys>(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_KEY = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_BLANK_IN_HEADER = re.compile(r"\s*\[[\w.-]+[ \t]+[\w.-]")
_AT = re.compile(r"\(at line (?P<line>\d+), column (?P<column>\d+)\)$")


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
            raise SettingsError(unreadable(path, error)) from None
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise SettingsError(f"{path}, line {line}: is not UTF-8: save the file as UTF-8") from None
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(_invalid(path, text, str(error))) from None
        return cls(path, values, _lines(text))

    def where(self, *keys: str) -> Place:
        """The place of a key: ``liveedge.toml, line 7``. It is empty if the file lacks the key."""
        value: object = self.values
        for key in keys:
            if not isinstance(value, Mapping):
                break  # an index: a list has no lines of its own
            if key not in value:
                return NOWHERE
            value = value[key]
        for length in range(len(keys), 0, -1):
            if (line := self.lines.get(keys[:length])) is not None:
                return Place(f"{self.path.name}, line {line}")
        return Place(self.path.name)


def unreadable(path: object, error: OSError) -> str:
    """The message for a file of settings that cannot be read."""
    advice = {
        errno.EACCES: "let the user that runs liveedge read it",
        errno.EISDIR: "it is a directory, and must be a file",
    }.get(error.errno or 0)
    return f"{path} cannot be read" + (f": {advice}" if advice else f" ({error.strerror})")


def suggestion(name: str, known: Iterable[str], cutoff: float = CLOSE_ENOUGH) -> str | None:
    """The known name that is most like ``name``, if one is close enough."""
    close = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=cutoff)
    return close[0] if close else None


def _invalid(path: Path, text: str, error: str) -> str:
    """The message for a file that is no TOML. ``error``, of the parser: ``Invalid value (at line 3, column 8)``."""
    if "overwrite" in error or "twice" in error:
        # The parser names the end of the second one, or no line.
        seen: dict[tuple[str, ...], int] = {}
        for number, keys in _written(text):
            if keys in seen:
                name = ".".join(keys)
                return f"{path.name}, line {number}: {name} is there already, in line {seen[keys]}: remove one of them"
            seen[keys] = number
    if (at := _AT.search(error)) is None:
        return f"{path.name} is not valid TOML: {error}"
    what = f"{error[: at.start()].strip()}, column {at['column']}"
    hint = ': text is written in quotes, as in host = "127.0.0.1"' if what.startswith("Invalid value") else ""
    if _BLANK_IN_HEADER.match(text.split("\n")[int(at["line"]) - 1]):
        hint = ": a name has no blanks, as in [cameras.front-door]"
    return f"{path.name}, line {at['line']}: is not valid TOML: {what}{hint}"


def _lines(text: str) -> dict[tuple[str, ...], int]:
    lines: dict[tuple[str, ...], int] = {}
    for number, keys in _written(text):
        for length in range(1, len(keys) + 1):
            lines.setdefault(keys[:length], number)
    return lines


def _written(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each line with a header or a key, and all keys that lead to it."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            table = _split(header["keys"])
            yield number, table
        elif pair := _PAIR.match(line):
            yield number, table + _split(pair["keys"])


def _split(keys: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in _KEY.findall(keys))
