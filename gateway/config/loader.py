"""Load settings: from the environment, ``.env`` files and ``liveedge.toml``.

A value is taken from the first place that has it: an argument of :func:`load`; the process environment;
``.env.<ENVIRONMENT>`` and then ``.env`` in the working directory; ``liveedge.toml`` there (``LIVEEDGE_CONFIG`` names
another file). Names are upper case in the environment and lower case in the file.

Rules:

1. A wrong value is refused with the place where it is written and what to do.
2. A name in ``liveedge.toml`` that is not a setting is refused. The settings of one package alone ignore it, because it
   may be the setting of another package (:attr:`LoadedSettings.is_complete`).
3. The environment is shared with other programs. A name there that only looks like a setting is a warning
   (:func:`unknown_names`).
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway.config.file import SettingsFile, suggestion, unreadable
from gateway.config.messages import Fault, InvalidSettingsError, explain, unknown
from gateway.config.place import NOWHERE, Place, names_in, respell
from gateway.errors import LiveedgeError, SettingsError

ENVIRONMENT_ONLY = ("environment", "liveedge_config")
"""These name the files to read, and so cannot be written in one."""

LIKENESS = 0.86
"""Likeness from which a name of the environment counts as a misspelt setting. Most names there are not settings."""

LIKENESS_WITH_PREFIX = 0.6
"""The same for a name that begins like a setting."""

NAME_MIN_CHARS = 5
"""Shorter names are too easily alike."""


class LoadedSettings(BaseSettings):
    """Base of settings that :func:`load` builds."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    is_complete: ClassVar[bool] = False
    """Whether these are all settings of the program; see rule 2."""

    def check_file(self, file: SettingsFile) -> None:
        """Check what needs the places of the file. Raises :class:`~gateway.errors.SettingsError`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            EnvSettingsSource(settings_cls, env_ignore_empty=True),
            DotEnvSettingsSource(settings_cls, env_file=env_files(), env_ignore_empty=True),
            InitSettingsSource(settings_cls, dict(SettingsFile.read(config_file()).values)),
        )


S = TypeVar("S", bound=LoadedSettings)


def load(model: type[S], overrides: Mapping[str, Any]) -> S:
    """Settings of this process. ``overrides`` win over everything. Raises :class:`~gateway.errors.SettingsError`."""
    file = SettingsFile.read(config_file())
    if os.environ.get("LIVEEDGE_CONFIG") and not file.path.exists():
        raise SettingsError(f"LIVEEDGE_CONFIG names {file.path}, which does not exist: correct the path or unset it")
    if model.is_complete:
        for name in file.values:
            if name not in model.model_fields:
                message = _misplaced(file.values[name], model.model_fields) or unknown(name, model.model_fields)
                raise InvalidSettingsError(Fault(file.where(name), name, message))

    def where(*keys: str) -> Place:
        if keys[0] in overrides:
            return NOWHERE
        return place_outside(keys[0]) or file.where(*keys)

    try:
        settings = model(**overrides)
    except ValidationError as error:
        raise explain(error, where, model) from None
    except OSError as error:
        raise SettingsError(unreadable(error.filename, error)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"a .env file is not UTF-8 ({error.reason}): save it as UTF-8") from None
    settings.check_file(file)
    return settings


def _misplaced(table: object, known: Iterable[str]) -> str:
    """The message for a table that is not one of ours and has settings in it; empty for anything else."""
    found = next((name for name in known if isinstance(table, Mapping) and name in table), None)
    if found is None:
        return ""
    return f"{found} is not written in a table: move it above the first [table] of the file, and remove this one"


def located(error: LiveedgeError, model: type[LoadedSettings]) -> str:
    """The message of an error, with the place of the first setting that it names, and all of them named as written.

    A message that has its place, or names no setting that is written anywhere, is unchanged.
    """
    message = str(error)
    if isinstance(error, InvalidSettingsError):
        return message
    try:
        file = SettingsFile.read(config_file())

        def where(name: str) -> Place:
            return place_outside(name) or file.where(name) or _in_one_table(file, name)

        known = model.model_fields
        place = next((place for name in names_in(message, known) if (place := where(name))), NOWHERE)
        return f"{place}{respell(message, known, where, place)}" if place else message
    except (SettingsError, OSError, UnicodeDecodeError):
        return message  # a file that cannot be read any more


def _in_one_table(file: SettingsFile, name: str) -> Place:
    """Where the only camera's table is that has a setting."""
    names = ("engine", name) if name == "capture_engine" else (name,)
    tables = file.values.get("cameras", {})
    found = [
        Place(str(file.where("cameras", camera_id, each).text), each)
        for camera_id, table in (tables.items() if isinstance(tables, Mapping) else ())
        for each in names
        if isinstance(table, Mapping) and each in table
    ]
    return found[0] if len(found) == 1 else NOWHERE


