"""What of the log concerns somebody: which events are an occasion to tell members something, and which end one."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from comms import permissions
from comms.mail.markup import text_of
from comms.notifications import handing, switched_off
from comms.notifications.occasions import (
    CONTACT,
    LONGEST,
    End,
    Occasion,
    Told,
    called_in,
    id_of,
    ids_of,
    in_conversation,
)

log = structlog.get_logger(__name__)

_MARKUP = 20 * LONGEST  # characters of HTML, of which the first words are told

Rule = Callable[[Told], Iterator[Occasion | End]]


def of(told: Told) -> Sequence[Occasion | End]:
    """What follows from an event for what members are told; nothing from one that cannot be understood."""
    try:
        return [found for rule in RULES.get(told.event, ()) for found in rule(told)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # else nobody would be told anything any more
        log.error("notifications.not_understood", told=told.event, seq=told.seq, error=type(error).__name__)
        return []


def _words(told: Told) -> str:
    """What the message says, as people read it."""
    content: str = told.data["content"]
    return text_of(content[:_MARKUP]) if told.data.get("contentType") == "html" else content


def _conversation_assigned(told: Told) -> Iterator[Occasion]:
    if told.data["assignedTo"] is not None:
        yield in_conversation(
            told,
            "assignment",
            "A conversation was assigned to you",
            told.data.get("subject"),
            conversation_id=told.id,
            to=ids_of([told.data["assignedTo"]]),
            data={"assignedBy": None if told.by is None else str(told.by)},
        )


# Whose a thing is, where it leads; and whether many come at once, and are one notice.
_OWNED: Mapping[str, tuple[str, str, bool]] = {
    "contact": ("ownerId", "contacts", True),
    "prospect": ("ownerId", "prospects", True),
    "customer": ("assignedTo", "customers", True),
    "deal": ("ownerId", "deals", False),
    "project": ("managerId", "projects", False),
}


def _given(told: Told) -> Iterator[Occasion]:
    field, path, is_many = _OWNED[told.noun]
    owner = told.became(field)
    if owner is None:
        return
    words = [told.data.get("name")] if "name" in told.data else map(told.data.get, ("firstName", "lastName"))
    yield Occasion(
        told=told,
        kind="assignment",
        group_key=f"assignment:{told.noun}" if is_many else f"assignment:{told.id}",
        title=f"A {told.noun} was assigned to you",
        text=" ".join(word for word in words if word) or None,
        subject=(told.noun, told.id),
        link=f"/{path}/{told.id}",
        data={f"{told.noun}Id": str(told.id), "assignedBy": None if told.by is None else str(told.by)},
        to=ids_of([owner]),
    )


def _received(told: Told) -> Iterator[Occasion]:
    yield in_conversation(
        told,
        "message",
        f"New message from {CONTACT}",
        _words(told),
        circles=("assignee", "followers"),
        data={"messageId": str(told.id)},
    )


def _noted(told: Told) -> Iterator[Occasion]:
    """An internal note calls whom it mentions, and is news to who follows the conversation."""
    if not told.data["isInternal"]:
        return
    called = called_in(told)
    about = {"data": {"messageId": str(told.id), "mentionedBy": str(told.by)}}
    if called:
        yield in_conversation(told, "mention", "You were mentioned in a note", _words(told), to=called, **about)
    if told.event.endswith(".created"):
        yield in_conversation(
            told,
            "message",
            f"New note about {CONTACT}",
            _words(told),
            circles=("assignee", "followers"),
            but=called,
            data={"messageId": str(told.id)},
        )


def _failed(told: Told) -> Iterator[Occasion]:
    data = told.data
    if data["direction"] != "outbound" or data["status"] not in ("failed", "undelivered"):
        return
    yield in_conversation(
        told,
        "failed_send",
        f"A message to {CONTACT} could not be delivered",
        data.get("errorMessage") or _words(told),
        to=ids_of([data["senderId"]] if data["senderType"] == "user" else []),
        circles=("assignee",),
        data={"messageId": str(told.id), "errorCode": data.get("errorCode")},
    )


_MISSED = {
    "missed": None,
    "after_hours": "Outside of your hours.",
    "voicemail": "They left a message.",
}


def _call_ended(told: Told) -> Iterator[Occasion]:
    data = told.data
    if data["direction"] != "inbound" or data["outcome"] not in _MISSED:
        return
    about: dict[str, Any] = {
        "told": told,
        "kind": "missed_call",
        "title": f"Missed call from {CONTACT}",
        "text": _MISSED[data["outcome"]],
        "circles": ("assignee", "followers", "rung", "contact_owner", "somebody"),
        "call_id": told.id,
    }
    if told.conversation_id is not None:
        yield in_conversation(**about, data={"callId": str(told.id)})
        return
    about["title"] = f"Missed call from {data['fromAddress'] or 'a withheld number'}"
    yield Occasion(
        **about,
        group_key=f"missed_call:{data['fromAddress']}",
        subject=("call", told.id),
        link=f"/calls/{told.id}",
        data={"callId": str(told.id)},
    )


def _transferred(told: Told) -> Iterator[Occasion]:
    """A colleague hands somebody a call that waits for them."""
    if told.data["toUserId"] is not None:
        call_id = told.data["callId"]
        yield Occasion(
            told=told,
            kind="handoff",
            group_key=f"handoff:{told.id}",
            title="A call is being put through to you",
            text=None,
            subject=("call", uuid.UUID(call_id)),
            link=f"/calls/{call_id}",
            data={"callId": call_id, "transferId": str(told.id)},
            to=ids_of([told.data["toUserId"]]),
        )


def _handed_over(told: Told) -> Iterator[Occasion]:
    """An agent gives something up to people: to who has the conversation it names, else to who may write agents."""
    if told.data["messageType"] != "handoff":
        return
    content = told.data["content"]
    conversation_id = id_of((content.get("data") or {}).get("conversationId"))
    more: dict[str, Any] = {"agentMessageId": str(told.id)}
    if conversation_id is not None:
        more["conversationId"] = str(conversation_id)
    yield Occasion(
        told=told,
        kind="handoff",
        group_key=f"handoff:{told.data['threadId']}",
        title="An agent hands something over",
        text=content.get("subject") or content.get("body"),
        subject=("agent_message", told.id),
        link=f"/agent-messages/{told.id}",
        data=more,
        circles=("assignee", "asked"),
        conversation_id=conversation_id,
    )


def _asked(told: Told) -> Iterator[Occasion]:
    yield Occasion(
        told=told,
        kind="approval",
        group_key=f"approval:{told.id}",
        title="An agent asks for your approval",
        text=told.data["title"],
        subject=("agent_pending_action", told.id),
        link=f"/agent-pending-actions/{told.id}",
        data={"agentPendingActionId": str(told.id), "riskLevel": told.data["riskLevel"]},
        circles=("approvers",),
        agent_id=uuid.UUID(told.data["agentId"]),
    )


def _decided(told: Told) -> Iterator[End]:
    yield End(what="read", group_key=f"approval:{told.id}", subject_id=told.id)


def _transfer_over(told: Told) -> Iterator[End]:
    yield End(what="read", group_key=f"handoff:{told.id}", subject_id=uuid.UUID(told.data["callId"]))


def _woken(told: Told) -> Iterator[Occasion]:
    yield in_conversation(
        told,
        "reminder",
        f"The conversation with {CONTACT} is back",
        told.data.get("subject"),
        conversation_id=told.id,
        circles=("assignee", "followers", "snoozer"),
    )


def _due(told: Told) -> Iterator[Occasion]:
    data = told.data
    yield Occasion(
        told=told,
        kind="reminder",
        group_key=f"reminder:{told.id}",
        title=f"A {data['type']} of yours is due",
        text=data.get("subject"),
        subject=("interaction", told.id),
        link=f"/contacts/{data['contactId']}",
        data={"interactionId": str(told.id), "contactId": data["contactId"]},
        to=ids_of([data["userId"]]),
    )


def _said(told: Told) -> Iterator[Occasion]:
    """In a team channel: whom it mentions, everybody there perhaps; who is spoken to directly; who is answered."""
    if told.data.get("contentType") == "system":
        return
    channel_id = uuid.UUID(told.data["channelId"])
    called, everybody = called_in(told), told.became("mentionsChannel") is True
    about: dict[str, Any] = {
        "told": told,
        "text": _words(told),
        "subject": ("team_channel", channel_id),
        "link": f"/team-channels/{channel_id}",
        "channel_id": channel_id,
    }
    data = {"channelId": str(channel_id), "messageId": str(told.id), "position": told.data.get("position")}
    if called or everybody:
        yield Occasion(
            kind="mention",
            group_key=f"mention:{channel_id}",
            title="You were mentioned in a channel",
            data=data | {"mentionedBy": str(told.by)},
            to=called,
            circles=("channel",) if everybody else (),
            **about,
        )
    if told.event.endswith(".created") and not everybody:
        yield Occasion(
            kind="message",
            group_key=f"message:{channel_id}",
            title="New message from a colleague",
            data=data,
            circles=("direct",),
            parent_id=id_of(told.data.get("parentMessageId")),
            but=called,
            **about,
        )


def _channel_read(told: Told) -> Iterator[End]:
    position = told.became("readPosition")
    if position:
        channel_id, user_id = told.data["channelId"], told.data["userId"]
        yield End(what="read", subject_id=uuid.UUID(channel_id), user_id=uuid.UUID(user_id), position=position)


def _read(told: Told) -> Iterator[End]:
    until = told.became("lastReadAt")
    if until is not None:
        yield End(
            what="read",
            subject_id=uuid.UUID(told.data["conversationId"]),
            user_id=uuid.UUID(told.data["userId"]),
            until=datetime.fromisoformat(until),
        )


def _gone(told: Told) -> Iterator[End]:
    yield End(what="gone", subject_id=told.id)


def _unsaid(told: Told) -> Iterator[End]:
    place = told.data.get("channelId") or told.data["conversationId"]
    yield End(what="gone", subject_id=uuid.UUID(place), message_id=told.id)


def _reworded(told: Told) -> Iterator[End]:
    """What was told quotes it as it is now."""
    place = told.data.get("channelId") or told.data["conversationId"]
    if told.changes.get("content"):
        yield End(what="reworded", subject_id=uuid.UUID(place), message_id=told.id, text=_words(told)[:LONGEST])


def _closed(told: Told) -> Iterator[End]:
    """A channel that is closed is there for those who belong to it, and so is what others were told of it."""
    if told.became("isPrivate") and told.audience is not None:
        yield End(what="gone", subject_id=told.id, but=told.audience)


def _permitted(told: Told) -> Iterator[End]:
    """Who may not see agents any more does not see either what they have asked."""
    if not permissions.allows(told.data["role"], told.data["permissions"], "agents", "read"):
        yield End(what="gone", of_agents=True, user_id=uuid.UUID(told.data["userId"]))


def _left(told: Told) -> Iterator[End]:
    """Who has left a closed channel does not see any more what was said there."""
    if told.audience is not None:
        yield End(what="gone", subject_id=uuid.UUID(told.data["channelId"]), user_id=uuid.UUID(told.data["userId"]))


RULES: Mapping[str, tuple[Rule, ...]] = {
    "conversation.assigned": (_conversation_assigned,),
    **{f"{noun}.{what}": (_given,) for noun in _OWNED for what in ("created", "updated")},
    "message.received": (_received,),
    "message.created": (_noted,),
    "message.updated": (_noted, _reworded),
    "message.failed": (_failed,),
    "message.status_changed": (_failed,),
    "webhook_endpoint.disabled": (switched_off.endpoint,),
    "agent_workflow.stopped": (switched_off.workflow,),
    "call.ended": (_call_ended,),
    "call_transfer.created": (_transferred,),
    "call_transfer.completed": (_transfer_over,),
    "call_transfer.canceled": (_transfer_over,),
    "agent_message.created": (_handed_over,),
    "agent_pending_action.created": (_asked,),
    **{f"agent_pending_action.{what}": (_decided,) for what in ("approved", "rejected", "expired")},
    "conversation.woken": (_woken,),
    "conversation.unanswered": (handing.unanswered,),
    "conversation.fell_silent": (handing.fell_silent,),
    "conversation_handoff.created": (handing.handed_on,),
    "conversation_handoff.escalated": (handing.settled, handing.handed_on),
    **{f"conversation_handoff.{what}": (handing.settled,) for what in ("accepted", "taken", "withdrawn")},
    **{f"conversation_handoff.{what}": (handing.settled, handing.not_taken) for what in ("rejected", "expired")},
    "interaction.came_due": (_due,),
    "team_message.created": (_said,),
    "team_message.updated": (_said, _reworded),
    "team_channel_reading.updated": (_channel_read,),
    "conversation_participant.created": (_read,),
    "conversation_participant.updated": (_read,),
    **{
        f"{noun}.deleted": (_gone,)
        for noun in (*_OWNED, "conversation", "interaction", "team_channel", "agent_pending_action", "agent_message")
    },
    "workspace_member.updated": (_permitted,),
    "team_channel.updated": (_closed,),
    "message.deleted": (_unsaid,),
    "team_message.deleted": (_unsaid,),
    "team_channel_member.deleted": (_left,),
}
"""What each event means for what members are told; every other one means nothing."""
