"""JSON inside a column that has a shape of its own, read so that every mistake is named by its place."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from comms.errors import Invalid

S = TypeVar("S", bound=msgspec.Struct)


def read(shape: type[S], sent: Any, place: str) -> S:
    """``sent`` as a ``shape``; raises ``Invalid`` with every unknown, missing or wrong field below ``place``."""
    if not isinstance(sent, dict):
        raise Invalid({place: "must be a JSON object"})
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    errors = {f"{place}.{name}": "is not a field here" for name in sent if name not in fields}
    errors |= {
        f"{place}.{name}": "is required" for name, field in fields.items() if field.required and name not in sent
    }
    values: dict[str, Any] = {}
    for name, value in sent.items():
        if name in fields:
            try:
                values[fields[name].name] = msgspec.convert(value, fields[name].type, strict=True)
            except msgspec.ValidationError as error:
                reason, _, inner = str(error).partition(" - at `$")
                errors[f"{place}.{name}{inner.rstrip('`')}"] = reason
    if errors:
        raise Invalid(errors)
    return shape(**values)


def read_all(shape: type[S], sent: Sequence[Any], place: str) -> list[S]:
    """Every item of ``sent`` as a ``shape``; raises ``Invalid`` with the mistakes of all of them."""
    errors: dict[str, str] = {}
    items: list[S] = []
    for position, item in enumerate(sent):
        try:
            items.append(read(shape, item, f"{place}[{position}]"))
        except Invalid as error:
            errors |= error.errors
    if errors:
        raise Invalid(errors)
    return items


def written(item: msgspec.Struct) -> dict[str, Any]:
    """The item as its column keeps it: JSON, without what was left out."""
    plain: dict[str, Any] = msgspec.to_builtins(item)
    return plain
