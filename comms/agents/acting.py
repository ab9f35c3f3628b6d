"""An action that may be done is done: by comms itself, in the transaction that lets it, and so exactly once."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conversations, mentions
from comms.agents import kinds, reach
from comms.calls import outbound
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden, Invalid, Missing, Refused
from comms.outbox import Intent, put
from comms.ownership import handing
from comms.ownership.holding import ByAgent, ByMember, Holding, expect_fence, holding_in, holding_of
from comms.permissions import WRITERS
from models.base import now
from models.communications import Conversation
from models.orchestration import AgentPendingAction
from models.types import Phone


class Records(Protocol):
    """Rows of the CRM, made and changed as the API makes and changes them, by the rights of who asks."""

    async def rehearse(
        self, db: AsyncSession, by: Identity, resource: str, row_id: uuid.UUID | None, values: Mapping[str, Any]
    ) -> None:
        """``Invalid`` names by its place below ``details`` what could not be written; nothing is."""

    async def write(
        self, db: AsyncSession, by: Identity, resource: str, row_id: uuid.UUID | None, values: Mapping[str, Any]
    ) -> uuid.UUID:
        """The row is made, or the one of that id is changed, and told of; returns its id."""


Asked = tuple[uuid.UUID, str, Any]
"""An action that is asked for: the agent's, its type and its details."""
About = tuple[uuid.UUID | None, Holding | None]
"""The conversation an action is about, and who has it."""


async def expect_possible(db: AsyncSession, by: Identity, asked: Asked, records: Records) -> About:
    """What an action is about; ``Invalid`` names what in it could never be done, or is out of the agent's reach."""
    [outcome] = await all_possible(db, by, [asked], records)
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


async def all_possible(
    db: AsyncSession, by: Identity, many: Sequence[Asked], records: Records
) -> list[About | Refused]:
    """The same of many actions; in the place of one what refuses it.

    A few statements, however many they are: more only for handing on, for calls, and for records, each of which is
    rehearsed.
    """
    outcome: list[Any] = [None] * len(many)
    said: dict[int, kinds.Details | None] = {}
    for place, (_, action_type, details) in enumerate(many):
        try:
            said[place] = kinds.read(action_type, details)
        except Invalid as error:
            outcome[place] = error
    known = await _known(db, by, [(many[place][0], one) for place, one in said.items() if one is not None])
    for place, details in said.items():
        try:
            outcome[place] = await _possible(db, by, many[place][0], details, known, records)
        except Refused as error:
            outcome[place] = error
    return outcome


class _Known(msgspec.Struct, frozen=True):
    """What actions are about: who has which conversations and sees them, and why which members can have none.

    ``others`` are those of what else they name that are there.
    """

    holdings: Mapping[uuid.UUID, Holding]
    seen: Collection[tuple[uuid.UUID, uuid.UUID]]
    hindered: Mapping[uuid.UUID, str]
    others: Collection[kinds.Other]


async def _known(db: AsyncSession, by: Identity, many: Sequence[tuple[uuid.UUID, kinds.Details]]) -> _Known:
    pairs = {(agent_id, said.conversation) for agent_id, said in many if said.conversation is not None}
    members = {said.user_id for _, said in many if isinstance(said, kinds.AssignConversation)}
    here = Conversation.workspace_id == by.workspace_id
    asked = {conversation_id for _, conversation_id in pairs}
    table = Conversation
    query = select(table.id, table.assigned_to, table.agent_id, table.lease_expires_at, table.fence)
    rows = (await db.execute(query.where(here, table.id.in_(asked)))).mappings() if asked else ()
    named = {one for _, said in many for one in said.others.values()}
    there = {"here": by.workspace_id, "ids": [row_id for _, row_id in named]}
    return _Known(
        holdings={row["id"]: holding_in(dict(row)) for row in rows},
        seen=await reach.seen(db, by.workspace_id, pairs),
        hindered=await mentions.no_answerers_of(db, by.workspace_id, members) if members else {},
        others={(row.kind, row.id) for row in await db.execute(_OTHERS, there)} if named else (),
    )


_OTHERS = text(
    """
    SELECT 'file' AS kind, id FROM message_attachments WHERE workspace_id = :here AND id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT 'file', id FROM uploads WHERE workspace_id = :here AND id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT 'number', id FROM workspace_phone_numbers
        WHERE workspace_id = :here AND id = ANY(CAST(:ids AS uuid[]))
    """
)


async def _possible(
    db: AsyncSession, by: Identity, agent_id: uuid.UUID, said: kinds.Details | None, known: _Known, records: Records
) -> About:
    if said is None:
        return None, None
    conversation_id = said.conversation
    if conversation_id is not None and (agent_id, conversation_id) not in known.seen:
        raise Invalid({"details.conversationId": "refers to no conversation of this workspace that the agent sees"})
    if missing := {place for place, other in said.others.items() if other not in known.others}:
        raise Invalid({f"details.{place}": "refers to nothing in this workspace" for place in missing})
    match said:
        case kinds.SendMessage() if not said.content.strip() and not said.attachment_ids:
            raise Invalid({"details.content": "must not be empty when no file is sent"})
        case kinds.AssignConversation() if said.user_id in known.hindered:
            raise Invalid({"details.userId": known.hindered[said.user_id]})
        case kinds.HandOffConversation():
            conversation = await db.get_one(Conversation, (by.workspace_id, said.conversation_id))
            await handing.expect_possible(db, conversation, _handing(said), "details.")
        case kinds.UpdateRecord():
            await records.rehearse(db, by, said.resource, said.id, said.values)
        case kinds.CreateRecord():
            await records.rehearse(db, by, said.resource, None, said.values)
    if await _is_strangers(db, by.workspace_id, agent_id, said):
        raise Invalid({_WHERE[type(said)]: "concerns a contact none of whose conversations the agent sees"})
    return conversation_id, None if conversation_id is None else known.holdings[conversation_id]


