"""What the document says of a field: from its name, its type and its column, and the ``glossary``.

What a name does not tell is said beside the field in its view, as ``Annotated[str, msgspec.Meta(description="…")]``;
``tests/handlers/test_documents.py`` names every field that nobody has described.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column

from handlers.openapi.glossary import FIELDS
from handlers.resource import RESOURCES, Resource

Schema = dict[str, Any]


def describe(name: str, schema: Schema, noun: str, column: Column[Any] | None) -> str | None:
    """A sentence about a field of a ``noun``; None when its name says too little."""
    said = words_of(name)
    if name == "id":
        return f"Identifies the {noun}."
    if is_reference(name, schema, column):
        return _reference(name, said, column)
    if name in FIELDS:
        return FIELDS[name][0].replace("{noun}", noun)
    if not {"type", "$ref", "anyOf", "oneOf"} & schema.keys():
        return f"The {said} of the {noun}: any JSON value."
    if said.startswith(("is ", "has ")):
        verb, _, rest = said.partition(" ")
        return f"Whether the {noun} {verb} {rest}."
    for rule, sentence in _RULES:
        if found := re.fullmatch(rule, said):
            return sentence.format(*found.groups(), noun=noun)
    if "enum" in schema:
        options = ", ".join(f"`{option}`" for option in schema["enum"] if option is not None)
        return f"The {noun}'s {said}: {options}."
    if schema.get("format") == "decimal":
        return f"The {noun}'s {said}, as a decimal string."
    if "$ref" in schema:
        return f"The {said} of the {noun}."
    if " " in said and _is_scalar(schema):
        return f"The {noun}'s {said}."
    return None


_RULES: list[tuple[str, str]] = [
    (r"(.*(?:ed|sent|read|paid|begun|seen|run)) at", "When it was {0}."),
    (r"(\w+s) at", "When it {0}."),
    (r"(.+) at", "The time of its {0}."),
    (r"(.+) by", "User id of the member by whom it was {0}."),
    (r"(.+) (?:date|on)", "The date of its {0}."),
    (r"(.+) count", "How many {0}s there are."),
    (r"(?:total|completed|successful) (.+)", "How many {0} there were, of those its name says."),
    (r"(.+) url", "Web address of the {0}."),
    (r"(.+) enabled", "Whether {0} are on."),
    (r"(.+) seconds", "The {0}, in seconds."),
    (r"(.+) ms", "The {0}, in milliseconds."),
    (r"custom fields", "Fields of your own: any JSON object."),
]


def words_of(name: str) -> str:
    """``lastContactedAt`` as people read it: ``last contacted at``."""
    return (
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
        .replace("_", " ")
        .lower()
        .replace(" api ", " API ")
    )


def noun_of(component: str) -> str:
    """What a shape is about: ``NewContact``, ``ContactChange`` and ``ContactPage`` are about a ``contact``."""
    for resource in RESOURCES:
        shapes = {resource.view.__name__.removesuffix("View"), resource.new.__name__, resource.edit.__name__}
        if component in shapes:
            return _noun(resource)
    return words_of(re.sub(r"^New(?=[A-Z])|(Change|Page|Here|Batch|Results?)$", "", component))


def plural_of(noun: str) -> str:
    """``companies`` of ``company``."""
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch")) else "s")


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeio' and not noun.startswith('one') else 'a'} {noun}"


def is_reference(name: str, schema: Schema, column: Column[Any] | None) -> bool:
    """Whether a field holds the id of another row."""
    if name == "id":
        return False
    return schema.get("format") == "uuid" or (column is not None and _target(column) is not None)


def about(component: str, struct: type) -> str:
    """What a shape is, in a sentence or two."""
    noun = noun_of(component)
    own = inspect.cleandoc(vars(struct).get("__doc__") or "")
    if own and not own.startswith(f"{struct.__name__}("):
        return plain(own)
    if component.endswith("Batch"):
        return f"Many {plural_of(noun)} at once, each made or refused by itself."
    if component.endswith("Results"):
        return "What became of each row of a batch, in the order of the request."
    if component.endswith("Result"):
        return f"What became of one {noun} of a batch: the row, or the problem."
    if component.startswith("New"):
        return f"What makes {a(noun)}. Fields that are not named here are refused."
    if component.endswith("Change"):
        return f"What may be changed of {a(noun)}: an absent field stays as it is, null clears it."
    if component.endswith("Page"):
        return f"Some of the {plural_of(noun)}; `nextCursor` asks for those after them, null when there are none."
    return f"The {noun}."


def plain(text: str) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(text).replace("``", "`")


def example_of(name: str) -> Any:
    """The example that goes with a field's name, whatever its type is."""
    return FIELDS[name][1] if name in FIELDS else None


def _target(column: Column[Any]) -> str | None:
    """The table a column refers to; its workspace does not count."""
    if column.name == "workspace_id":
        return None
    # A set has no order of its own, and the document is the same every time.
    return max((key.column.table.name for key in column.foreign_keys), default=None)


def referred(name: str, column: Column[Any] | None = None) -> str:
    """What the row is that a field refers to, as far as its column or its name tells."""
    target = _target(column) if column is not None else None
    for resource in RESOURCES:
        if target is not None and resource.table.__tablename__ == target:
            return _noun(resource)
    return words_of(name).removesuffix(" id") if target is None else target.replace("_", " ").removesuffix("s")


def _noun(resource: Resource) -> str:
    """What events call a row, or its view is called."""
    return words_of(resource.table.noun or resource.view.__name__.removesuffix("View"))


def _reference(name: str, said: str, column: Column[Any] | None) -> str:
    target = _target(column) if column is not None else None
    if target in ("workspace_members", "users"):
        role = said.removesuffix(" id")
        return f"The member {_ROLES.get(role, f'in the role “{role}”')}: a user id of this workspace."
    if target is None and name in FIELDS:
        return FIELDS[name][0]
    return f"Refers to {a(referred(name, column))}."


_ROLES: Mapping[str, str] = {
    "owner": "whose it is",
    "user": "it is about",
    "assigned to": "it is assigned to",
    "assign to": "it is assigned to",
    "created by": "who made it",
    "invited by": "who invited them",
    "sender": "who wrote it",
    "submitted by": "who submitted it",
    "approved by": "who approved it",
    "reviewed by": "who decided",
    "requested by": "who asked for it",
    "triggered by": "who set it off",
    "manager": "who runs it",
    "author": "who wrote it",
}


def _is_scalar(schema: Schema) -> bool:
    kinds = schema.get("type", [])
    return bool(kinds) and not {"object", "array"} & {*([kinds] if isinstance(kinds, str) else kinds)}
