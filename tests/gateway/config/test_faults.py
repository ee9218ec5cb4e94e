"""The text for every kind of fault is our own."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from gateway.config.faults import TEXTS, describe


class Example(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    count: Annotated[int, Field(ge=1, le=9)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    name: Annotated[str, Field(min_length=2, max_length=4, pattern="^[a-z]*$")] = "ab"
    word: Annotated[str, Field(min_length=1)] = "a"
    secret: Annotated[SecretStr, Field(min_length=16)] = SecretStr("x" * 16)
    mode: Literal["on", "off"] = "on"
    flag: bool = False
    names: list[str] = []
    table: dict[str, int] = {}
    nested: "Example | None" = None
    own: str = ""

    @field_validator("own")
    @classmethod
    def _own(cls, value: str) -> str:
        if value:
            raise ValueError("leave it empty")
        return value


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", "many", "must be a whole number"),
        ("count", 1.5, "must be a whole number"),
        ("count", 0, "must be at least 1"),
        ("count", 10, "must be at most 9"),
        ("share", "much", "must be a number"),
        ("share", 0, "must be greater than 0"),
        ("share", 1, "must be less than 1"),
        ("share", float("nan"), "must be a finite number"),
        ("name", 7, "must be text"),
        ("name", "a", "must have at least 2 characters"),
        ("name", "\ud800b", "has text that is not Unicode: a lone surrogate"),
        ("word", "", "must not be empty"),
        ("name", "abcde", "must have at most 4 characters"),
        ("name", "AB", "must match ^[a-z]*$"),
        ("secret", "hunter2", "must have at least 16 characters"),
        ("mode", "auto", "must be 'on' or 'off'"),
        ("flag", "perhaps", "must be true or false"),
        ("names", 3, "must be a list"),
        ("table", 3, "must be an object"),
        ("nested", 3, "must be an object"),
        ("own", "x", "leave it empty"),
        ("other", 1, "does not exist"),
    ],
)
def test_words(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Example.model_validate({field: value})
    (item,) = raised.value.errors(include_input=False, include_url=False)
    assert item["loc"][0] == field
    assert describe(item) == expected
    assert "hunter2" not in describe(item)


def test_an_error_without_its_context_has_text_too() -> None:
    for kind in (*TEXTS, "some_new_type"):
        assert describe({"type": kind, "msg": "Input should be right"})
