"""What can be said of a contact: a field, an operator and a value; checked as it comes in, and turned into SQL.

Text is compared as it is written by ``equals`` and ``in``, whatever its case by the others. Where a field is empty,
only ``is_not_set`` and what denies something (``not_…``) are true of it.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Numeric, Text, and_, case, cast, false, func, literal, not_, or_
from sqlalchemy.dialects.postgresql import JSONB

from comms import reading
from comms.errors import Invalid
from comms.reasons import A_TIME
from models.base import now
from models.crm import Contact, ContactStatus
from models.marketing import Condition

CUSTOM = "customFields."
MOST_CONDITIONS, MOST_VALUES, LONGEST, MOST_DAYS = 50, 200, 1_000, 36_500
_LARGEST = 10**15

_TEXT = ("equals", "not_equals", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with")
_CHOICE = ("equals", "not_equals", "in", "not_in")
_NUMBER = ("equals", "not_equals", "greater_than", "at_least", "less_than", "at_most")
_BY_SIZE = _NUMBER[2:]
_EITHER = ("is_set", "is_not_set")
_OF_MANY = frozenset({"in", "not_in", "contains_any", "contains_all"})
_OF_DAYS = frozenset({"within_days", "not_within_days"})

OPERATORS: Mapping[str, tuple[str, ...]] = {
    "text": (*_TEXT, *_EITHER),
    "choice": (*_CHOICE, *_EITHER),
    "member": (*_CHOICE, *_EITHER),
    "tags": ("contains", "not_contains", "contains_any", "contains_all", *_EITHER),
    "number": (*_NUMBER, *_EITHER),
    "time": ("before", "after", "within_days", "not_within_days", *_EITHER),
    "custom": (*_TEXT, *_BY_SIZE, *_EITHER),
}
"""What can be asked of each kind of field."""

FIELDS: Mapping[str, tuple[str, Any]] = {
    "firstName": ("text", Contact.first_name),
    "lastName": ("text", Contact.last_name),
    "email": ("text", Contact.email),
    "phone": ("text", Contact.phone),
    "company": ("text", Contact.company),
    "jobTitle": ("text", Contact.job_title),
    "source": ("text", Contact.source),
    "status": ("choice", Contact.status),
    "ownerId": ("member", Contact.owner_id),
    "tags": ("tags", Contact.tags),
    "leadScore": ("number", Contact.lead_score),
    "lastContactedAt": ("time", Contact.last_contacted_at),
    "createdAt": ("time", Contact.created_at),
    "updatedAt": ("time", Contact.updated_at),
}
"""The fields of a contact, besides ``customFields.<name>``: of what kind they are, and where they are kept."""


def check(conditions: Sequence[Condition], name: str) -> None:
    """Every condition makes sense; ``Invalid`` names what does not, such as ``rules[1].operator``."""
    if len(conditions) > MOST_CONDITIONS:
        raise Invalid({name: f"must be at most {MOST_CONDITIONS}"})
    wrong: dict[str, str] = {}
    for place, condition in enumerate(conditions):
        wrong |= {f"{name}[{place}].{part}": reason for part, reason in mistakes(condition).items()}
    if wrong:
        raise Invalid(wrong)


def mistakes(condition: Condition) -> dict[str, str]:
    """What is wrong with a condition, by its part: the field, else its operator, else the value for that."""
    kind = _kind_of(condition.field)
    if kind is None:
        return {"field": f"must be {', '.join(FIELDS)} or {CUSTOM}<name>"}
    if condition.operator not in OPERATORS[kind]:
        return {"operator": f"must be one of {', '.join(OPERATORS[kind])} for {condition.field}"}
    try:
        _value_of(condition)
    except ValueError as error:
        return {"value": str(error)}
    return {}


def all_of(conditions: Sequence[Condition]) -> ColumnElement[bool]:
    """True of contacts of whom all conditions are; of everybody when there are none."""
    return and_(*(holds(condition) for condition in conditions)) if conditions else literal(True)


def any_of(conditions: Sequence[Condition]) -> ColumnElement[bool]:
    """True of contacts of whom at least one condition is; of nobody when there are none."""
    return or_(*(holds(condition) for condition in conditions)) if conditions else false()


def holds(condition: Condition) -> ColumnElement[bool]:
    """True of contacts of whom the condition is; false or null of others.

    One that no longer makes sense, by a field or operator that is not known any more, is true of nobody.
    """
    if mistakes(condition):
        return false()
    kind, value, operator = _kind_of(condition.field), _value_of(condition), condition.operator
    if kind == "custom":
        return _custom(condition.field.removeprefix(CUSTOM), operator, value)
    column = FIELDS[condition.field][1]
    if operator in _EITHER:
        is_set = {"text": column != "", "tags": func.cardinality(column) > 0}.get(kind or "", column.is_not(None))
        return is_set if operator == "is_set" else not_(func.coalesce(is_set, false()))
    if kind == "tags":
        wanted = literal(value if operator in _OF_MANY else [value], ARRAY(Text))
        found: ColumnElement[bool] = column.bool_op("&&" if operator == "contains_any" else "@>")(wanted)
        return not_(found) if operator == "not_contains" else found
    if kind == "number":
        return _COMPARED[operator](cast(column, Numeric), literal(value, Numeric))
    if kind == "time":
        return _timed(column, operator, value)
    return _COMPARED[operator](column, value)


def _kind_of(field: str) -> str | None:
    if field.startswith(CUSTOM) and len(field) > len(CUSTOM):
        return "custom"
    return FIELDS[field][0] if field in FIELDS else None


def _value_of(condition: Condition) -> Any:
    """The value as its operator compares it; ``ValueError`` says what it must be."""
    value, operator = condition.value, condition.operator
    if operator in _EITHER:
        if value is not None:
            raise ValueError(f"must be absent for {operator}")
        return None
    if operator in _OF_DAYS:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_DAYS:
            raise ValueError(f"must be a number of days from 1 to {MOST_DAYS}")
        return value
    read = _reader(condition.field, operator)
    if operator not in _OF_MANY:
        return read(value)
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
        raise ValueError(f"must be a list of 1 to {MOST_VALUES} values for {operator}")
    return [read(one) for one in value]


def _reader(field: str, operator: str) -> Callable[[Any], Any]:
    """How one value for that field and operator is read."""
    match _kind_of(field):
        case "choice":
            return _status
        case "member":
            return _id
        case "number":
            return _number
        case "time":
            return _time
        case "custom":
            return _number if operator in _BY_SIZE else _any if operator in _CHOICE else _text
    law = getattr(FIELDS[field][1].type, "normalise", None)
    return (lambda value: law(_text(value))) if law and operator in _CHOICE else _text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST:
        raise ValueError(f"must be text of 1 to {LONGEST} characters")
    return value


def _status(value: Any) -> str:
    if value not in get_args(ContactStatus):
        raise ValueError(f"must be one of {', '.join(get_args(ContactStatus))}")
    return str(value)


def _id(value: Any) -> uuid.UUID:
    try:
        return msgspec.convert(value, uuid.UUID)
    except msgspec.ValidationError:
        raise ValueError("must be the id of a member's user") from None


def _number(value: Any) -> Decimal:
    # Not math.isfinite: that makes a float of an integer, and hundreds of digits are none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ValueError(f"must be a number of at most {_LARGEST:,}")
    return Decimal(str(value))


def _time(value: Any) -> datetime:
    try:
        at = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        raise ValueError(f"must be {A_TIME}") from None
    reading.refuse_no_instant(at)
    return at


def _any(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    try:
        _number(value)
    except ValueError:
        raise ValueError("must be text, a number, true or false") from None
    return value


def _timed(column: Any, operator: str, value: Any) -> ColumnElement[bool]:
    if operator in ("before", "after"):
        return _COMPARED["less_than" if operator == "before" else "greater_than"](column, value)
    since = now() - timedelta(days=value)
    is_recent: ColumnElement[bool] = column >= since
    return is_recent if operator == "within_days" else or_(column.is_(None), column < since)


def _custom(name: str, operator: str, value: Any) -> ColumnElement[bool]:
    """The same for what a workspace keeps of its contacts itself: of any type, and different from one to the next."""
    field = Contact.custom_fields[name]
    kind, text = func.jsonb_typeof(field), field.astext
    match operator:
        case "is_set":
            return func.coalesce(text, "") != ""
        case "is_not_set":
            return func.coalesce(text, "") == ""
        case "equals":
            return field.bool_op("=")(literal(value, JSONB))
        case "not_equals":
            return field.bool_op("IS DISTINCT FROM")(literal(value, JSONB))
        case "in" | "not_in":
            found = or_(*(field.bool_op("=")(literal(one, JSONB)) for one in value))
            return found if operator == "in" else not_(func.coalesce(found, false()))
        case "contains" | "not_contains":
            listed = and_(kind == "array", field.bool_op("?")(value))
            found = or_(listed, and_(kind == "string", text.icontains(value, autoescape=True)))
            return found if operator == "contains" else not_(func.coalesce(found, false()))
        case "starts_with" | "ends_with":
            return and_(kind == "string", _COMPARED[operator](text, value))
    # Not every row has a number there: only CASE keeps the cast from the others.
    return _COMPARED[operator](case((kind == "number", cast(text, Numeric))), literal(value, Numeric))


_COMPARED: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "equals": lambda column, value: column == value,
    "not_equals": lambda column, value: column.is_distinct_from(value),
    "in": lambda column, value: column.in_(value),
    "not_in": lambda column, value: or_(column.is_(None), column.not_in(value)),
    "contains": lambda column, value: column.icontains(value, autoescape=True),
    "not_contains": lambda column, value: or_(column.is_(None), not_(column.icontains(value, autoescape=True))),
    "starts_with": lambda column, value: column.istartswith(value, autoescape=True),
    "ends_with": lambda column, value: column.iendswith(value, autoescape=True),
    "greater_than": lambda column, value: column > value,
    "at_least": lambda column, value: column >= value,
    "less_than": lambda column, value: column < value,
    "at_most": lambda column, value: column <= value,
}
