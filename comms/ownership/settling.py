"""A handoff is over: whoever has the conversation now was asked, or came first; or it is not to be any more."""

import uuid
from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Missing
from comms.ownership import telling
from comms.ownership.holding import ByAgent, ByMember
from models.base import now
from models.communications import Conversation, ConversationHandoff, ConversationHandoffView, TeamMember
from models.routing import RoutingProfile


class HandoffMissing(Missing):
    """There is no such handoff of the conversation."""

    def __init__(self, handoff_id: uuid.UUID) -> None:
        super().__init__(f"There is no handoff {handoff_id} of this conversation.")


async def held(db: AsyncSession, conversation: Conversation, handoff_id: uuid.UUID) -> ConversationHandoff:
    """One of the conversation's handoffs, over or not, locked; raises ``HandoffMissing``."""
    query = select(ConversationHandoff).where(
        ConversationHandoff.workspace_id == conversation.workspace_id,
        ConversationHandoff.id == handoff_id,
        ConversationHandoff.conversation_id == conversation.id,
    )
    found: ConversationHandoff | None = await db.scalar(query.with_for_update(key_share=True))
    if found is None:
        raise HandoffMissing(handoff_id)
    return found


async def open_of(db: AsyncSession, conversation: Conversation) -> ConversationHandoff | None:
    """The handoff by which the conversation waits for somebody, locked."""
    query = (
        select(ConversationHandoff)
        .where(
            ConversationHandoff.workspace_id == conversation.workspace_id,
            ConversationHandoff.conversation_id == conversation.id,
            ConversationHandoff.status == "open",
        )
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found: ConversationHandoff | None = await db.scalar(query)
    return found


async def settle(
    db: AsyncSession, conversation: Conversation, owner: ByMember | ByAgent, *, tells: bool = True
) -> None:
    """The conversation has an owner, and so its handoff, if there is one, is over; the contact hears of a person."""
    handoff = await open_of(db, conversation)
    if handoff is None:
        return
    handoff.taken_by_user_id = owner.id if isinstance(owner, ByMember) else None
    handoff.taken_by_agent_id = owner.id if isinstance(owner, ByAgent) else None
    is_asked = await was_asked(db, handoff, owner)
    if tells and isinstance(owner, ByMember):
        await telling.tell(db, conversation, handoff, (await telling.settled(db, conversation)).words.taken)
    await end(db, handoff, "accepted" if is_asked else "taken")


async def was_asked(db: AsyncSession, handoff: ConversationHandoff, owner: ByMember | ByAgent) -> bool:
    """Whether it is them whom the handoff is for: by name, or as one of the team who has the skills, or of all."""
    if isinstance(owner, ByAgent):
        return handoff.target_agent_id == owner.id
    if handoff.target_user_id is not None or handoff.target_agent_id is not None:
        return handoff.target_user_id == owner.id
    team_id = handoff.target_team_id
    if team_id is not None and not await is_in(db, handoff.workspace_id, team_id, owner.id):
        return False
    return not handoff.needed_skills or await _can(db, handoff, owner.id)


async def is_in(db: AsyncSession, workspace_id: uuid.UUID, team_id: uuid.UUID, user_id: uuid.UUID) -> bool:
    """Whether the member is in the team."""
    query = select(TeamMember.id).where(
        TeamMember.workspace_id == workspace_id, TeamMember.team_id == team_id, TeamMember.user_id == user_id
    )
    return await db.scalar(query) is not None


async def _can(db: AsyncSession, handoff: ConversationHandoff, user_id: uuid.UUID) -> bool:
    """Whether the member has all the skills that are asked for."""
    query = select(RoutingProfile.skills).where(
        RoutingProfile.workspace_id == handoff.workspace_id, RoutingProfile.user_id == user_id
    )
    return set(handoff.needed_skills) <= set(await db.scalar(query) or ())


async def withdraw(db: AsyncSession, conversation: Conversation, *, why: str) -> None:
    """Nobody is asked any more to take the conversation."""
    handoff = await open_of(db, conversation)
    if handoff is not None:
        await end(db, handoff, "withdrawn", why)


async def end(
    db: AsyncSession,
    handoff: ConversationHandoff,
    status: Literal["accepted", "taken", "rejected", "expired", "withdrawn"],
    why: str | None = None,
) -> None:
    """The handoff is over, and everybody hears how."""
    handoff.status, handoff.settled_at = status, now()
    handoff.settled_because = why or handoff.settled_because
    await record(db, status, handoff)


async def record(db: AsyncSession, what: str, handoff: ConversationHandoff) -> None:
    """It is told of the handoff as it stands."""
    await db.flush()
    events.record(db, f"conversation_handoff.{what}", handoff, view_of(handoff))


def view_of(handoff: ConversationHandoff) -> ConversationHandoffView:
    """The handoff as GET shows it."""
    return msgspec.convert(handoff, ConversationHandoffView, from_attributes=True)
