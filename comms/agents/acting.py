"""An action that may be done is done: by comms itself, in the transaction that lets it, and so exactly once."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conversations, mentions
from comms.agents import kinds, reach
from comms.calls import outbound
from comms.credentials import Identity
from comms.errors import Forbidden, Invalid, Refused
from comms.outbox import Intent, put
from comms.ownership import handing
from comms.ownership.holding import ByAgent, ByMember, expect_fence, holding_of
from comms.permissions import WRITERS
from models.base import now
from models.communications import Conversation
from models.orchestration import AgentPendingAction


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


async def expect_possible(
    db: AsyncSession, by: Identity, action_type: str, details: Any, records: Records
) -> tuple[uuid.UUID | None, int | None]:
    """The conversation an action is about and the fence it has; ``Invalid`` names what in it could never be done."""
    [outcome] = await all_possible(db, by, [(action_type, details)], records)
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


async def all_possible(
    db: AsyncSession, by: Identity, many: Sequence[tuple[str, Any]], records: Records
) -> list[tuple[uuid.UUID | None, int | None] | Refused]:
    """The same of many actions, each a type and its details; in the place of one what refuses it.

    A few statements, however many they are: more only for handing on, and for records, each of which is rehearsed.
    """
    outcome: list[Any] = [None] * len(many)
    said: dict[int, kinds.Details | None] = {}
    for place, (action_type, details) in enumerate(many):
        try:
            said[place] = kinds.read(action_type, details)
        except Invalid as error:
            outcome[place] = error
    known = await _known(db, by, [details for details in said.values() if details is not None])
    for place, details in said.items():
        try:
            outcome[place] = await _possible(db, by, details, known, records)
        except Refused as error:
            outcome[place] = error
    return outcome


class _Known(msgspec.Struct, frozen=True):
    """What actions are about: the fences of conversations, and which members are active until the commit."""

    fences: Mapping[uuid.UUID, int]
    active: Collection[uuid.UUID]


async def _known(db: AsyncSession, by: Identity, many: Sequence[kinds.Details]) -> _Known:
    asked = {said.conversation for said in many if said.conversation is not None}
    members = {said.user_id for said in many if isinstance(said, kinds.AssignConversation)}
    here = Conversation.workspace_id == by.workspace_id
    fences = select(Conversation.id, Conversation.fence).where(here, Conversation.id.in_(asked))
    return _Known(
        fences=dict((await db.execute(fences)).all()) if asked else {},
        active=await mentions.active_of(db, by.workspace_id, members) if members else (),
    )


async def _possible(
    db: AsyncSession, by: Identity, said: kinds.Details | None, known: _Known, records: Records
) -> tuple[uuid.UUID | None, int | None]:
    conversation_id = None if said is None else said.conversation
    if conversation_id is not None and conversation_id not in known.fences:
        raise Invalid({"details.conversationId": "refers to nothing in this workspace"})
    match said:
        case kinds.SendMessage() if not said.content.strip() and not said.attachment_ids:
            raise Invalid({"details.content": "must not be empty when no file is sent"})
        case kinds.AssignConversation() if said.user_id not in known.active:
            raise Invalid({"details.userId": mentions.NOT_ACTIVE})
        case kinds.HandOffConversation():
            await _expect_target(db, by, said)
        case kinds.UpdateRecord():
            await records.rehearse(db, by, said.resource, said.id, said.values)
        case kinds.CreateRecord():
            await records.rehearse(db, by, said.resource, None, said.values)
    return conversation_id, None if conversation_id is None else known.fences[conversation_id]


async def _expect_target(db: AsyncSession, by: Identity, said: kinds.HandOffConversation) -> None:
    conversation = await db.get_one(Conversation, (by.workspace_id, said.conversation_id))
    targets = [("target", said.target), *((f"steps[{n}].target", step.target) for n, step in enumerate(said.steps))]
    for path, target in targets:
        if target is not None:
            is_first = path == "target"
            await handing.expect_target(db, conversation, target, f"details.{path}", is_first=is_first)


async def perform(db: AsyncSession, action: AgentPendingAction, by: Identity, records: Records) -> None:
    """What was approved is done, and the action says so; of a type that only the runtime knows, it says nothing yet.

    ``by`` is who approved it, or the agent whose action passed alone. Raises what the doing raises: then nothing is.
    """
    said = kinds.read(action.action_type, action.edited_details or action.details)
    if said is None:
        return
    if by.role not in WRITERS:
        raise Forbidden(f"A workspace's {by.role} may not do what this action does, and so cannot approve it.")
    action.result = await _done(db, action, said, by, records)
    action.performed_by, action.performed_at, action.succeeded = "comms", now(), True


async def _done(
    db: AsyncSession, action: AgentPendingAction, said: kinds.Details, by: Identity, records: Records
) -> dict[str, Any]:
    match said:
        case kinds.SendMessage():
            message = await put(db, await _intent(db, action, said, by))
            return {"messageId": str(message.id)}
        case kinds.UpdateRecord():
            return {"id": str(await records.write(db, by, said.resource, said.id, said.values))}
        case kinds.CreateRecord():
            return {"id": str(await records.write(db, by, said.resource, None, said.values))}
        case kinds.AssignConversation():
            conversation = await reach.held(db, action.workspace_id, said.conversation_id)
            expect_fence(holding_of(conversation), fence=action.fence, agent_id=None, is_agents=False, at=now())
            await conversations.assign(db, conversation, said.user_id)
            return {"conversationId": str(conversation.id)}
        case kinds.HandOffConversation():
            conversation = await reach.held(db, action.workspace_id, said.conversation_id)
            expect_fence(holding_of(conversation), fence=action.fence, agent_id=None, is_agents=False, at=now())
            # In the agent's name where nobody had to say so: then it must have the conversation.
            owner = ByMember(by.user_id) if by.agent_id is None else ByAgent(by.agent_id)
            handoff = await handing.hand_on(db, conversation, _handing(said), owner, fence=action.fence)
            return {"handoffId": str(handoff.id)}
        case kinds.PlaceCall():
            call = await outbound.place(db, by, said.to, phone_number_id=said.phone_number_id, record=said.record)
            return {"callId": str(call.id)}
    raise AssertionError(said)


def _handing(said: kinds.HandOffConversation) -> handing.Handing:
    return handing.Handing(
        reason=said.reason,
        target=said.target,
        packet=said.packet,
        within_seconds=said.within_seconds,
        steps=said.steps,
    )


async def _intent(db: AsyncSession, action: AgentPendingAction, said: kinds.SendMessage, by: Identity) -> Intent:
    """Said by the agent, where it has the conversation or nobody had to let it; else by the person who lets it.

    So an agent that asks before it speaks keeps its conversation, and a draft is always its sender's own word.
    """
    holding = holding_of(await reach.held(db, action.workspace_id, said.conversation_id))
    is_draft = isinstance(said, kinds.DraftMessage)
    is_agents = by.agent_id is not None or (holding.is_with(action.agent_id, now()) and not is_draft)
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
