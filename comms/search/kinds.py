"""What can be found: the rows of which tables, by which of their texts."""

from typing import Any

import msgspec

from models.base import Base, noun_of
from models.communications import Conversation, ConversationMessage, Mail, TeamMessage
from models.crm import Contact, ContactPoint

ADDRESSES = (
    "(SELECT string_agg(p.value, ', ' ORDER BY p.kind, p.value) FROM contact_points p"
    " WHERE p.workspace_id = t.workspace_id AND p.contact_id = t.id)"
)


def _text(row: str) -> str:
    """What is said in a row; of HTML without the tags."""
    plain = f"regexp_replace({row}.content, '<[^>]*>', ' ', 'g')"
    return f"CASE {row}.content_type WHEN 'html' THEN {plain} ELSE {row}.content END"


def _stranger(row: str) -> str:
    """Whether nobody knows by their contact who wrote a message: only by what they say they are called."""
    return f"{row}.direction = 'inbound' AND {row}.sender_contact_id IS NULL"


def _as_mail(column: str, which: str = "true") -> str:
    """What a message says of itself as a mail."""
    return f"(SELECT {column} FROM mails l WHERE l.workspace_id = t.workspace_id AND l.message_id = t.id AND {which})"


def _of_message(what: str, which: str = "true") -> str:
    """What a mail says of itself as a message."""
    its = "m.workspace_id = t.workspace_id AND m.id = t.message_id"
    return f"(SELECT {what} FROM conversation_messages m WHERE {its} AND {which})"


_SENDER = "concat_ws(' ', {0}.sender_name, {0}.sender_address)"


class Kind(msgspec.Struct, frozen=True):
    """A sort of rows: SQL for each text of a row ``t``, and for the conversation, team channel or mail it goes with.

    ``fields`` are those of its JSON without which no change changes its words; none where that cannot be said.
    ``also`` is SQL for a row of another kind that has the same words, and changes whenever this one does.
    ``within`` is the column that names the conversation whose rows can be asked for alone.
    """

    table: type[Base]
    texts: dict[str, str]
    conversation: str = "NULL::uuid"
    channel: str = "NULL::uuid"
    mail: str = "NULL::uuid"
    also: tuple[str, str] | None = None
    within: str | None = None
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
                "sender": _as_mail(_SENDER.format("l"), _stranger("t")),
                "content": _text("t"),
            },
            conversation="t.conversation_id",
            also=("mail", _as_mail("l.id")),
            within="conversation_id",
        ),
        _of(TeamMessage, {"content": _text("t")}, channel="t.channel_id"),
        _of(
            Mail,
            {
                "subject": "t.subject",
                "sender": _of_message(_SENDER.format("t"), _stranger("m")),
                "content": _of_message(_text("m")),
            },
            mail="t.id",
        ),
    ]
)
"""By the noun in their events. A list of these tables is searched by these words; other lists read their rows."""

ABOUT: dict[str, tuple[str, str]] = {"contact_point": ("contact", "contactId")}
"""Rows whose words are another's: of which kind, and where their JSON names it."""


MOVES = "contact_merge"
"""What moves messages from one conversation to another without telling of each."""


class Part(msgspec.Struct, frozen=True):
    """Rows whose words are in the document of another: the column that names it, and the text that must have them."""

    kind: Kind
    column: str
    text: str


PARTS: dict[type[Base], Part] = {
    ContactPoint: Part(KINDS["contact"], "contact_id", "value"),
}


def finds(table: Any) -> bool:
    """Whether rows of that table are found by their words; else they are read."""
    return table in PARTS or kind_of(table) is not None


def kind_of(table: Any) -> Kind | None:
    """How that table is found."""
    found = KINDS.get(noun_of(table))
    return found if found is not None and found.table is table else None


def conversation_filter(table: Any) -> str | None:
    """The column by which rows of that table are one conversation's, and found by their words among those alone."""
    kind = kind_of(table)
    return None if kind is None else kind.within
