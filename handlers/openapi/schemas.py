"""Types as JSON Schema 2020-12, the dialect of OpenAPI 3.1: what may be sent, and what is answered."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from sqlalchemy import Column, Numeric

from handlers import shapes
from handlers.listing import Page
from handlers.openapi import examples, words
from handlers.resource import RESOURCES
from models.base import Base, View
from models.types import Email, Phone

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"
_SCALARS: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Decimal: {"type": "string", "format": "decimal", "pattern": r"^-?\d+(\.\d+)?$"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    NoneType: {"type": "null"},
    object: {},
    Any: {},
    msgspec.Raw: {},
}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "pattern": "pattern"}
_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}


class Schemas:
    """The components of one document, each made when it is first referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self.examples: dict[str, Any] = {}
        self._types: dict[str, Any] = {}

    def of(self, annotation: Any, column: Column[Any] | None = None) -> Schema:
        """The schema of a type; ``column`` is where its values are kept and limits them further."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            schema = self.of(arguments[0], column)
            for meta in arguments[1:]:
                if isinstance(meta, msgspec.Meta):
                    schema = _bounded(schema, meta)
            return schema
        if origin in (Union, UnionType):
            return self._union([option for option in arguments if option is not msgspec.UnsetType], column)
        if origin is Literal:
            return {"type": _type_of_values(arguments), "enum": list(arguments)}
        kind = origin or annotation
        if kind in (list, set, frozenset, tuple):
            return {"type": "array", "items": self.of(arguments[0] if arguments else Any)}
        if kind in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1] if arguments else Any) or True}
        if kind is Page:  # written by hand: the same as the declared list's
            annotation = next((found.page for found in RESOURCES if found.view is arguments[0]), annotation)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return {"$ref": COMPONENTS + self._component(annotation)}
        if isinstance(annotation, type) and annotation not in _SCALARS:
            raise TypeError(f"{annotation} has no place in the API's description")
        return _of_column(dict(_SCALARS[annotation]), column)

    def example_of(self, schema: Schema) -> Any:
        """An example of a schema that refers to components."""
        if "$ref" in schema:
            return self.examples[schema["$ref"].removeprefix(COMPONENTS)]
        if "examples" in schema:
            return schema["examples"][0]
        if schema.get("type") == "array":
            return [self.example_of(schema["items"])]
        if "anyOf" in schema or "oneOf" in schema:
            return self.example_of((schema.get("anyOf") or schema["oneOf"])[0])
        return examples.of("", schema)

    def _union(self, options: list[Any], column: Column[Any] | None) -> Schema:
        schemas = [self.of(option, column) for option in options if option is not NoneType]
        if {schema.get("type") for schema in schemas} == {"integer", "number"}:
            schemas = [{"type": "number"}]
        if NoneType in options and len(schemas) == 1 and "type" in schemas[0]:
            return _nullable(schemas[0])
        if NoneType in options:
            return {"anyOf": [*schemas, {"type": "null"}]}
        if len(schemas) == 1:
            return schemas[0]
        kinds = [msgspec.inspect.type_info(option) for option in options]
        tags = {kind.tag_field if isinstance(kind, msgspec.inspect.StructType) else None for kind in kinds}
        if len(tags) == 1 and (tag := tags.pop()) is not None:
            return {"oneOf": schemas, "discriminator": {"propertyName": tag}}
        return {"anyOf": schemas}

    def _component(self, struct: Any) -> str:
        name = name_of(struct)
        if self._types.get(name, struct) != struct:  # the title stays the same, and a test asks for another name
            name = struct.__module__.rpartition(".")[2].title().replace("_", "") + name
        if name in self._types:
            return name
        self._types[name] = struct
        self.components[name], self.examples[name] = {}, {}
        schema, example = self._object(struct, name)
        self.components[name] |= schema
        self.examples[name] |= example
        return name

    def _object(self, struct: Any, name: str) -> tuple[Schema, dict[str, Any]]:
        kind: Any = get_origin(struct) or struct
        table = table_of(kind)
        noun = words.noun_of(name)
        is_sent = refuses_unknown(kind) and not issubclass(kind, View)
        properties: dict[str, Schema] = {}
        required, told = [], []
        config = kind.__struct_config__
        always: tuple[str, ...] = getattr(kind, "always", ())
        if config.tag_field is not None:
            properties[config.tag_field] = {
                "const": config.tag,
                "type": "string",
                "description": f"Says that this is a {noun}.",
                "examples": [config.tag],
            }
            required.append(config.tag_field)
            told.append(config.tag_field)
        for field in msgspec.structs.fields(struct):
            column = shapes.column_of(table, field.name) if table is not None else None
            schema = self.of(field.type, column)
            declared = declared_of(kind, field)
            schema |= {key: declared[key] for key in ("description", "examples") if key in declared}
            if "description" not in schema:
                said = words.describe(field.encode_name, schema, noun, column)
                schema |= {"description": said} if said else {}
            if is_sent and field.default not in (msgspec.NODEFAULT, msgspec.UNSET, None):
                schema["default"] = _json(field.default)
            if "examples" not in schema:
                schema["examples"] = [self._example(field.encode_name, schema, noun, column)]
            properties[field.encode_name] = schema
            is_optional = _may_be_unset(field.type) or (config.omit_defaults and not field.required)
            if field.required or (not is_sent and not is_optional) or field.encode_name in always:
                required.append(field.encode_name)
            if field.required or not is_sent or _is_telling(field.encode_name, schema, declared, column):
                told.append(field.encode_name)
        result: Schema = {"type": "object", "title": name_of(struct), "description": words.about(name, kind)}
        result |= {"properties": properties, "required": required}
        if is_sent:
            result["additionalProperties"] = False
        example = {key: properties[key]["examples"][0] for key in told}
        return result | {"examples": [example]}, example

    def _example(self, name: str, schema: Schema, noun: str, column: Column[Any] | None) -> Any:
        if schema.get("format") == "uuid":
            return examples.identity_of(noun if name == "id" else words.referred(name, column))
        inner = schema.get("items", {}) if schema.get("type") == "array" else schema
        if "$ref" in inner or "anyOf" in inner or "oneOf" in inner:
            return self.example_of(schema)
        return examples.of(name, schema)


def name_of(struct: Any) -> str:
    """A shape's name in the document: ``ContactView`` is a ``Contact``, ``Page[EventView]`` an ``EventPage``."""
    if get_origin(struct) is not None:
        return "".join(name_of(argument) for argument in get_args(struct)) + name_of(get_origin(struct))
    name: str = struct.__name__
    return name.removesuffix("View") or name


