"""An agent at work: which conversations wait for it, what it has to know, what it says and when it lets go."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy import ColumnElement, select

from comms.agents import context as contexts
from comms.agents import policies, reach, working
from comms.agents.context import AgentContext
from comms.credentials import Identity
from comms.ownership.handing import Handing
from handlers.given import Asker, Db, Request
from handlers.guards import agent_acts, agent_reads
from handlers.listing import Page
from handlers.orchestration.records import RECORDS
from handlers.orchestration.runtime.actions import actions
from handlers.orchestration.runtime.own import agent_of, own
from handlers.resource import listed
from models.agents import Agent, AgentView
from models.communications import Conversation, ConversationHandoffView, ConversationMessageView, ConversationView
from models.communications.handoffs import MOST_STEPS, Packet, Seconds, Step, Target
from models.orchestration import AgentPendingActionView, Reach

Lease = Annotated[int, msgspec.Meta(ge=5, le=3600, description="For how long, unless it is renewed.", examples=[120])]
Fence = Annotated[
    int, msgspec.Meta(ge=0, le=2**63 - 1, description="The fence that the claim was answered with.", examples=[3])
]
Content = Annotated[str, msgspec.Meta(max_length=65_536)]
Files = Annotated[
    list[uuid.UUID],
    msgspec.Meta(max_length=10, description="Uploads, or stored attachments, that go along.", examples=[[]]),
]
ConversationId = FromPath[uuid.UUID]

LATE = {409: "It is not this agent's under that fence: `owner` is whose it is now, and under which."}
UNSENDABLE = {**LATE, 422: "It cannot be sent: `errors` says why."}


class Claim(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """For how long the agent wants a conversation."""

    seconds: Lease = 120


class Heartbeat(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The agent is still at it."""

    fence: Fence
    seconds: Lease = 120


