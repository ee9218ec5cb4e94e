"""What people read when a setting is wrong: where it is written, its name, what is wrong and what to do.

Names are as the reader wrote them. No message contains a value: it may be a secret.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.config.faults import describe
from gateway.config.field import data_of, fields_at
from gateway.config.file import suggestion
from gateway.config.place import NOWHERE, Place, Where, nowhere, respell
from gateway.errors import SettingsError

_OF_TABLES = frozenset({"dict_type", "model_type", "model_attributes_type"})
_OF_NUMBERS = frozenset({"int_type", "int_parsing", "int_from_float", "float_type", "float_parsing"})
"""Types of errors of pydantic."""

DOCUMENTATION = "docs/configuration.md"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    place: Place
    setting: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}{self.message}"


class InvalidSettingsError(SettingsError):
    """Settings that cannot be used, with each fault."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def contradiction(message: str, *names: str) -> PydanticCustomError:
    """The error that a validator raises for settings that do not fit together. ``names`` are those settings.

    The message names the place where the first of them is written. It has their names in upper case; the reader gets
    them as they are written (:func:`~gateway.config.place.respell`).
    """
    return PydanticCustomError("contradiction", "{message}", {"message": message, "names": names})


def unknown(name: str, known: Iterable[str], key: str | None = None) -> str:
    """The message for a name that is no setting. ``key``: the last part of the name, if that is to be compared."""
    meant = suggestion(key or name, known)
    return f"{name} is not a setting" + (f": did you mean {meant}?" if meant else f"; {DOCUMENTATION} lists them all")


def install_extra(extra: str) -> str:
    """The end of a message: how to install what only some settings need, ``postgres`` or ``s3``."""
    return f"make run EXTRAS={extra} in a checkout, or pip install 'liveedge-….whl[{extra}]'"


def explain(
    error: ValidationError, where: Where = nowhere, model: type[BaseModel] = BaseModel, subject: str = ""
) -> InvalidSettingsError:
    """The error with a message for people. ``subject`` begins each message: ``camera door: ``.

    ``model`` is what was validated: it has the units and examples of its settings.
    """
    faults = []
    for item in error.errors(include_input=False, include_url=False):
        if item["type"] == "contradiction":
            names = item["ctx"]["names"]
            place = next((place for name in names if (place := where(name))), NOWHERE)
            faults.append(Fault(place, names[0], subject + respell(item["msg"], model.model_fields, where, place)))
            continue
        faults.append(_fault(item, where, model, subject))
    return InvalidSettingsError(*faults)


def _fault(item: ErrorDetails, where: Where, model: type[BaseModel], subject: str) -> Fault:
    loc, kind = item["loc"] or ("settings",), item["type"]
    keys = [str(part) for part in loc]
    is_missing = kind == "missing"
    # The table that lacks it.
    place = where(*keys[:-1]) if is_missing and (subject or len(keys) > 1) else where(*keys)
    name = _readable(loc, place)
    if kind == "extra_forbidden":
        joined = "_".join(keys)
        message = (
            f"{name} is not a setting: did you mean {joined}, above the first [table] of the file?"
            if joined in model.model_fields
            else unknown(name, fields_at(model, keys[:-1]), keys[-1])
        )
    elif is_missing and place:
        message = f"{name} is missing: add it to the table, as in {DOCUMENTATION}"
    elif kind in _OF_TABLES and place:
        message = f"{name}: must be a table" + (f": write [{name}.NAME], without a list" if kind == "dict_type" else "")
    else:
        message = f"{name}: {_describe(item, fields_at(model, keys[:-1]).get(keys[-1]))}"
    return Fault(place, ".".join(keys), subject + message)


def _readable(loc: Sequence[int | str], place: Place) -> str:
    """``cors_origins, entry 2`` for ``("cors_origins", 1)``."""
    name = place.spelled(str(loc[0]))
    for part in loc[1:]:
        name += f", entry {part + 1}" if isinstance(part, int) else f".{part}"
    return name


def _describe(item: ErrorDetails, field: FieldInfo | None) -> str:
    text = describe(dict(item))
    data = (data_of(field) if field is not None else None) or {}
    if item["type"] in _OF_NUMBERS and data.get("unit"):
        return f"{text} (unit: {data['unit']})"
    example = data.get("example") or (field.get_default() if field is not None else None)
    if item["type"] == "string_pattern_mismatch" and isinstance(example, str):
        return f"must be as in {example}"
    return text
