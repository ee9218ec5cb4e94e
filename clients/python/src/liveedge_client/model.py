"""What the generated models are made of."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """An answer of the gateway. Fields that this version does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class OpenEnum(StrEnum):
    """Values of a field. A value of a later gateway is a member without a name of its own: ``UNKNOWN``."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = "UNKNOWN"
        member._value_ = value
        return member
