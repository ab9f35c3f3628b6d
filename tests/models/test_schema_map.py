"""The database has every table, column, enum value and foreign key of the user's schema map."""

import re
from typing import Any

import msgspec
import pytest

import handlers.app  # noqa: F401  # every resource is declared once it is imported
from handlers.resource import RESOURCES
from tests.models.schema_map import Column, snake, tables

TABLES = tables()
HIDDEN = {
    "workspaceApiKeys.encryptedKey",
    "workspaceApiKeys.iv",
    "workspaceApiKeys.authTag",
    "agentSchedules.webhookSecret",
    "users.preferences",  # one's own, at /me
}
"""What a resource does not show: secrets never come out, and some things are one person's own."""
IMPLIED = {"workspaceId"}
"""A credential belongs to one workspace, so no view repeats it."""
SPLIT = {"conversationMessages.senderId": {"contact": "contacts", "user": "users"}}


def test_the_map_is_read_whole() -> None:
    assert len(TABLES) == 40
    assert sum(len(columns) for columns in TABLES.values()) == 427
    assert Column("agents", "status", ("draft", "active", "paused", "archived")) in TABLES["agents"]
    assert Column("invoices", "customerId", refers_to="customers") in TABLES["invoices"]
    assert Column("agentSharedMemory", "importance", bounds=(0, 100)) in TABLES["agentSharedMemory"]


@pytest.mark.parametrize("name", TABLES)
async def test_a_table_of_the_map_is_there_with_all_it_says(name: str, admin: Any) -> None:
    there = {row["column_name"]: row for row in await admin.fetch(_COLUMNS, snake(name))}
    assert there, f"there is no table {snake(name)}"
    checks = [row[0] for row in await admin.fetch(_CHECKS, snake(name))]
    keys = {(row["column"], row["target"]) for row in await admin.fetch(_KEYS, snake(name))}
    unique = {row[0] for row in await admin.fetch(_UNIQUE, snake(name))}
    missing = []
    for column in TABLES[name]:
        at = _place(column, there)
        if at is None:
            missing.append(f"column {column.name}")
            continue
        kind = there[at]["udt_name"]
        if column.is_json and kind != "jsonb" and f"{name}.{column.name}" not in HIDDEN:
            missing.append(f"{at} is {kind}, not jsonb")
        if column.is_array and kind != "_text":
            missing.append(f"{at} is {kind}, not text[]")
        if column.is_boolean and kind != "bool":
            missing.append(f"{at} is {kind}, not boolean")
        if column.is_unique and at not in unique:
            missing.append(f"{at} is not unique")
        missing += _lacking_values(column, at, checks)
        missing += _lacking_key(column, at, keys)
        if column.bounds and not any(_bounds(check, at) == column.bounds for check in checks):
            missing.append(f"{at} is not held between {column.bounds}")
    assert not missing, f"{name} lacks: {', '.join(missing)}"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_map_is_offered_by_the_api_with_its_fields(name: str) -> None:
    path = "/" + snake(name).replace("_", "-")
    resource = next((resource for resource in RESOURCES if resource.path == path), None)
    assert resource is not None, f"there is no {path}"
    shown = {field.encode_name for field in msgspec.structs.fields(resource.view)}
    wanted = {column.name for column in TABLES[name] if f"{name}.{column.name}" not in HIDDEN} - IMPLIED
    assert wanted <= shown, f"{path} does not show {sorted(wanted - shown)}"


async def test_all_money_is_in_some_currency(admin: Any) -> None:
    money = {(row["table_name"], row["column_name"]) for row in await admin.fetch(_MONEY)}
    assert ("deals", "value") in money
    currencies = {row[0] for row in await admin.fetch(_CURRENCIES)} | {"agent_logs"}  # in that of their run
    assert not {(table, column) for table, column in money if table not in currencies}


def _place(column: Column, there: dict[str, Any]) -> str | None:
    """The column's name in the database; digits may stand apart or not."""
    for name in (snake(column.name), re.sub(r"(?<=[a-z])(?=\d)", "_", snake(column.name))):
        if name in there:
            return name
    return None


def _lacking_values(column: Column, at: str, checks: list[str]) -> list[str]:
    held = {value for check in checks if re.search(rf"\b{at}\b", check) for value in re.findall(r"'([^']*)'", check)}
    return [
        f"{at} does not know {value!r}"
        for value in column.values
        if value not in held and not (value.endswith("*") and any(one.startswith(value[:-1]) for one in held))
    ]


def _lacking_key(column: Column, at: str, keys: set[tuple[str, str]]) -> list[str]:
    if column.refers_to is None or f"{column.table}.{column.name}" in SPLIT:
        return []
    wanted = {snake(column.refers_to)} | ({"workspace_members"} if column.refers_to == "users" else set())
    if column.name == "workspaceId":
        # Said once more by every composite key; a table of very many rows leaves it at those.
        wanted |= {target for key, target in keys if key == "workspace_id"}
    return [] if any((at, target) in keys for target in wanted) else [f"{at} does not refer to {column.refers_to}"]


def _bounds(check: str, at: str) -> tuple[int, int] | None:
    low, high = re.search(rf"{at} >= (\d+)", check), re.search(rf"{at} <= (\d+)", check)
    return (int(low[1]), int(high[1])) if low and high else None


_COLUMNS = (
    "SELECT column_name, udt_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
)
_MONEY = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type = 'numeric' AND numeric_precision = 14
"""
_CURRENCIES = "SELECT table_name FROM information_schema.columns WHERE column_name = 'currency'"
_CHECKS = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::text::regclass"
_KEYS = """
SELECT a.attname AS column, k.confrelid::regclass::text AS target
FROM pg_constraint k CROSS JOIN LATERAL unnest(k.conkey) AS c (number)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number
WHERE k.contype = 'f' AND k.conrelid = $1::text::regclass
"""
_UNIQUE = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indisunique AND i.indnkeyatts = 1 AND i.indrelid = $1::text::regclass
"""