_WHERE: Mapping[type[kinds.Details], str] = {
    kinds.CreateRecord: "details.values",
    kinds.UpdateRecord: "details.id",
    kinds.PlaceCall: "details.to",
}


async def _is_strangers(db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID, said: kinds.Details) -> bool:
    """Whether it concerns a contact who is out of the agent's reach."""
    phone = _phone(said) if isinstance(said, kinds.PlaceCall) else None
    return await reach.is_strangers(db, workspace_id, agent_id, said.rows, phone)


def _phone(said: kinds.PlaceCall) -> str:
    try:
        return str(Phone().normalise(said.to))
    except ValueError as error:
        raise Invalid({"details.to": str(error)}) from None


async def perform(db: AsyncSession, action: AgentPendingAction, by: Identity, records: Records) -> None:
    """What was approved is done, and the action says so; of a type that only the runtime knows, it says nothing yet.

    ``by`` is who approved it, or the agent whose action passed alone. Raises what the doing raises: then nothing is.
    """
    said = kinds.read(action.action_type, action.edited_details or action.details)
    if said is None:
        return
    if by.role not in WRITERS:
        raise Forbidden(f"A workspace's {by.role} may not do what this action does, and so cannot approve it.")
    try:
        conversation = None if said.conversation is None else await _unmoved(db, action, said.conversation)
        if await _is_strangers(db, action.workspace_id, action.agent_id, said):
            raise OutOfReach
        action.result = await _done(db, action, said, by, records, conversation)
    except Missing as error:
        raise Conflict(f"what this action is about is gone: {error.detail} It can only be rejected.") from None
    action.performed_by, action.performed_at, action.succeeded = "comms", now(), True


class OutOfReach(Conflict):
    """What this action is about is out of its agent's reach by now (its policy's reach)."""


async def expect_unmoved(db: AsyncSession, action: AgentPendingAction) -> None:
    """Nobody else has got the conversation that the action is about; raises ``Stale`` and ``OutOfReach``."""
    if action.conversation_id is not None:
        await _unmoved(db, action, action.conversation_id)


async def _unmoved(db: AsyncSession, action: AgentPendingAction, conversation_id: uuid.UUID) -> Conversation:
    """The conversation, held; raises ``Stale``, and ``OutOfReach`` when the agent does not see it any more."""
    conversation = await reach.held(db, action.workspace_id, conversation_id)
    expect_fence(holding_of(conversation), fence=action.fence, agent_id=None, is_agents=False, at=now())
    if not await reach.seen(db, action.workspace_id, [(action.agent_id, conversation.id)]):
        raise OutOfReach
    return conversation


async def _done(
    db: AsyncSession,
    action: AgentPendingAction,
    said: kinds.Details,
    by: Identity,
    records: Records,
    conversation: Conversation | None,
) -> dict[str, Any]:
    match said:
        case kinds.UpdateRecord():
            return {"id": str(await records.write(db, by, said.resource, said.id, said.values))}
        case kinds.CreateRecord():
            return {"id": str(await records.write(db, by, said.resource, None, said.values))}
        case kinds.PlaceCall():
            call = await outbound.place(db, by, _phone(said), phone_number_id=said.phone_number_id, record=said.record)
            return {"callId": str(call.id)}
    assert conversation is not None
    match said:
        case kinds.SendMessage():
            message = await put(db, _intent(action, said, by, conversation))
            return {"messageId": str(message.id)}
        case kinds.AssignConversation():
            await conversations.assign(db, conversation, said.user_id)
            return {"conversationId": str(conversation.id)}
        case kinds.HandOffConversation():
            # In the agent's name where nobody had to say so: then it must have the conversation.
            owner = ByMember(by.user_id) if by.agent_id is None else ByAgent(by.agent_id)
            handoff = await handing.hand_on(db, conversation, _handing(said), owner, fence=action.fence)
            return {"handoffId": str(handoff.id)}
    raise AssertionError(said)


def _handing(said: kinds.HandOffConversation) -> handing.Handing:
    return handing.Handing(
        reason=said.reason,
        target=said.target,
        packet=said.packet,
        within_seconds=said.within_seconds,
        steps=said.steps,
    )


def _intent(action: AgentPendingAction, said: kinds.SendMessage, by: Identity, conversation: Conversation) -> Intent:
    """Said by the agent, where it has the conversation or nobody had to let it; else by the person who lets it.

    So an agent that asks before it speaks keeps its conversation, and a draft is always its sender's own word.
    """
    is_draft = isinstance(said, kinds.DraftMessage)
    is_with = holding_of(conversation).is_with(action.agent_id, now())
    is_agents = by.agent_id is not None or (is_with and not is_draft)
    return Intent(
        workspace_id=action.workspace_id,
        conversation_id=said.conversation_id,
        content=said.content,
        attachment_ids=said.attachment_ids,
        sender_type="agent" if is_agents else "user",
        sender_user_id=None if is_agents else by.user_id,
        sender_agent_id=action.agent_id if is_agents else None,
        fence=action.fence,
        metadata={"agentId": str(action.agent_id), "actionId": str(action.id)},
    )
