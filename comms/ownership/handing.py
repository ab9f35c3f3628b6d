"""A conversation is handed on: nobody's from now on, it waits for who is asked, with what they need to know."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Forbidden, Invalid
from comms.ownership import circles, moving, settling, targets, telling
from comms.ownership.holding import ByAgent, ByMember, NotYours, expect_fence, holding_of
from models.base import new_id, now
from models.business import Customer, Project
from models.communications import Conversation, ConversationHandoff
from models.communications.handoffs import Packet, Step, Target
from models.crm import Contact, CrmInteraction, Deal, Prospect
from models.finance import Invoice

LINKED: Mapping[str, Any] = {
    "contacts": Contact,
    "deals": Deal,
    "prospects": Prospect,
    "customers": Customer,
    "projects": Project,
    "invoices": Invoice,
    "crm-interactions": CrmInteraction,
}
"""What a packet may lead to, by what its address calls it."""


class Handing(msgspec.Struct, frozen=True, kw_only=True):
    """To whom a conversation is handed on, why, and what follows; ``within_seconds`` None is what is settled."""

    reason: str
    target: Target
    packet: Packet = msgspec.field(default_factory=Packet)
    within_seconds: int | None = None
    steps: Sequence[Step] = ()


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
    await expect_possible(db, conversation, handing)
    if is_agents:
        steps = [step.target for step in handing.steps if step.target is not None]
        await circles.expect_news(db, conversation, handing.packet, [handing.target, *steps])
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
        asked=[],
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


async def expect_possible(db: AsyncSession, conversation: Conversation, handing: Handing, path: str = "") -> None:
    """All of it could be done; raises ``Invalid`` with the place below ``path`` of what could not."""
    _expect_steps(handing.steps, f"{path}steps")
    await targets.expect_target(db, conversation, handing.target, f"{path}target")
    for place, step in enumerate(handing.steps):
        if step.target is not None:
            await targets.expect_target(db, conversation, step.target, f"{path}steps[{place}].target", is_first=False)
    await _expect_rows(db, conversation.workspace_id, handing.packet, f"{path}packet.links")


def ask(handoff: ConversationHandoff, target: Target) -> None:
    """The handoff is for them now."""
    handoff.target_user_id = target.user_id
    handoff.target_agent_id = target.agent_id
    handoff.target_team_id = target.team_id
    handoff.needed_skills = targets.tidy(target.needed_skills)
    handoff.asked = [*handoff.asked, msgspec.to_builtins(target)]


async def give_to_agent(db: AsyncSession, conversation: Conversation, agent_id: uuid.UUID, by: ByMember) -> None:
    """The agent has the conversation at once, until its lease is over; raises ``Invalid`` for one that cannot.

    It is a handoff that is accepted as it is made: so it is known where the conversation came from.
    """
    if conversation.status != "active":
        raise Conflict(f"this conversation is {conversation.status}: reopen it to hand it on")
    await targets.expect_target(db, conversation, Target(agent_id=agent_id), "", is_first=False)
    if holding_of(conversation).is_with(agent_id, now()):
        return
    owner, why = ByAgent(agent_id), "given to the agent by hand"
    await settling.withdraw(db, conversation, why=why)
    handoff = ConversationHandoff(
        workspace_id=conversation.workspace_id,
        id=new_id(),
        conversation_id=conversation.id,
        fence=conversation.fence + 1,  # as it is once it is given
        from_user_id=by.id,
        reason=why,
        packet={},
        asked=[],
        steps=[],
        within_seconds=int(owner.seconds),
        deadline_at=now() + timedelta(seconds=owner.seconds),
    )
    ask(handoff, Target(agent_id=agent_id))
    db.add(handoff)
    await settling.record(db, "created", handoff)
    await moving.give(db, conversation, owner, why=why, tells=False)


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


def _expect_steps(steps: Sequence[Step], path: str) -> None:
    wrong = {}
    for place, step in enumerate(steps):
        if step == Step(within_seconds=step.within_seconds):
            wrong[f"{path}[{place}]"] = "does nothing: give it a target, words for the contact or a callback"
        elif step.tell_contact is not None and not step.tell_contact.strip():
            wrong[f"{path}[{place}].tellContact"] = "must not be blank"
    if wrong:
        raise Invalid(wrong)


async def _expect_rows(db: AsyncSession, workspace_id: uuid.UUID, packet: Packet, path: str) -> None:
    """What the packet leads to is there; raises ``Invalid`` with the path of what is not."""
    wrong = {}
    for resource in {link.resource for link in packet.links}:
        asked = [link.id for link in packet.links if link.resource == resource]
        table = LINKED[resource]
        query = select(table.id).where(table.workspace_id == workspace_id, table.id.in_(asked))
        there = set(await db.scalars(query))
        for place, link in enumerate(packet.links):
            if link.resource == resource and link.id not in there:
                wrong[f"{path}[{place}].id"] = f"names no row of {resource} in this workspace"
    if wrong:
        raise Invalid(wrong)
