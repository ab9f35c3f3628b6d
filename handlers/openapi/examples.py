"""An example for every field: the same in every document, and one that its schema allows."""

import re
import uuid
from typing import Any

from handlers.openapi import words

Schema = dict[str, Any]

_BY_FORMAT = {
    "date-time": "2026-03-01T12:00:00Z",
    "date": "2026-03-31",
    "time": "09:00:00",
    "email": "ada@example.com",
    "uri": "https://example.com/",
}
_FORMS: dict[Any, str] = {
    "uuid": r"[0-9a-f-]{36}",
    "date": r"\d{4}-\d\d-\d\d",
    "date-time": r"\d{4}-\d\d-\d\dT[\d:.]+Z",
}
_PYTHON: dict[Any, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def of(name: str, schema: Schema) -> Any:
    """What is told of the field's name where that fits, else something its type and bounds allow."""
    if is_told(name, schema):
        return _told(name, schema)
    if schema.get("format") == "uuid":
        return identity_of(name)
    if schema.get("format") == "decimal":
        return next((value for value in ("250.00", "4.5", "1", "0.5") if fits(schema, value)), "0")
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    match kind_of(schema):
        case "string":
            text = "text" if schema.get("maxLength", 99) >= 4 else "x"
            return text.ljust(schema.get("minLength", 0), "x")
        case "integer" | "number":
            return max(schema.get("minimum", 0), min(1, schema.get("maximum", 1)))
        case "boolean":
            return schema.get("default", False)
        case "array":
            return [of("", schema["items"])] if schema.get("minItems") or schema["items"].get("enum") else []
        case "object":
            return {}
    return "text"  # anything goes


def is_told(name: str, schema: Schema) -> bool:
    """Whether the example is more than an invention from the type."""
    return bool(schema.get("enum")) or fits(schema, words.example_of(name))


def identity_of(name: str) -> str:
    """The same UUID for the same name, in the form of those we make (version 7)."""
    random = uuid.uuid5(uuid.NAMESPACE_OID, name).hex
    return str(uuid.UUID(f"0198c0de50007{random[13:16]}9{random[17:]}"))


def kind_of(schema: Schema) -> str | None:
    """The schema's type, whether null is allowed besides or not."""
    kinds = schema.get("type")
    return next((kind for kind in kinds if kind != "null"), None) if isinstance(kinds, list) else kinds


def fits(schema: Schema, value: Any) -> bool:
    """Whether a value is allowed, as far as we use JSON Schema."""
    kind: Any = kind_of(schema)
    if value is None or not isinstance(value, _PYTHON.get(kind, ())):
        return False
    if isinstance(value, bool) != (kind == "boolean"):
        return False
    if isinstance(value, list):
        return all(not schema["items"] or fits(schema["items"], item) for item in value)
    if isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value) or not re.fullmatch(
            _FORMS.get(schema.get("format"), ".*"), value
        ):
            return False
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    if isinstance(value, int) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _told(name: str, schema: Schema) -> Any:
    if options := schema.get("enum"):
        said = words.example_of(name)
        return next(
            (value for value in (said, schema.get("default")) if value in options and value is not None), options[0]
        )
    return words.example_of(name)
