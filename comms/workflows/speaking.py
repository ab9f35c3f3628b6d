"""A message of a workflow: put into the outbox with the step's result, in one commit, and sent as any other."""

import uuid
from typing import Annotated, Literal

import msgspec
from sqlalchemy import select

from comms.errors import Invalid, Refused
from comms.outbox import Intent, beginning, put
from comms.workflows import references, values
from comms.workflows.acting import Action, Done, Here, Place
from models.communications import Conversation
from models.communications.conversations import ConversationChannel

EXECUTION = "workflowExecutionId"
"""In a message's metadata: which run has said it. What becomes of the message is that run's doing."""


class Message(msgspec.Struct, rename="camel"):
    """What is said, and where: in a conversation, to an address, or in the conversation that set the run off."""

    content: Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
    conversation_id: uuid.UUID | None = None
    to: Annotated[str, msgspec.Meta(min_length=1, max_length=320)] | None = None
    channel: ConversationChannel | None = None
    subject: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    if_owned: Literal["send", "skip"] | None = None


async def say(here: Here) -> Done:
    """The message is queued; or not said, in a conversation that is somebody's, where the step says so."""
    seen: Message = here.seen
    db, workspace_id = here.db, here.run.workspace_id
    conversation_id = await _conversation(here, seen)
    if (seen.if_owned or _unless_said(here)) == "skip" and await _is_owned(here, conversation_id):
        return Done({"conversationId": str(conversation_id), "skipped": "the conversation is somebody's"})
    mail = {} if seen.subject is None else {"mail": {"subject": seen.subject}}
    view = await put(
        db,
        Intent(
            workspace_id=workspace_id,
            conversation_id=conversation_id,
            content=seen.content,
            sender_type="system",
            to=seen.to,
            metadata={EXECUTION: str(here.run.id), "workflowStepId": here.step.id},
            details=mail,
        ),
    )
    return Done({"messageId": str(view.id), "conversationId": str(conversation_id), "status": view.status})


async def check(place: Place) -> dict[str, str]:
    """The conversation is there, the address can be sent to, or an event will tell which conversation it is."""
    inputs, said = place.step.inputs, place.said
    if isinstance(said.get("content"), str) and not said["content"].strip():
        return {f"{place.place}.content": "must not be empty"}
    if "conversationId" in inputs and "to" in inputs:
        return {f"{place.place}.to": "goes without conversationId"}
    if "conversationId" not in inputs and "to" not in inputs and not place.in_conversation:
        return {f"{place.place}.to": "is required, or conversationId, unless an event of a conversation sets it off"}
    if errors := await references.missing(place, Conversation, "conversationId"):
        return errors
    if "to" not in inputs and said.get("channel") == "call":
        return {f"{place.place}.channel": "nothing can be sent by call"}
    if isinstance(said.get("to"), str) and ("channel" in said or "channel" not in inputs):
        try:
            beginning.expect_address(said.get("channel") or "sms", said["to"])
        except Refused as error:
            field = "channel" if getattr(error, "field", "to") == "channel" else "to"
            return {f"{place.place}.{field}": error.detail}
    return {}


async def _conversation(here: Here, seen: Message) -> uuid.UUID:
    db, workspace_id = here.db, here.run.workspace_id
    if seen.to is not None:
        return await beginning.conversation_with(db, workspace_id, seen.channel or "sms", seen.to, seen.subject)
    conversation_id = seen.conversation_id
    if conversation_id is None:
        said = here.run.trigger_data.get("conversationId")
        if not isinstance(said, str):
            raise Invalid({f"{here.place}.conversationId": "what set it off was in no conversation"})
        conversation_id = msgspec.convert(said, uuid.UUID)
    if seen.channel is not None:
        return await beginning.beside(db, workspace_id, conversation_id, seen.channel)
    return conversation_id


def _unless_said(here: Here) -> Literal["send", "skip"]:
    """What an agent has answered, or asked for, is not said over whoever has the conversation by then."""
    of_agents = {step["id"] for step in here.run.steps if step.get("agentId") and step["action"] != "approval"}
    said = [text for text, _ in values.texts(here.step.inputs, "")]
    if any(id_ in of_agents for text in said for id_ in values.steps_of(text)):
        return "skip"
    is_asked_for = here.run.trigger_type == "agent_request"
    return "skip" if is_asked_for and any("trigger" in values.roots_of(text) for text in said) else "send"


async def _is_owned(here: Here, conversation_id: uuid.UUID) -> bool:
    """Whether somebody has the conversation; it is locked, so that nobody gets it meanwhile."""
    row = await here.db.scalar(
        select(Conversation)
        .where(Conversation.workspace_id == here.run.workspace_id, Conversation.id == conversation_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return row is not None and (row.assigned_to is not None or getattr(row, "agent_id", None) is not None)


ACTIONS = {"message": Action(Message, say, check, right="writing")}
