"""What people read when a setting is wrong: where it is written, its name, what is wrong and what to do.

No message contains a value: it may be a secret.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from gateway.config.faults import describe
from gateway.config.file import suggestion
from gateway.errors import SettingsError

Where = Callable[..., str]
"""``where("cameras", "door", "url")`` is the beginning of a sentence that says where a setting is written:
``liveedge.toml, line 7: ``. It is empty text for a setting that is written nowhere."""

DOCUMENTATION = "docs/configuration.md"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. ``place`` is empty where the setting is written nowhere."""

    place: str
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

    The message names the place where the first of them is written.
    """
    return PydanticCustomError("contradiction", "{message}", {"message": message, "names": names})


def unknown(name: str, known: Iterable[str]) -> str:
    """The message for a name that is no setting."""
    meant = suggestion(name, known)
    return f"{name} is not a setting" + (f": did you mean {meant}?" if meant else f"; {DOCUMENTATION} lists them all")


def install_extra(extra: str) -> str:
    """The end of a message: how to install what only some settings need, ``postgres`` or ``s3``."""
    return f"make run EXTRAS={extra} in a checkout, or pip install 'liveedge-….whl[{extra}]'"


def nowhere(*_keys: str) -> str:
    """The :data:`Where` for settings that are written nowhere: arguments of a call."""
    return ""


def explain(error: ValidationError, where: Where = nowhere, subject: str = "") -> InvalidSettingsError:
    """The error with a message for people. ``subject`` begins each message: ``camera door: ``."""
    faults = []
    for item in error.errors(include_input=False, include_url=False):
        keys = [str(part) for part in item["loc"]]
        if item["type"] == "contradiction":
            names = item["ctx"]["names"]
            place = next((place for name in names if (place := where(name))), "")
            faults.append(Fault(place, names[0], f"{subject}{item['msg']}"))
            continue
        keys = keys or ["settings"]
        place = where(*keys)
        if item["type"] == "missing" and (subject or len(keys) > 1):
            place = where(*keys[:-1])  # the table that lacks it
        name = ".".join(keys)
        if item["type"] == "extra_forbidden":
            message = f"{name} is not a setting; {DOCUMENTATION} lists them all"
        elif item["type"] == "missing" and place:
            message = f"{name} is missing: add it to the table, as in {DOCUMENTATION}"
        else:
            message = f"{name.upper()}: {describe(item)}"
        faults.append(Fault(place, name, subject + message))
    return InvalidSettingsError(*faults)
