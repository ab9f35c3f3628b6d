"""The user's schema map, read as it is drawn: tables in boxes, columns in lines, facts in brackets."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

MAP = Path(__file__).parents[1] / "fixtures" / "schema-map.md"
SECTIONS = range(1, 8)

# What a foreign key refers to where the map says only (FK), by the column's name or the table and the name.
TARGETS = {
    "workspaceId": "workspaces",
    "agentId": "agents",
    "fromAgentId": "agents",
    "toAgentId": "agents",
    "teamId": "agentTeams",
    "workflowId": "agentWorkflows",
    "contactId": "contacts",
    "customerId": "customers",
    "projectId": "projects",
    "segmentId": "segments",
    "campaignId": "campaigns",
    "conversationId": "conversations",
    "userId": "users",
    "approvedBy": "users",
    "createdBy": "users",
    "senderId": "users",
    "campaigns.channelId": "marketingChannels",
    "teamMessages.channelId": "teamChannels",
}


class Column(msgspec.Struct, frozen=True):
    """A column as the map names it."""

    table: str
    name: str
    values: tuple[str, ...] = ()  # of an enum; one ending in * stands for all that begin so
    refers_to: str | None = None
    is_json: bool = False
    is_array: bool = False
    is_boolean: bool = False
    is_unique: bool = False
    bounds: tuple[int, int] | None = None


def tables() -> dict[str, list[Column]]:
    """Every table of sections 1 to 7 with its columns, by the map's names."""
    found: dict[str, list[Column]] = {}
    for section in _sections():
        for box in re.findall(r"┌─+┐\n(.*?)└─+┘", section, re.DOTALL):
            title, _, body = re.split(r"(├─+┤\n)", box, maxsplit=1)
            name = title.strip(" │\n")
            lines = [line.strip("│ \n").replace("⚠️ REQUIRED", "") for line in body.splitlines()]
            found[name] = [column for line in lines for column in _columns(name, line)]
    return found


def snake(name: str) -> str:
    """``clerkUserId`` as tables have it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _sections() -> list[str]:
    text = MAP.read_text().split("## Detailed Tables by Domain", 1)[1]
    # One box of the map closes its title with the wrong corner.
    text = text.replace("─┤\n│                       teamMessages", "─┐\n│                       teamMessages")
    parts = re.split(r"^### (\d+)\. ", text, flags=re.MULTILINE)
    return [body for number, body in zip(parts[1::2], parts[2::2], strict=True) if int(number) in SECTIONS]


def _columns(table: str, line: str) -> Iterator[Column]:
    items = re.findall(r"(\w+)\s*((?:array\s*)?)(?:\(([^)]*)\))?", line)
    names = [item for item in items if item[0]]
    plural = next((facts for _, _, facts in names if facts == "FKs"), None)
    last = max((place for place, item in enumerate(names) if item[2] == "FKs"), default=-1)
    for place, (name, _, facts) in enumerate(names):
        yield _column(table, name, "FK" if plural and place <= last else facts)


def _column(table: str, name: str, facts: str) -> Column:
    refers_to = None
    if facts.startswith("FK"):
        _, arrow, target = facts.partition("→ ")
        refers_to = target.strip() if arrow else TARGETS.get(f"{table}.{name}") or TARGETS[name]
    values = tuple(facts.split("/")) if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+", facts) else ()
    bounds = re.fullmatch(r"(\d+)-(\d+)", facts)
    return Column(
        table=table,
        name=name,
        values=tuple(value for value in values if value != "..."),
        refers_to=refers_to,
        is_json=facts.startswith("JSONB"),
        is_array=facts == "text array",
        is_boolean=facts == "bool",
        is_unique=facts == "unique",
        bounds=(int(bounds[1]), int(bounds[2])) if bounds else None,
    )
