"""What can be found: the rows of which tables, by which of their texts."""

from typing import Any

import msgspec

from models.base import Base, noun_of
from models.communications import Conversation, ConversationMessage, Mail, TeamMessage
from models.crm import Contact, ContactPoint

TEXT = "CASE t.content_type WHEN 'html' THEN regexp_replace(t.content, '<[^>]*>', ' ', 'g') ELSE t.content END"
ADDRESSES = (
    "(SELECT string_agg(p.value, ', ' ORDER BY p.kind, p.value) FROM contact_points p"
    " WHERE p.workspace_id = t.workspace_id AND p.contact_id = t.id)"
)


def _as_mail(column: str, which: str = "true") -> str:
    """What a message says of itself as a mail."""
    return f"(SELECT {column} FROM mails l WHERE l.workspace_id = t.workspace_id AND l.message_id = t.id AND {which})"


# Of whom nobody knows by their contact: what they say they are called.
_STRANGER = "t.direction = 'inbound' AND t.sender_contact_id IS NULL"


class Kind(msgspec.Struct, frozen=True):
    """A sort of rows: SQL for each text of a row ``t``, and for the conversation or team channel it goes with.

    ``fields`` are those of its JSON without which no change changes its words; none where that cannot be said.
    """

    table: type[Base]
    texts: dict[str, str]
    conversation: str = "NULL::uuid"
    channel: str = "NULL::uuid"
    fields: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """As events call a row of it."""
        return noun_of(self.table)

    @property
    def rows(self) -> str:
        """The table's name in SQL."""
        return str(self.table.__tablename__)


def _of(table: type[Base], texts: dict[str, str], **goes_with: Any) -> tuple[str, Kind]:
    return noun_of(table), Kind(table, texts, **goes_with)


KINDS: dict[str, Kind] = dict(
    [
        _of(
            Contact,
            {
                "firstName": "t.first_name",
                "lastName": "t.last_name",
                "company": "t.company",
                "email": "t.email",
                "phone": "t.phone",
                "contactPoints": ADDRESSES,
            },
        ),
        _of(Conversation, {"subject": "t.subject"}, conversation="t.id", fields=frozenset({"subject"})),
        _of(
            ConversationMessage,
            {
                "subject": _as_mail("l.subject"),
                "sender": _as_mail("concat_ws(' ', l.sender_name, l.sender_address)", _STRANGER),
                "content": TEXT,
            },
            conversation="t.conversation_id",
        ),
        _of(TeamMessage, {"content": TEXT}, channel="t.channel_id"),
    ]
)
"""By the noun in their events. A list of these tables is searched by these words; other lists read their rows."""

ABOUT: dict[str, tuple[str, str]] = {"contact_point": ("contact", "contactId")}
"""Rows whose words are another's: of which kind, and where their JSON names it."""


class Part(msgspec.Struct, frozen=True):
    """Rows whose words are in the document of another: the column that names it, and the text that must have them.

    Without such a text any of the document's will do.
    """

    kind: Kind
    column: str
    text: str | None = None


PARTS: dict[type[Base], Part] = {
    ContactPoint: Part(KINDS["contact"], "contact_id", "value"),
    Mail: Part(KINDS["message"], "message_id"),
}


def finds(table: Any) -> bool:
    """Whether rows of that table are found by their words; else they are read."""
    return table in PARTS or kind_of(table) is not None


def kind_of(table: Any) -> Kind | None:
    """How that table is found."""
    found = KINDS.get(noun_of(table))
    return found if found is not None and found.table is table else None
