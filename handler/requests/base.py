"""The base of all request schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict


class _Request(BaseModel):
    """Fields that it does not name are no fault: `unknown_fields` finds them."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
    other_names: ClassVar[frozenset[str]] = frozenset()


AnyRequest = TypeVar("AnyRequest", bound=_Request)


def unknown_fields(request: _Request, value: dict[str, Any]) -> Iterator[str]:
    """Names in `value` that `request` has no field for; `outer.inner` of those inside of others."""
    attributes = {field.alias or name: name for name, field in type(request).model_fields.items()}
    for name, inner in value.items():
        if name in attributes:
            part = getattr(request, attributes[name])
            if isinstance(part, _Request):
                yield from (f"{name}.{unknown}" for unknown in unknown_fields(part, inner))
        elif name not in request.other_names:
            yield name
