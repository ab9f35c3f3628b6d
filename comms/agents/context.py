"""All that an agent needs to know to answer in a conversation, in one call."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from comms import consent
from comms.agents import memory, reach
from comms.credentials import Identity
from comms.errors import Unsendable
from comms.outbox import Intent, enclosing
from comms.outbox.addressing import Place, places_of
from comms.providers import segments
from models.agents import Agent, AgentView
from models.base import View, now
from models.business import Customer, CustomerView
from models.communications import (
    Conversation,
    ConversationHandoff,
    ConversationHandoffView,
    ConversationMessage,
    ConversationMessageView,
    ConversationView,
)
from models.crm import (
    Contact,
    ContactPoint,
    ContactPointView,
    ContactView,
    CrmInteraction,
    CrmInteractionView,
    Deal,
    DealView,
    Prospect,
    ProspectView,
)
from models.orchestration import AgentSharedMemory, AgentSharedMemoryView, AgentTeamMember

V = TypeVar("V", bound=View)

MOST_ROWS = 20
MOST_MEMORIES = 100


class Consented(msgspec.Struct, rename="camel", kw_only=True):
    """Whether the contact wants to hear from us here, as it would be decided now."""

    decision: Annotated[
        str,
        msgspec.Meta(
            description="`allowed`, `answer`, `opted_out`, `in_review` or `quiet_hours`.", examples=["allowed"]
        ),
    ]
    because: Annotated[str, msgspec.Meta(description="Why.", examples=["nothing speaks against it"])]
    not_before: Annotated[
        datetime | None, msgspec.Meta(description="When it may be sent, if not now.", examples=[None])
    ] = None


class ChannelLimits(msgspec.Struct, rename="camel", kw_only=True):
    """What a reply may be, and by which way it would leave."""

    can_send: Annotated[bool, msgspec.Meta(description="Whether a reply would be taken now.", examples=[True])]
    code: Annotated[str | None, msgspec.Meta(description="Why not, for programs.", examples=["opted_out"])] = None
    because: Annotated[
        str | None, msgspec.Meta(description="Why not, in words.", examples=["the number is suspended"])
    ] = None
    channel: Annotated[str, msgspec.Meta(description="The way it travels.", examples=["sms"])]
    from_address: str | None = None
    to_address: str | None = None
    is_reply: Annotated[
        bool, msgspec.Meta(description="Whether it would answer something: then no quiet hours hold.", examples=[True])
    ] = False
    longest: Annotated[
        int | None, msgspec.Meta(description="How many characters it may have; null is no limit.", examples=[1600])
    ] = None
    most_files: Annotated[int, msgspec.Meta(description="How many files go along.", examples=[10])] = 0
    consent: Annotated[
        Consented | None, msgspec.Meta(description="Whether they want to hear from us; null of a chat on a website.")
    ] = None


class Known(msgspec.Struct, rename="camel", kw_only=True):
    """What the CRM knows of the contact, the newest of each first."""

    deals: Annotated[list[DealView], msgspec.Meta(description="Their deals.")] = []
    prospects: Annotated[list[ProspectView], msgspec.Meta(description="What they may become.")] = []
    customers: Annotated[list[CustomerView], msgspec.Meta(description="What they are a customer as.")] = []
    interactions: Annotated[
        list[CrmInteractionView], msgspec.Meta(description="What was done with them elsewhere.")
    ] = []


class AgentContext(msgspec.Struct, rename="camel", kw_only=True):
    """All that an agent needs to know to answer in a conversation."""

    agent: Annotated[AgentView, msgspec.Meta(description="The agent itself.")]
    conversation: Annotated[ConversationView, msgspec.Meta(description="The conversation, with its owner and fence.")]
    may_claim: Annotated[
        bool, msgspec.Meta(description="Whether the agent has it, or it waits for the agent.", examples=[True])
    ]
    handoff: Annotated[
        ConversationHandoffView | None, msgspec.Meta(description="The handoff it waits by, if it does.")
    ] = None
    messages: Annotated[
        list[ConversationMessageView], msgspec.Meta(description="What was said last, the oldest of it first.")
    ] = []
    contact: Annotated[ContactView | None, msgspec.Meta(description="Whom it is with.")] = None
    addresses: Annotated[list[ContactPointView], msgspec.Meta(description="By what they can be reached.")] = []
    crm: Annotated[Known, msgspec.Meta(description="What the CRM knows of them.")]
    memory: Annotated[
        list[AgentSharedMemoryView],
        msgspec.Meta(description="What the agent, its teams and all agents remember, the most important first."),
    ] = []
    knowledge: Annotated[
        list[Any],
        msgspec.Meta(
            description="Where to look things up: what the agent's `config.knowledge` says.",
            examples=[[{"name": "Handbook", "url": "https://example.com/handbook"}]],
        ),
    ] = []
    channel: Annotated[ChannelLimits, msgspec.Meta(description="What a reply may be.")]


async def of(db: AsyncSession, asker: Identity, conversation_id: uuid.UUID, most: int) -> AgentContext:
    """The context of a conversation the agent may look at, with its ``most`` newest messages."""
    assert asker.agent_id is not None
    workspace_id, agent_id = asker.workspace_id, asker.agent_id
    may_claim = await reach.expect_seen(db, workspace_id, agent_id, conversation_id)
    agent = await db.get_one(Agent, (workspace_id, agent_id))
    conversation = await db.get_one(Conversation, (workspace_id, conversation_id))
    handoff = await db.scalar(
        select(ConversationHandoff).where(
            ConversationHandoff.workspace_id == workspace_id,
            ConversationHandoff.conversation_id == conversation_id,
            ConversationHandoff.status == "open",
        )
    )
    contact_id = conversation.contact_id
    contact = None if contact_id is None else await db.get(Contact, (workspace_id, contact_id))
    said = await _newest(db, ConversationMessage, ConversationMessage.conversation_id == conversation_id, most=most)
    knowledge = agent.config.get("knowledge", [])
    return AgentContext(
        agent=_view(agent, AgentView),
        conversation=_view(conversation, ConversationView),
        may_claim=may_claim,
        handoff=None if handoff is None else _view(handoff, ConversationHandoffView),
        messages=[_view(row, ConversationMessageView) for row in reversed(said)],
        contact=None if contact is None else _view(contact, ContactView),
        addresses=await _of_contact(db, ContactPoint, ContactPointView, contact_id),
        crm=Known(
            deals=await _of_contact(db, Deal, DealView, contact_id),
            prospects=await _of_contact(db, Prospect, ProspectView, contact_id),
            customers=await _of_contact(db, Customer, CustomerView, contact_id),
            interactions=await _of_contact(db, CrmInteraction, CrmInteractionView, contact_id),
        ),
        memory=await _remembered(db, workspace_id, agent_id),
        knowledge=knowledge if isinstance(knowledge, list) else [knowledge],
        # Last, because it holds the conversation, as a reply would.
        channel=await _limits(db, workspace_id, agent_id, conversation),
    )


def _view(row: Any, view: type[V]) -> V:
    return msgspec.convert(row, view, from_attributes=True)


async def _newest(db: AsyncSession, table: Any, *which: Any, most: int) -> Sequence[Any]:
    query = select(table).where(*which).order_by(table.created_at.desc(), table.id.desc()).limit(most)
    if table is ConversationMessage:
        query = query.options(selectinload(ConversationMessage.attachments))
    return (await db.scalars(query)).all()


async def _of_contact(db: AsyncSession, table: Any, view: type[V], contact_id: uuid.UUID | None) -> list[V]:
    if contact_id is None:
        return []
    rows = await _newest(db, table, table.contact_id == contact_id, most=MOST_ROWS)
    return [_view(row, view) for row in rows]


async def _remembered(db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID) -> list[AgentSharedMemoryView]:
    """The agent's own, that of its teams, and everybody's."""
    here = AgentSharedMemory.workspace_id == workspace_id
    teams = select(AgentTeamMember.team_id).where(
        AgentTeamMember.workspace_id == workspace_id, AgentTeamMember.agent_id == agent_id
    )
    is_shared = AgentSharedMemory.agent_id.is_(None) & or_(
        AgentSharedMemory.team_id.is_(None), AgentSharedMemory.team_id.in_(teams)
    )
    rows = await db.scalars(
        select(AgentSharedMemory)
        .where(here, memory.alive(), or_(AgentSharedMemory.agent_id == agent_id, is_shared))
        .order_by(AgentSharedMemory.importance.desc(), AgentSharedMemory.id)
        .limit(MOST_MEMORIES)
    )
    return [_view(row, AgentSharedMemoryView) for row in rows]


async def _limits(
    db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID, conversation: Conversation
) -> ChannelLimits:
    at = now()
    intent = Intent(workspace_id=workspace_id, conversation_id=conversation.id, content="?", sender_type="user")
    [place] = await places_of(db, [intent], at)
    if isinstance(place, Exception):
        code = place.code if isinstance(place, Unsendable) else "conversation"
        return ChannelLimits(can_send=False, code=code, because=str(place), channel=conversation.channel)
    decided = await _consented(db, workspace_id, place, at)
    refused = decided is not None and decided.decision in ("opted_out", "in_review")
    return ChannelLimits(
        can_send=not refused,
        code=decided.decision if decided is not None and refused else None,
        because=decided.because if decided is not None and refused else None,
        channel=place.channel,
        from_address=place.route.from_address,
        to_address=place.route.to_address,
        is_reply=place.is_reply,
        longest=None if place.channel == "email" else segments.LONGEST,
        most_files=enclosing.most_of(place),
        consent=decided,
    )


async def _consented(db: AsyncSession, workspace_id: uuid.UUID, place: Place, at: datetime) -> Consented | None:
    if place.is_shown:
        return None
    question = consent.Question(
        workspace_id=workspace_id,
        channel=place.channel,
        address=place.route.to_address,
        sender=place.route.from_address,
        is_reply=place.is_reply,
        is_automatic=True,
        at=at,
    )
    [decision] = await consent.decide(db, [question])
    return Consented(decision=decision.code, because=decision.words, not_before=decision.not_before)
