"""Whose a conversation is: taken over and given back, handed on, accepted and refused."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post, put
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import ownership
from comms.credentials import Identity
from comms.errors import Missing
from comms.ownership import ByMember, deadlines, handing, settling
from comms.permissions import ADMINISTRATORS
from handlers.communications.conversations import held, shown
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.communications import Conversation, ConversationHandoff, ConversationHandoffView, ConversationView
from models.communications.handoffs import MOST_STEPS, Packet, Seconds, Step, Target

handoffs = crud(
    "/conversation-handoffs",
    ConversationHandoff,
    ConversationHandoffView,
    filters=("status", "conversation_id", "target_user_id", "target_agent_id", "target_team_id"),
    verbs=READ,
)


@put("/{row_id:uuid}/ownership", operation_id="take_over_conversation", guards=[writer])
async def take_over(db: Db, identity: Asker, row_id: RowId) -> ConversationView:
    """The conversation is yours at once, whoever had it.

    What its agent is writing is refused, and what it has said that has not left yet never leaves. An open handoff is
    over, and the contact hears so if the workspace has words for it.
    """
    row = await held(db, identity, row_id)
    await ownership.take_over(db, row, identity.user_id)
    return shown(row)


@delete("/{row_id:uuid}/ownership", operation_id="give_conversation_back", status_code=200, guards=[writer])
async def give_back(
    db: Db,
    identity: Asker,
    row_id: RowId,
    agent_id: Annotated[
        uuid.UUID | None,
        QueryParameter(name="agentId", description="An active agent that is to have it at once, for two minutes."),
    ] = None,
) -> ConversationView:
    """The conversation is given back: it waits for whoever is free, or is with that agent at once.

    An agent that does not renew its lease within those two minutes loses it, and the conversation waits. Giving it to
    an agent is a handoff that is accepted already: the agent does not hand it back without something new.
    """
    row = await held(db, identity, row_id)
    if agent_id is None:
        await ownership.release(db, row, why="given back")
    else:
        await handing.give_to_agent(db, row, agent_id, ByMember(identity.user_id))
    return shown(row)


class NewHandoff(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """To whom a conversation is handed on, and why."""

    reason: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=400, description="Why.", examples=["The customer asks for somebody from billing"]
        ),
    ]
    target: Annotated[Target, msgspec.Meta(examples=[{"neededSkills": ["billing"]}])]
    packet: Packet = msgspec.field(default_factory=Packet)
    within_seconds: Annotated[
        Seconds | None,
        msgspec.Meta(description="How long who is asked is given; null is what the workspace has settled."),
    ] = None
    steps: Annotated[
        list[Step],
        msgspec.Meta(max_length=MOST_STEPS, description="What follows when nobody takes it, one after the other."),
    ] = []


class Refusal(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why somebody does not take a conversation."""

    reason: Annotated[
        Annotated[str, msgspec.Meta(max_length=500)] | None,
        msgspec.Meta(description="Why not.", examples=["I am not in today"]),
    ] = None


@post(
    "/{conversation_id:uuid}/handoffs",
    operation_id="hand_on_conversation",
    guards=[writer],
    example={
        "reason": "The customer asks for somebody from billing",
        "target": {"neededSkills": ["billing"]},
        "packet": {"summary": "Was charged twice in March.", "facts": {"orderNumber": "A-17"}},
        "withinSeconds": 300,
        "steps": [{"tellContact": "We are still looking for somebody.", "callback": {"inSeconds": 3600}}],
    },
)
async def hand_on(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], data: JSONBody[NewHandoff]
) -> ConversationHandoffView:
    """Hand the conversation on: to a member, an agent or a team, or to whoever has the skills.

    It is nobody's from now on, and waits for them until the deadline; then `steps` follow, and after the last of them
    it waits for anybody. What was handed on before is withdrawn. Who cannot be asked is 400 with the path.
    """
    row = await held(db, identity, conversation_id)
    wanted = handing.Handing(
        reason=data.reason,
        target=data.target,
        packet=data.packet,
        within_seconds=data.within_seconds,
        steps=data.steps,
    )
    return settling.view_of(await handing.hand_on(db, row, wanted, ByMember(identity.user_id)))


async def _handoff(
    db: AsyncSession, identity: Identity, conversation_id: uuid.UUID, handoff_id: uuid.UUID
) -> tuple[Conversation, ConversationHandoff]:
    """The conversation and its handoff, both held."""
    conversation = await held(db, identity, conversation_id)
    return conversation, await settling.held(db, conversation, handoff_id)


@post(
    "/{conversation_id:uuid}/handoffs/{handoff_id:uuid}/acceptance",
    operation_id="accept_conversation_handoff",
    guards=[writer],
    problems={403: "It was handed to somebody else: take the conversation over instead."},
)
async def accept(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], handoff_id: FromPath[uuid.UUID]
) -> ConversationHandoffView:
    """Take the conversation that was handed to you, to your team, or to whoever has the skills.

    Of two who accept at once one has it; the other is answered 409, and `owner` is whose it is.
    """
    conversation, handoff = await _handoff(db, identity, conversation_id, handoff_id)
    await handing.accept(db, conversation, handoff, ByMember(identity.user_id))
    return settling.view_of(handoff)


@post(
    "/{conversation_id:uuid}/handoffs/{handoff_id:uuid}/rejection",
    operation_id="reject_conversation_handoff",
    guards=[writer],
    problems={403: "It was handed to somebody else, and you are no administrator."},
)
async def reject(
    db: Db,
    identity: Asker,
    conversation_id: FromPath[uuid.UUID],
    handoff_id: FromPath[uuid.UUID],
    data: JSONBody[Refusal],
) -> ConversationHandoffView:
    """Refuse what was handed to you: the next who is to be asked is asked at once.

    Where there is none, the handoff is `rejected`, and the conversation waits for anybody.
    """
    conversation, handoff = await _handoff(db, identity, conversation_id, handoff_id)
    await deadlines.reject(
        db,
        conversation,
        handoff,
        ByMember(identity.user_id),
        why=data.reason,
        may_for_others=identity.role in ADMINISTRATORS,
    )
    return settling.view_of(handoff)


@delete(
    "/{conversation_id:uuid}/handoffs/{handoff_id:uuid}",
    operation_id="withdraw_conversation_handoff",
    status_code=200,
    guards=[writer],
)
async def withdraw(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], handoff_id: FromPath[uuid.UUID]
) -> ConversationHandoffView:
    """Nobody is asked any more; the conversation stays nobody's, and waits for anybody."""
    conversation, handoff = await _handoff(db, identity, conversation_id, handoff_id)
    await handoffs.find(db, identity, handoff_id, to_change=True)
    handing.expect_open(conversation, handoff)
    await settling.end(db, handoff, "withdrawn", "withdrawn by hand")
    return settling.view_of(handoff)


@listed(handoffs, "/{conversation_id:uuid}/handoffs", operation_id="list_handoffs_of_conversation")
async def of_conversation(
    request: Request, db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], asked: Any
) -> Page[ConversationHandoffView]:
    """How a conversation was handed on: the last time first, unless `sort` says otherwise."""
    if await db.scalar(select(Conversation.id).where(Conversation.id == conversation_id)) is None:
        raise Missing(f"There is no conversation {conversation_id} in this workspace.")
    return await handoffs.listing.page(db, request, asked, ConversationHandoff.conversation_id == conversation_id)


routes = [
    handoffs.router(),
    Router("/conversations", route_handlers=[take_over, give_back, hand_on, accept, reject, withdraw, of_conversation]),
]
