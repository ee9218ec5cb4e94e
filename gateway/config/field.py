"""A setting as data: default, unit, help text and when a change applies.

Rules:

1. Every field of a :class:`SettingsGroup` is made by :func:`setting`. A field without its data is refused when the
   class is defined, so that it cannot be missing from the reload, the documentation and the annotated example. So is
   a field with an empty help text, or with an ``applies`` that is no :class:`Applies`.
2. The name of a field is the name of the setting: lower case in ``liveedge.toml``, upper case in the environment.
3. A group is one section of the documentation. Its ``title`` is the section's heading.

Nothing else has to be edited for a new setting: :func:`changed` (reload), :mod:`gateway.config.loader` and
:mod:`web.settings_docs` read this data.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

M = TypeVar("M", bound=BaseModel)

_KEY = "setting"


class Applies(StrEnum):
    """When a changed value applies, once the settings are read again."""

    LIVE = "live"
    """At once."""
    RUN = "run"
    """From the camera's next run. The change begins one."""
    RESTART = "restart"
    """After a restart of the process."""


def setting(
    default: Any = ...,
    *,
    help: str,
    applies: Applies,
    unit: str | None = None,
    unset: str | None = None,
    example: Any = None,
    **constraints: Any,
) -> Any:
    """A field with its data. Without a default the setting is required.

    ``unset`` says what applies while the setting has no value; ``example`` is shown where there is no default to show.
    ``constraints`` are those of :func:`pydantic.Field`: ``ge``, ``le``, ``min_length``, ``pattern`` and so on.
    """
    data = {"applies": applies, "unit": unit, "unset": unset, "example": example}
    return Field(default, description=help, json_schema_extra={_KEY: data}, **constraints)


class SettingsGroup(BaseModel):
    """Settings that belong together: one section of the documentation."""

    title: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for name, field in cls.model_fields.items():
            data = data_of(field)
            if data is None:
                raise TypeError(f"{cls.__name__}.{name}: define this setting with gateway.config.field.setting()")
            if not isinstance(field.description, str) or not field.description.strip():
                raise TypeError(f"{cls.__name__}.{name}: help is empty; say what the setting means")
            if not isinstance(data["applies"], Applies):
                raise TypeError(f"{cls.__name__}.{name}: applies is {data['applies']!r}, which is no Applies")


@dataclass(frozen=True)
class Setting:
    """One setting of a model."""

    name: str
    group: str
    field: FieldInfo
    help: str
    applies: Applies
    unit: str | None
    unset: str | None
    example: Any


def settings_of(model: type[BaseModel]) -> Iterator[Setting]:
    """Every setting of ``model``, group by group, in the order in which they are written."""
    seen = set()
    for group in model.__mro__:
        if not issubclass(group, SettingsGroup):
            continue
        for name in group.__annotations__:
            field = model.model_fields.get(name)
            if field is None or name in seen:
                continue
            seen.add(name)
            yield Setting(name, group.title, field, field.description or "", **(data_of(field) or {}))


def describe_field(field: FieldInfo) -> str:
    """The help text with the unit, for a field that is used outside of its group."""
    unit = (data_of(field) or {}).get("unit")
    return f"{field.description} (unit: {unit})" if unit else field.description or ""


def changed(before: BaseModel, after: BaseModel) -> list[Setting]:
    """The settings that differ between two sets of settings of one class."""
    return [each for each in settings_of(type(after)) if getattr(before, each.name) != getattr(after, each.name)]


def names_changed(before: BaseModel, after: BaseModel, *applies: Applies) -> list[str]:
    """The names of those that apply so, as the environment writes them, sorted."""
    return sorted(each.name.upper() for each in changed(before, after) if each.applies in applies)


def with_values(source: M, settings: M, *applies: Applies) -> M:
    """``settings`` with the values of ``source`` for the settings that apply so."""
    kept = [each.name for each in settings_of(type(settings)) if each.applies in applies]
    return settings.model_copy(update={name: getattr(source, name) for name in kept})


def fields_at(model: type[BaseModel], keys: Iterable[str]) -> Mapping[str, FieldInfo]:
    """The fields of the table that the keys lead to, as in ``auth.tokens.door``; none where that is no such table."""
    found: Any = model
    for key in keys:
        if (table := _model(found)) is not None:
            field = table.model_fields.get(key)
            found = _table_type(field.annotation) if field is not None else None
        else:
            found = _table_type(get_args(found)[1]) if get_origin(found) is dict else None
    table = _model(found)
    return {} if table is None else table.model_fields


def _model(found: Any) -> type[BaseModel] | None:
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _table_type(annotation: Any) -> Any:
    """The class, or the ``dict[…]``, in ``Annotated[…]`` and in a union."""
    if get_origin(annotation) is dict or not get_args(annotation):
        return annotation
    found = [_table_type(each) for each in get_args(annotation)]
    return next((each for each in found if get_origin(each) is dict or _model(each) is not None), None)


def data_of(field: FieldInfo) -> Mapping[str, Any] | None:
    """What :func:`setting` was given of a field; ``None`` for a field that it has not made."""
    extra = field.json_schema_extra
    data = extra.get(_KEY) if isinstance(extra, dict) else None
    return data if isinstance(data, dict) else None


# --- types of values


def split_commas(value: object) -> object:
    """``a, b`` as an environment variable writes a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def check_url(url: str) -> str:
    """Refuse a URL whose host or port cannot be read. Raises ``ValueError``, without the URL."""
    try:
        parts = urlsplit(url)
        is_readable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ValueError(
            "is not a URL with a host, and a port from 1 to 65535 if any, as in https://gateway.example:8443"
        )
    return url


Url = Annotated[str, AfterValidator(check_url)]
"""A URL. Which schemes are right, the ``pattern`` of the setting says."""

CommaList = Annotated[list[str], NoDecode, BeforeValidator(split_commas)]
"""A list in ``liveedge.toml``; text with commas in the environment."""

OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_none_if_empty)]
"""A secret, or nothing. Empty text is nothing."""