OF_NODE_JS = frozenset(
    f"NODE_{name}"
    for name in [
        "COMPILE_CACHE",
        "DEBUG",
        "DEBUG_NATIVE",
        "DISABLE_COLORS",
        "ENV",
        "EXTRA_CA_CERTS",
        "ICU_DATA",
        "NO_WARNINGS",
        "OPTIONS",
        "PATH",
        "PENDING_DEPRECATION",
        "PRESERVE_SYMLINKS",
        "REDIRECT_WARNINGS",
        "REPL_HISTORY",
        "TLS_REJECT_UNAUTHORIZED",
        "USE_ENV_PROXY",
        "V8_COVERAGE",
        "VERSION",
    ]
)
"""Variables of Node.js and of its images (https://nodejs.org/api/cli.html): they are in many environments."""


def config_file() -> Path:
    """The path of ``liveedge.toml``, which may not exist."""
    return Path(os.environ.get("LIVEEDGE_CONFIG") or "liveedge.toml")


def env_files() -> tuple[str, ...]:
    """The ``.env`` files to read. A later one wins."""
    environment = os.environ.get("ENVIRONMENT")
    return (".env", f".env.{environment}") if environment else (".env",)


def place_outside(name: str) -> Place:
    """Where a setting is that wins over ``liveedge.toml``: ``environment`` or ``.env, line 3``, or nowhere."""
    for place, values in _places():
        key = next((key for key, value in values.items() if key.lower() == name.lower() and value), None)
        if key is not None:
            return Place(place(key), key)
    return NOWHERE


def unknown_names(model: type[BaseSettings], prefixes: tuple[str, ...]) -> list[str]:
    """A warning for every name in the environment and the ``.env`` files that looks like a setting and is none.

    A name that begins with one of ``prefixes`` looks like a setting, whatever follows.
    """
    known = {*model.model_fields, *ENVIRONMENT_ONLY} - {"cameras"}
    warnings = []
    for place, values in _places():
        for name in sorted(values):
            if name.lower() in known or name in OF_NODE_JS:
                continue
            has_prefix = name.lower().startswith(prefixes)
            likeness = LIKENESS_WITH_PREFIX if has_prefix else LIKENESS
            meant = suggestion(name, known, likeness) if len(name) >= NAME_MIN_CHARS else None
            if meant is not None:
                warnings.append(f"{place(name)}: {name} is not a setting and is ignored: did you mean {meant.upper()}?")
            elif has_prefix:
                warnings.append(f"{place(name)}: {name} is not a setting and is ignored")
    return warnings


def _places() -> Iterator[tuple[Callable[[str], str], Mapping[str, str | None]]]:
    """The places that win over ``liveedge.toml``, the strongest first: where a name is there, and names and values."""
    yield lambda _: "environment", os.environ
    for file in reversed(env_files()):
        yield partial(_line_of, file), dotenv_values(file)


def _line_of(file: str, name: str) -> str:
    """``.env, line 3``. Of several lines for one name the last counts."""
    line = None
    for binding in parse_stream(io.StringIO(Path(file).read_text(encoding="utf-8"))):
        if binding.key == name:
            text = binding.original.string  # with the blank lines before it
            line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
    return file if line is None else f"{file}, line {line}"
