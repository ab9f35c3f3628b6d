"""An agent at work in a conversation: it claims it, keeps it, answers, leaves a draft or a note, and lets it go.

Whatever it says carries the fence it was written under: a conversation that somebody else has meanwhile stays theirs.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import notes, ownership
from comms.agents import approvals, reach
from comms.agents.acting import Records
from comms.agents.reach import held
from comms.credentials import Identity
from comms.errors import Invalid
from comms.outbox import Intent, put
from comms.ownership import ByAgent, deadlines, settling
from comms.ownership.handing import Handing, hand_on
from comms.ownership.holding import NotYours, holding_of
from models.base import now
from models.communications import (
    Conversation,
    ConversationHandoffView,
    ConversationMessage,
    ConversationMessageView,
)
from models.orchestration import AgentPendingAction

ANSWERS = "answers"
"""The metadata of a reply that says which message it answers."""


async def claim(db: AsyncSession, agent: Identity, conversation_id: uuid.UUID, seconds: float) -> Conversation:
    """The agent has the conversation for so long; raises ``Owned``, also for what waits for others."""
    assert agent.agent_id is not None
    conversation = await held(db, agent.workspace_id, conversation_id)
    holding = holding_of(conversation)
    is_free = holding.assigned_to is None and not holding.is_leased(now())
    if is_free and not await reach.expect_seen(db, agent.workspace_id, agent.agent_id, conversation_id):
        raise ownership.Owned("this conversation waits for others, also when this agent has refused it", holding)
    await ownership.claim(db, conversation, agent.agent_id, seconds)
    return conversation


async def renew(
    db: AsyncSession, agent: Identity, conversation_id: uuid.UUID, fence: int, seconds: float
) -> Conversation:
    """The lease lasts so long from now on; raises ``Stale`` when the conversation is somebody else's by now."""
    assert agent.agent_id is not None
    conversation = await held(db, agent.workspace_id, conversation_id)
    await ownership.renew(db, conversation, agent.agent_id, fence, seconds)
    return conversation


async def release(db: AsyncSession, agent: Identity, conversation_id: uuid.UUID, fence: int, why: str) -> None:
    """The conversation is nobody's and waits; raises ``Stale``."""
    assert agent.agent_id is not None
    conversation = await held(db, agent.workspace_id, conversation_id)
    holding = holding_of(conversation)
    if holding.agent_id != agent.agent_id or holding.fence != fence:
        raise ownership.Stale(f"this agent does not have the conversation under fence {fence}", holding)
    await ownership.release(db, conversation, why=why)


async def hand_off(
    db: AsyncSession, agent: Identity, conversation_id: uuid.UUID, fence: int, wanted: Handing
) -> ConversationHandoffView:
    """The conversation waits for who is asked, with all the agent knows; raises ``Stale``."""
    assert agent.agent_id is not None
    conversation = await held(db, agent.workspace_id, conversation_id)
    return settling.view_of(await hand_on(db, conversation, wanted, ByAgent(agent.agent_id), fence=fence))


async def refuse(
    db: AsyncSession, agent: Identity, conversation_id: uuid.UUID, handoff_id: uuid.UUID, why: str | None
) -> ConversationHandoffView:
    """The agent does not take what it was asked to: the next is asked at once, or it waits for anybody.

    Raises ``Over`` when it is too late, and ``Missing`` for what this agent was never asked to take.
    """
    assert agent.agent_id is not None
    conversation = await held(db, agent.workspace_id, conversation_id)
    handoff = await settling.held(db, conversation, handoff_id)
    if str(agent.agent_id) not in [one.get("agentId") for one in handoff.asked]:
        raise settling.HandoffMissing(handoff_id)
    await deadlines.reject(db, conversation, handoff, ByAgent(agent.agent_id), why=why)
    return settling.view_of(handoff)


async def reply(
    db: AsyncSession,
    agent: Identity,
    conversation_id: uuid.UUID,
    *,
    fence: int,
    content: str,
    attachment_ids: Sequence[uuid.UUID] = (),
    answers: uuid.UUID | None = None,
) -> ConversationMessageView:
    """The contact is answered, if the agent has the conversation under that fence; raises ``Stale``.

    A message that it says it ``answers`` is answered once, whatever the agent has forgotten.
    """
    assert agent.agent_id is not None
    if answers is not None:
        conversation = await held(db, agent.workspace_id, conversation_id)  # who answers the same waits for us here
        await _expect_unanswered(db, conversation, answers)
    return await put(
        db,
        Intent(
            workspace_id=agent.workspace_id,
            conversation_id=conversation_id,
            content=content,
            attachment_ids=attachment_ids,
            sender_type="agent",
            sender_agent_id=agent.agent_id,
            fence=fence,
            metadata={} if answers is None else {ANSWERS: str(answers)},
        ),
    )


async def _expect_unanswered(db: AsyncSession, conversation: Conversation, message_id: uuid.UUID) -> None:
    here = (
        ConversationMessage.workspace_id == conversation.workspace_id,
        ConversationMessage.conversation_id == conversation.id,
    )
    at = await db.scalar(
        select(ConversationMessage.created_at).where(
            *here, ConversationMessage.id == message_id, ConversationMessage.direction == "inbound"
        )
    )
    if at is None:
        raise Invalid({"answers": "is no message of the contact's in this conversation"})
    answer = await db.scalar(
        select(ConversationMessage.id)
        .where(
            *here,
            ConversationMessage.created_at >= at,
            ConversationMessage.meta[ANSWERS].astext == str(message_id),
            ConversationMessage.status != "canceled",
        )
        .limit(1)
    )
    if answer is not None:
        raise NotYours("this message is answered already", holding_of(conversation), conflicting_id=answer)


async def note(
    db: AsyncSession, agent: Identity, conversation_id: uuid.UUID, content: str, mentions: Sequence[uuid.UUID]
) -> ConversationMessageView:
    """The team reads the agent's note; its contact never does."""
    assert agent.agent_id is not None
    await reach.expect_seen(db, agent.workspace_id, agent.agent_id, conversation_id)
    return await notes.write(db, agent, conversation_id, content, mentions)


async def draft(
    db: AsyncSession,
    agent: Identity,
    conversation_id: uuid.UUID,
    *,
    content: str,
    attachment_ids: Sequence[uuid.UUID],
    fence: int | None,
    records: Records,
) -> AgentPendingAction:
    """Something for a person to send in their own name, as it is or edited: as long as the fence stays."""
    assert agent.agent_id is not None
    await reach.expect_seen(db, agent.workspace_id, agent.agent_id, conversation_id)
    details = {
        "conversationId": str(conversation_id),
        "content": content,
        "attachmentIds": [str(id_) for id_ in attachment_ids],
    }
    values = {
        "agent_id": agent.agent_id,
        "action_type": "draft_message",
        "risk_level": "low",
        "title": content[:80] or "A message",
        "details": details,
    }
    return await approvals.ask(db, agent, values, records, fence)
