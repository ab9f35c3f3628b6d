"""Who of a workspace can be given something to do, or be called on."""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from comms.permissions import WRITERS
from comms.shapes import msgspec_camel
from models.base import Base, assigning
from models.core import WorkspaceMember

MOST_MENTIONS = 50
NOT_ACTIVE = "is no active member of this workspace"
ONLY_READS = "may only read here: give it to somebody who may answer"

_MENTION = re.compile(r"@\[([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\]")


async def expect_active(db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID, field: str = "userId") -> None:
    """The user is an active member until the commit; raises ``Invalid`` naming ``field``."""
    if user_id not in await active_of(db, workspace_id, [user_id]):
        raise Invalid({field: NOT_ACTIVE})


async def active_of(db: AsyncSession, workspace_id: uuid.UUID, user_ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Those of these users who are active members until the commit."""
    if not user_ids:
        return frozenset()
    members = select(WorkspaceMember.user_id).where(
        WorkspaceMember.workspace_id == workspace_id, WorkspaceMember.user_id.in_(user_ids), WorkspaceMember.is_active
    )
    return frozenset(await db.scalars(members.order_by(WorkspaceMember.id).with_for_update(read=True)))


async def unassignable(
    db: AsyncSession, workspace_id: uuid.UUID, table: type[Base], many: Sequence[Mapping[str, Any]]
) -> list[Invalid | None]:
    """What is wrong with whom each of these rows is given to, if anything: they are active members until the commit."""
    fields = assigning(table)
    named = {values[name] for values in many for name in fields if values.get(name) is not None}
    gone = named - await active_of(db, workspace_id, named)
    wrong = [{msgspec_camel(name): NOT_ACTIVE for name in fields if values.get(name) in gone} for values in many]
    return [Invalid(errors) if errors else None for errors in wrong]


async def expect_answerer(db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID, field: str = "userId") -> None:
    """The user may answer contacts, and so have a conversation, until the commit; raises ``Invalid`` with ``field``."""
    hindered = await no_answerers_of(db, workspace_id, [user_id])
    if user_id in hindered:
        raise Invalid({field: hindered[user_id]})


async def no_answerers_of(
    db: AsyncSession, workspace_id: uuid.UUID, user_ids: Collection[uuid.UUID]
) -> Mapping[uuid.UUID, str]:
    """Those of these users who can have no conversation until the commit, each with the reason."""
    members = select(WorkspaceMember.user_id, WorkspaceMember.role).where(
        WorkspaceMember.workspace_id == workspace_id, WorkspaceMember.user_id.in_(user_ids), WorkspaceMember.is_active
    )
    locked = await db.execute(members.order_by(WorkspaceMember.id).with_for_update(read=True))
    roles = {row.user_id: row.role for row in locked}
    return {
        user_id: ONLY_READS if user_id in roles else NOT_ACTIVE
        for user_id in user_ids
        if roles.get(user_id) not in WRITERS
    }


async def mentioned(
    db: AsyncSession, workspace_id: uuid.UUID, content: str, named: Collection[uuid.UUID]
) -> list[uuid.UUID]:
    """The active members that ``content`` calls on as ``@[userId]`` and those ``named`` besides, each once.

    Raises ``Invalid`` when somebody named is no active member; what only looks like a mention is text.
    """
    written = in_text(content)
    asked = list(dict.fromkeys([*named, *written]))
    if not asked:
        return []
    if len(asked) > MOST_MENTIONS:
        raise Invalid({"mentions": f"are more than {MOST_MENTIONS} members"})
    members = set(
        await db.scalars(
            select(WorkspaceMember.user_id).where(
                WorkspaceMember.workspace_id == workspace_id,
                WorkspaceMember.user_id.in_(asked),
                WorkspaceMember.is_active,
            )
        )
    )
    strangers = [user_id for user_id in named if user_id not in members]
    if strangers:
        raise Invalid({"mentions": f"names {strangers[0]}, who is no active member of this workspace"})
    return [user_id for user_id in asked if user_id in members]


async def mentioned_anew(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    before: Collection[uuid.UUID],
    was: str,
    content: str,
    named: Collection[uuid.UUID] | None,
) -> list[uuid.UUID]:
    """Whom a text mentions after it ``was`` something else; those besides it stay, unless they are ``named`` anew."""
    written = in_text(was)
    kept = [user_id for user_id in before if user_id not in written] if named is None else []
    return list(dict.fromkeys([*kept, *await mentioned(db, workspace_id, content, named or [])]))


def in_text(content: str) -> Sequence[uuid.UUID]:
    """Whom a text calls on, in its order."""
    return list(dict.fromkeys(uuid.UUID(found) for found in _MENTION.findall(content)))