def table_of(struct: Any) -> type[Base] | None:
    """The table whose rows a shape shows or changes."""
    for kind in (struct, getattr(struct, "view", None), *struct.__mro__):
        for resource in RESOURCES:
            if kind is not None and kind in (resource.view, resource.new, resource.edit):
                table: type[Base] = resource.table
                return table
    name = getattr(struct, "view", struct).__name__.removesuffix("View")
    return next((mapper.class_ for mapper in Base.registry.mappers if mapper.class_.__name__ == name), None)


def declared_of(struct: Any, field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    """What is said beside a field in ``msgspec.Meta``, or beside the same field of the view of what it makes."""
    view = getattr(struct, "view", None) or next((r.view for r in RESOURCES if struct in (r.new, r.edit)), None)
    found: dict[str, Any] = {}
    for fields in (msgspec.structs.fields(view) if view is not None else (), (field,)):
        for candidate in fields:
            if candidate.name == field.name:
                for meta in _metas(candidate.type):
                    found |= {"description": meta.description} if meta.description else {}
                    found |= {"examples": list(meta.examples)} if meta.examples else {}
    return found


def refuses_unknown(struct: Any) -> bool:
    """Whether a field that a shape does not have is an error."""
    return bool(struct.__struct_config__.forbid_unknown_fields)


def _metas(annotation: Any) -> Iterator[msgspec.Meta]:
    for argument in get_args(annotation):
        if isinstance(argument, msgspec.Meta):
            yield argument
        elif get_origin(argument) in (Annotated, Union, UnionType):
            yield from _metas(argument)


def _is_telling(name: str, schema: Schema, declared: Mapping[str, Any], column: Column[Any] | None) -> bool:
    """Whether an optional field belongs in the example of what is sent: not by itself if it refers, or is invented."""
    return "examples" in declared or (not words.is_reference(name, schema, column) and examples.is_told(name, schema))


def _may_be_unset(annotation: Any) -> bool:
    return annotation is msgspec.UnsetType or any(_may_be_unset(argument) for argument in get_args(annotation))


def _nullable(schema: Schema) -> Schema:
    more: Schema = {"type": [schema["type"], "null"]}
    if "enum" in schema:
        more["enum"] = [*schema["enum"], None]
    return schema | more


def _bounded(schema: Schema, meta: msgspec.Meta) -> Schema:
    kinds = schema.get("type", [])
    kind = next((kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"), None)
    for limit, keyword in _BOUNDS.items():
        said = getattr(meta, limit)
        if said is not None:  # the column may have said something narrower
            narrower: Any = {"minimum": max, "maximum": min}.get(keyword, lambda one, _: one)
            schema[keyword] = narrower(said, schema.get(keyword, said))
    for limit, prefix in (("min_length", "min"), ("max_length", "max")):
        if getattr(meta, limit) is not None and kind in _LENGTHS:
            schema[prefix + _LENGTHS[kind]] = getattr(meta, limit)
    return schema | (meta.extra_json_schema or {})


def _of_column(schema: Schema, column: Column[Any] | None) -> Schema:
    """The schema with what a column's type and constraints say besides."""
    if column is None:
        return schema
    if isinstance(column.type, Email | Phone) and schema.get("type") == "string":
        schema["format"] = "email" if isinstance(column.type, Email) else "phone"
    if isinstance(column.type, Numeric) and schema.get("format") == "decimal":
        scale = column.type.scale or 0
        whole = (column.type.precision or 14) - scale
        schema["pattern"] = rf"^-?\d{{1,{whole}}}(\.\d{{1,{scale}}})?$" if scale else rf"^-?\d{{1,{whole}}}$"
    limits = shapes.limits_of(column)
    if schema.get("type") == "integer":
        least = limits.ge if limits.gt is None else limits.gt + 1
        schema |= {} if least is None else {"minimum": least}
        schema |= {} if limits.le is None else {"maximum": limits.le}
    if schema.get("type") == "string" and limits.pattern is not None and schema.get("format") != "decimal":
        schema["pattern"] = limits.pattern
    return schema


def _type_of_values(values: tuple[Any, ...]) -> str:
    kinds = {bool: "boolean", int: "integer", str: "string"}
    return kinds[type(values[0])]


def _json(value: Any) -> Any:
    return msgspec.to_builtins(value)  # decimals as strings
