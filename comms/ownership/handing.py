"""A conversation is handed on: nobody's from now on, it waits for who is asked, with what they need to know."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import mentions
from comms.errors import Conflict, Forbidden, Invalid
from comms.ownership import moving, settling, telling
from comms.ownership.holding import ByAgent, ByMember, NotYours, expect_fence, holding_of
from models.agents import Agent
from models.base import new_id, now
from models.communications import Conversation, ConversationHandoff, ConversationMessage, Team
from models.communications.handoffs import Packet, Step, Target

MOST_BETWEEN_AGENTS = 10
"""So often may agents hand a conversation to agents while its contact says nothing; then a person has to take it."""


class Handing(msgspec.Struct, frozen=True, kw_only=True):
    """To whom a conversation is handed on, why, and what follows; ``within_seconds`` None is what is settled."""

    reason: str
    target: Target
    packet: Packet = msgspec.field(default_factory=Packet)
    within_seconds: int | None = None
    steps: Sequence[Step] = ()


class NothingNew(Conflict):
    """An agent cannot hand a conversation back to where it came from without something new: say what is."""


class Over(NotYours):
    """The handoff is over."""


async def hand_on(
    db: AsyncSession,
    conversation: Conversation,
    handing: Handing,
    by: ByMember | ByAgent,
    *,
    fence: int | None = None,
) -> ConversationHandoff:
    """The conversation waits for who is asked, until the deadline; whoever had it does not any more.

    An agent hands on what it has, under its fence (``Stale``), and not back without something new (``Conflict``).
    Raises ``Invalid`` with the path of who cannot be asked.
    """
    is_agents = isinstance(by, ByAgent)
    agent_id = by.id if is_agents else None
    expect_fence(holding_of(conversation), fence=fence, agent_id=agent_id, is_agents=is_agents, at=now())
    if conversation.status != "active":
        raise Conflict(f"this conversation is {conversation.status}: reopen it to hand it on")
    _expect_steps(handing.steps)
    await expect_target(db, conversation, handing.target, "target")
    for place, step in enumerate(handing.steps):
        if step.target is not None:
            await expect_target(db, conversation, step.target, f"steps[{place}].target", is_first=False)
    if is_agents:
        await _expect_news(db, conversation, handing)
    await settling.withdraw(db, conversation, why="handed on again")
    await moving.let_go(db, conversation, "handed_on", f"handed on: {handing.reason}")
    settled = await telling.settled(db, conversation)
    seconds = handing.within_seconds or settled.within_seconds
    handoff = ConversationHandoff(
        workspace_id=conversation.workspace_id,
        id=new_id(),
        conversation_id=conversation.id,
        fence=conversation.fence,
        from_user_id=None if is_agents else by.id,
        from_agent_id=agent_id,
        reason=handing.reason,
        packet=msgspec.to_builtins(handing.packet),
        steps=[msgspec.to_builtins(step) for step in handing.steps],
        within_seconds=seconds,
        deadline_at=now() + timedelta(seconds=seconds),
    )
    ask(handoff, handing.target)
    db.add(handoff)
    await db.flush()
    await telling.tell(db, conversation, handoff, settled.words.handed_on)
    await settling.record(db, "created", handoff)
    return handoff


def ask(handoff: ConversationHandoff, target: Target) -> None:
    """The handoff is for them now."""
    handoff.target_user_id = target.user_id
    handoff.target_agent_id = target.agent_id
    handoff.target_team_id = target.team_id
    handoff.needed_skills = list(dict.fromkeys(target.needed_skills))


async def accept(
    db: AsyncSession, conversation: Conversation, handoff: ConversationHandoff, by: ByMember | ByAgent
) -> None:
    """Who was asked has the conversation; raises ``Over`` when it is too late, ``Forbidden`` for anybody else."""
    expect_open(conversation, handoff)
    if not await settling.was_asked(db, handoff, by):
        raise Forbidden("This conversation was handed to somebody else: take it over with PUT …/ownership.")
    await moving.give(db, conversation, by, why=f"accepted: {handoff.reason}")


def expect_open(conversation: Conversation, handoff: ConversationHandoff) -> None:
    """The handoff is not over; raises ``Over``."""
    if handoff.status != "open":
        raise Over(f"this handoff is {handoff.status}", holding_of(conversation))


def _expect_steps(steps: Sequence[Step]) -> None:
    empty = [place for place, step in enumerate(steps) if step == Step(within_seconds=step.within_seconds)]
    if empty:
        reason = "does nothing: give it a target, words for the contact or a callback"
        raise Invalid({f"steps[{place}]": reason for place in empty})


async def expect_target(
    db: AsyncSession, conversation: Conversation, target: Target, path: str, *, is_first: bool = True
) -> None:
    """They can be asked; raises ``Invalid`` with the path of who cannot."""
    named = [one for one in (target.user_id, target.agent_id, target.team_id) if one is not None]
    if len(named) > 1 or not (named or target.needed_skills):
        raise Invalid({path: "must name one of userId, agentId and teamId, or neededSkills alone"})
    workspace_id = conversation.workspace_id
    if target.user_id is not None:
        await mentions.expect_active(db, workspace_id, target.user_id, _at(path, "userId"))
        if is_first and target.user_id == conversation.assigned_to:
            raise Invalid({_at(path, "userId"): "has the conversation already"})
    if target.agent_id is not None:
        status = await db.scalar(
            select(Agent.status).where(Agent.workspace_id == workspace_id, Agent.id == target.agent_id)
        )
        if status != "active":
            words = "is no agent of this workspace" if status is None else f"is {status}: activate it first"
            raise Invalid({_at(path, "agentId"): words})
        if is_first and target.agent_id == conversation.agent_id:
            raise Invalid({_at(path, "agentId"): "has the conversation already"})
    if target.team_id is not None:
        query = select(Team.is_active).where(Team.workspace_id == workspace_id, Team.id == target.team_id)
        if not (is_active := await db.scalar(query)):
            words = "is no team of this workspace" if is_active is None else "is not in use any more"
            raise Invalid({_at(path, "teamId"): words})


def _at(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


async def _expect_news(db: AsyncSession, conversation: Conversation, handing: Handing) -> None:
    """Going round in circles ends: since the contact last said something, back only with something new."""
    earlier = await _since_the_contact(db, conversation)
    if handing.target.agent_id is not None:
        between = [row for row in earlier if row.from_agent_id is not None and row.target_agent_id is not None]
        if len(between) >= MOST_BETWEEN_AGENTS:
            raise NothingNew(
                f"agents have handed this on {len(between)} times since its contact said something: ask a person"
            )
    for row in earlier:
        if await _came_from(db, row, handing.target) and not _is_news(handing.packet, row.packet):
            raise NothingNew


async def _since_the_contact(db: AsyncSession, conversation: Conversation) -> Sequence[ConversationHandoff]:
    said_at = await db.scalar(
        select(func.max(ConversationMessage.created_at)).where(
            ConversationMessage.workspace_id == conversation.workspace_id,
            ConversationMessage.conversation_id == conversation.id,
            ConversationMessage.direction == "inbound",
        )
    )
    query = select(ConversationHandoff).where(
        ConversationHandoff.workspace_id == conversation.workspace_id,
        ConversationHandoff.conversation_id == conversation.id,
        ConversationHandoff.created_at > (said_at or datetime.min.replace(tzinfo=now().tzinfo)),
    )
    return (await db.scalars(query.order_by(ConversationHandoff.created_at).limit(200))).all()


async def _came_from(db: AsyncSession, handoff: ConversationHandoff, target: Target) -> bool:
    if handoff.from_agent_id is not None:
        return handoff.from_agent_id == target.agent_id
    if handoff.from_user_id is None:
        return False
    if target.team_id is not None:
        return await settling.is_in(db, handoff.workspace_id, target.team_id, handoff.from_user_id)
    return handoff.from_user_id == target.user_id


def _is_news(packet: Packet, before: dict[str, Any]) -> bool:
    """Whether there is a fact, a try, a question or a row in the packet that was not in the one before."""
    then = msgspec.convert(before, Packet)
    facts = any(then.facts.get(name) != value for name, value in packet.facts.items())
    lists = ((packet.tried, then.tried), (packet.open_questions, then.open_questions), (packet.links, then.links))
    return facts or any(one not in known for found, known in lists for one in found)
