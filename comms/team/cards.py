"""What a message speaks of: conversations, contacts and deals, and the card that each reader sees of them."""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Invalid
from models.base import Base, new_id
from models.communications import Conversation, TeamLink, TeamMessage, TeamMessageLink
from models.communications.team_messages import LinkType
from models.crm import Contact, Deal

MOST = 10
TABLES: Mapping[LinkType, Any] = {"conversation": Conversation, "contact": Contact, "deal": Deal}

Seen = Callable[[type[Base]], Sequence[ColumnElement[bool]] | None]
"""What limits the rows of a table that the reader sees; None when they see none."""


class Card(msgspec.Struct, rename="camel"):
    """As much of something linked as is shown beside the message."""

    type: Annotated[LinkType, msgspec.Meta(description="What it is.", examples=["contact"])]
    id: Annotated[
        uuid.UUID, msgspec.Meta(description="Which one it is.", examples=["0198c0de-5000-7a06-98b0-d09a939402d8"])
    ]
    title: Annotated[str | None, msgspec.Meta(description="What it is called.", examples=["Ada Lovelace"])]
    subtitle: Annotated[
        str | None,
        msgspec.Meta(
            description="Of a contact the company, of a conversation its channel, of a deal what it is worth.",
            examples=["Analytical Engines"],
        ),
    ]
    status: Annotated[str | None, msgspec.Meta(description="Where it stands.", examples=["customer"])]


async def linked(
    db: AsyncSession, sender: Identity, message: TeamMessage, links: Sequence[TeamLink]
) -> list[TeamMessageLink]:
    """The rows, not yet written, that link these to the message; ``Invalid`` names those that there are not."""
    if len(links) > MOST:
        raise Invalid({"links": f"are more than {MOST}"})
    there: set[tuple[str, uuid.UUID]] = set()
    for kind, table in TABLES.items():
        ids = [link.id for link in links if link.type == kind]
        if ids:
            found = select(table.id).where(table.workspace_id == sender.workspace_id, table.id.in_(ids))
            there |= {(kind, row_id) for row_id in await db.scalars(found)}
    errors = {
        f"links[{place}].id": "refers to nothing in this workspace"
        for place, link in enumerate(links)
        if (link.type, link.id) not in there
    }
    if errors:
        raise Invalid(errors)
    return [
        TeamMessageLink(
            workspace_id=sender.workspace_id, id=new_id(), message_id=message.id, **{f"{kind}_id": subject_id}
        )
        for kind, subject_id in dict.fromkeys((link.type, link.id) for link in links)
    ]


async def unlink(db: AsyncSession, message: TeamMessage) -> None:
    """The message speaks of nothing any more."""
    await db.execute(
        delete(TeamMessageLink)
        .where(TeamMessageLink.workspace_id == message.workspace_id, TeamMessageLink.message_id == message.id)
        .execution_options(synchronize_session=False)
    )


async def cards_of(
    db: AsyncSession, workspace_id: uuid.UUID, message_ids: Collection[uuid.UUID], seen: Seen
) -> dict[uuid.UUID, list[Card]]:
    """The cards of these messages, by message, of what the reader may see; a query for each sort of thing."""
    rows = list(
        await db.scalars(
            select(TeamMessageLink)
            .where(TeamMessageLink.workspace_id == workspace_id, TeamMessageLink.message_id.in_(message_ids))
            .order_by(TeamMessageLink.id)
        )
    )
    cards: dict[uuid.UUID, Card] = {}
    with_whom: set[uuid.UUID] = set()
    nameless: dict[uuid.UUID, uuid.UUID] = {}
    for kind, table in TABLES.items():
        limits = seen(table)
        if limits is None:
            continue
        ids = {row.subject_id for row in rows if row.type == kind}
        if kind == "contact":  # after the conversations
            ids |= with_whom
        found = list(
            await db.scalars(select(table).where(table.workspace_id == workspace_id, table.id.in_(ids), *limits))
        )
        cards |= {row.id: _SHOWN[kind](row) for row in found}
        if kind == "conversation":
            nameless = {row.id: row.contact_id for row in found if not row.subject and row.contact_id}
            with_whom |= set(nameless.values())
    for conversation_id, contact_id in nameless.items():
        if contact_id in cards:
            cards[conversation_id] = msgspec.structs.replace(cards[conversation_id], title=cards[contact_id].title)
    by_message: dict[uuid.UUID, list[Card]] = {}
    for row in rows:
        if row.subject_id in cards:
            by_message.setdefault(row.message_id, []).append(cards[row.subject_id])
    return by_message


def _contact(row: Contact) -> Card:
    name = " ".join(filter(None, (row.first_name, row.last_name)))
    return Card("contact", row.id, name or row.email or row.phone, row.company, row.status)


def _conversation(row: Conversation) -> Card:
    return Card("conversation", row.id, row.subject, row.channel, row.status)


def _deal(row: Deal) -> Card:
    return Card("deal", row.id, row.name, None if row.value is None else f"{row.value} {row.currency}", row.stage)


_SHOWN: Mapping[LinkType, Callable[[Any], Card]] = {
    "conversation": _conversation,
    "contact": _contact,
    "deal": _deal,
}