class Reply(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What the contact is told. A message that it ``answers`` is answered once."""

    fence: Fence
    content: Content = ""
    attachment_ids: Files = []
    answers: Annotated[
        uuid.UUID | None, msgspec.Meta(description="The contact's message that this answers.", examples=[None])
    ] = None


class AgentHandoff(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """To whom the agent hands the conversation on, why, and all that it knows."""

    fence: Fence
    reason: Annotated[
        str, msgspec.Meta(min_length=1, max_length=400, description="Why.", examples=["The customer asks for a person"])
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


class AgentRefusal(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why the agent does not take a conversation."""

    reason: Annotated[
        Annotated[str, msgspec.Meta(max_length=500)] | None,
        msgspec.Meta(description="Why not.", examples=["I know nothing of refunds"]),
    ] = None


class ReplyDraft(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a person might tell the contact."""

    content: Content = ""
    attachment_ids: Files = []
    fence: Fence | None = None


class AgentNote(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What the team is told, and the contact is not."""

    content: Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
    mentions: Annotated[list[uuid.UUID], msgspec.Meta(max_length=50)] = []


class AgentPolicyInForce(msgspec.Struct, rename="camel", frozen=True):
    """What this agent may without asking, and what it sees."""

    pass_alone: Annotated[
        list[str],
        msgspec.Meta(description="The action types that pass alone when their risk is low.", examples=[["*"]]),
    ]
    answer_within_seconds: Annotated[
        int, msgspec.Meta(description="After how long its actions expire.", examples=[86_400])
    ]
    reach: Annotated[Reach, msgspec.Meta(description="Which conversations it sees.", examples=["waiting"])]


class AgentSelf(msgspec.Struct, rename="camel"):
    """Who it is that asks."""

    agent: Annotated[AgentView, msgspec.Meta(description="The agent whose token it is.")]
    policy: Annotated[AgentPolicyInForce, msgspec.Meta(description="The policy that is in force for it.")]
    workspace_id: uuid.UUID


class WaitingConversations(msgspec.Struct, rename="camel"):
    """Conversations that wait for the agent: those handed to it first, then whoever has waited longest."""

    items: Annotated[list[ConversationView], msgspec.Meta(description="The conversations.")]


def whose(identity: Identity) -> ColumnElement[bool]:
    """Those that the agent has."""
    return Conversation.agent_id == agent_of(identity)


conversations = own("/agent/conversations", Conversation, ConversationView, whose, filters=("status", "channel"))


@get("/", operation_id="get_own_agent", guards=[agent_reads])
async def myself(db: Db, identity: Asker) -> AgentSelf:
    """Which agent this token is, how it is set up, and what it may."""
    agent = await db.get_one(Agent, (identity.workspace_id, agent_of(identity)))
    policy = await policies.policy_of(db, identity.workspace_id, agent.id)
    in_force = AgentPolicyInForce(list(policy.pass_alone), policy.answer_within_seconds, policy.reach)
    return AgentSelf(msgspec.convert(agent, AgentView, from_attributes=True), in_force, identity.workspace_id)


@listed(conversations, "/", operation_id="list_own_agent_conversations")
async def of_agent(request: Request, db: Db, identity: Asker, asked: Any) -> Page[ConversationView]:
    """The conversations that this agent has."""
    return await conversations.listing.page(db, request, asked, *conversations.visible(identity))


@get("/waiting", operation_id="list_waiting_agent_conversations", guards=[agent_reads])
async def waiting(
    db: Db,
    identity: Asker,
    limit: Annotated[FromQuery[int], QueryParameter(ge=1, le=200, description="How many at most.")] = 50,
) -> WaitingConversations:
    """What waits for this agent: what was handed to it, and what nobody has, as far as its policy lets it see that.

    The websocket tells of the same as it happens (docs/agents.md); this is where to begin, and to look again.
    """
    ids = await reach.waiting_for(db, identity.workspace_id, agent_of(identity), limit)
    rows = {row.id: row for row in await db.scalars(select(Conversation).where(Conversation.id.in_(ids)))}
    return WaitingConversations([conversations.shown(rows[id_]) for id_ in ids])


@get("/{conversation_id:uuid}/context", operation_id="get_agent_conversation_context", guards=[agent_reads])
async def context(
    db: Db,
    identity: Asker,
    conversation_id: ConversationId,
    messages: Annotated[
        FromQuery[int], QueryParameter(ge=1, le=200, description="How many of the newest messages.")
    ] = 50,
) -> AgentContext:
    """All that the agent needs to know to answer: what was said, to whom, what is known and remembered, what may
    be sent.

    404 for a conversation that its policy does not let it see.
    """
    return await contexts.of(db, identity, conversation_id, messages)


@post(
    "/{conversation_id:uuid}/claim",
    operation_id="claim_agent_conversation",
    guards=[agent_acts],
    problems={409: "Somebody else has it: `owner` is who, and under which fence."},
    by_keys=True,
)
async def claim(db: Db, identity: Asker, conversation_id: ConversationId, data: JSONBody[Claim]) -> ConversationView:
    """The conversation is this agent's for so many seconds; its `fence` goes with everything the agent says then.

    One that the agent has already is renewed under the same fence.
    """
    view: ConversationView = conversations.shown(await working.claim(db, identity, conversation_id, data.seconds))
    return view


@post(
    "/{conversation_id:uuid}/heartbeat",
    operation_id="renew_agent_conversation",
    guards=[agent_acts],
    problems=LATE,
    by_keys=True,
)
async def heartbeat(
    db: Db, identity: Asker, conversation_id: ConversationId, data: JSONBody[Heartbeat]
) -> ConversationView:
    """The agent is still at it: its lease lasts so many seconds from now. It is told to nobody."""
    row = await working.renew(db, identity, conversation_id, data.fence, data.seconds)
    view: ConversationView = conversations.shown(row)
    return view


@delete(
    "/{conversation_id:uuid}/claim",
    operation_id="release_agent_conversation",
    guards=[agent_acts],
    problems=LATE,
    by_keys=True,
    versioned=False,
)
async def release(
    db: Db,
    identity: Asker,
    conversation_id: ConversationId,
    fence: Annotated[FromQuery[int], QueryParameter(ge=0, description="The fence that the claim was answered with.")],
    reason: Annotated[
        FromQuery[str], QueryParameter(max_length=500, description="Why the agent lets it go.")
    ] = "let go by the agent",
) -> None:
    """The conversation is nobody's, and waits for whoever claims it next. To ask for somebody, hand it off."""
    await working.release(db, identity, conversation_id, fence, reason)


@post(
    "/{conversation_id:uuid}/replies",
    operation_id="reply_as_agent",
    guards=[agent_acts],
    problems=UNSENDABLE,
    by_keys=True,
)
async def reply(
    db: Db, identity: Asker, conversation_id: ConversationId, data: JSONBody[Reply]
) -> ConversationMessageView:
    """Answer the contact. Send an `Idempotency-Key`: the same again does nothing and is answered as the first time.

    409 when the agent has it no more, or its lease is over, or somebody has it under another fence: nothing is sent.
    """
    return await working.reply(
        db,
        identity,
        conversation_id,
        fence=data.fence,
        content=data.content,
        attachment_ids=data.attachment_ids,
        answers=data.answers,
    )


@post(
    "/{conversation_id:uuid}/handoffs",
    operation_id="hand_off_as_agent",
    guards=[agent_acts],
    problems=LATE,
    example={
        "fence": 3,
        "reason": "The customer asks for a person",
        "target": {"neededSkills": ["billing"]},
        "packet": {"summary": "Was charged twice in March."},
    },
)
async def hand_off(
    db: Db, identity: Asker, conversation_id: ConversationId, data: JSONBody[AgentHandoff]
) -> ConversationHandoffView:
    """Hand the conversation on, to a member, an agent, a team or whoever has the skills.

    It is not this agent's any more, and waits for them until the deadline; then `steps` follow. Back to where it came
    from only with something new.
    """
    wanted = Handing(
        reason=data.reason,
        target=data.target,
        packet=data.packet,
        within_seconds=data.within_seconds,
        steps=data.steps,
    )
    return await working.hand_off(db, identity, conversation_id, data.fence, wanted)


@post(
    "/{conversation_id:uuid}/handoffs/{handoff_id:uuid}/refusal",
    operation_id="refuse_handoff_as_agent",
    guards=[agent_acts],
    problems={
        403: "Somebody else is asked by now, or the token may not do this.",
        409: "It is over: `owner` is whose the conversation is now, and under which fence.",
    },
)
async def refuse(
    db: Db,
    identity: Asker,
    conversation_id: ConversationId,
    handoff_id: FromPath[uuid.UUID],
    data: JSONBody[AgentRefusal],
) -> ConversationHandoffView:
    """Not to take what was handed to this agent: the next who is to be asked is asked at once.

    Where there is none, the handoff is `rejected`, and the conversation waits for anybody.
    """
    return await working.refuse(db, identity, conversation_id, handoff_id, data.reason)


@post("/{conversation_id:uuid}/drafts", operation_id="draft_as_agent", guards=[agent_acts], problems=LATE)
async def draft(
    db: Db, identity: Asker, conversation_id: ConversationId, data: JSONBody[ReplyDraft]
) -> AgentPendingActionView:
    """Something for a person to send: an action that a member approves, edited or not, and so says in their own name.

    It is sent under the fence it was written under: once the conversation has changed hands, it never is.
    """
    row = await working.draft(
        db,
        identity,
        conversation_id,
        content=data.content,
        attachment_ids=data.attachment_ids,
        fence=data.fence,
        records=RECORDS,
    )
    view: AgentPendingActionView = await actions.tell(db, identity, "created", row)
    return view


@post("/{conversation_id:uuid}/notes", operation_id="note_as_agent", guards=[agent_acts])
async def note(
    db: Db, identity: Asker, conversation_id: ConversationId, data: JSONBody[AgentNote]
) -> ConversationMessageView:
    """Tell the team something in the conversation; the contact never reads it."""
    return await working.note(db, identity, conversation_id, data.content, data.mentions)


routes: list[Any] = [
    myself,
    Router(
        "/conversations",
        route_handlers=[of_agent, waiting, context, claim, heartbeat, release, reply, hand_off, refuse, draft, note],
    ),
]
