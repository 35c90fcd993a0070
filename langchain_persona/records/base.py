"""What all records share: immutable, plain JSON, validated when they are read back."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from langchain_persona.errors import CorruptRecordError

__all__ = ["Record", "brief", "new_id", "read_record"]


def new_id() -> str:
    """A fresh random name of 32 hexadecimal digits."""
    return uuid.uuid4().hex


class Record(BaseModel):
    """Base of all records: immutable, NaN refused, unknown fields ignored so that newer writers can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only."""
        return self.model_dump(mode="json")


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], value: object) -> R:
    """Validate a stored value.

    Raises:
        CorruptRecordError: it is not a record of this kind.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise CorruptRecordError(f"not a {kind.__name__}: {brief(error)}") from error


def brief(error: ValidationError) -> str:
    """The first complaint, without the value: a log must not carry a user's text."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']} ({error.error_count()} in all)"
