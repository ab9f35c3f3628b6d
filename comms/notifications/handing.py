"""Conversations that are handed on, and those that nobody answers: who is told, and when that is over."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

from comms.notifications.occasions import CONTACT, End, Occasion, Told, id_of, ids_of, in_conversation

INSTANT = timedelta(microseconds=1)


def handed_on(told: Told) -> Iterator[Occasion]:
    """Who is asked to take a conversation: the member, or everybody in the team; nobody asked before them any more."""
    data = told.data
    if data["targetUserId"] is None and data["targetTeamId"] is None:
        return
    yield in_conversation(
        told,
        "handoff",
        f"The conversation with {CONTACT} is handed to you",
        data["packet"].get("summary") or data["reason"],
        to=ids_of([data["targetUserId"]]),
        circles=() if data["targetTeamId"] is None else ("team",),
        team_id=id_of(data["targetTeamId"]),
        data={"handoffId": str(told.id), "deadlineAt": data["deadlineAt"]},
    )


def not_taken(told: Told) -> Iterator[Occasion]:
    """Who handed it on hears that nobody takes it; if that was no member, the administrators do."""
    yield in_conversation(
        told,
        "handoff",
        f"Nobody has taken the conversation with {CONTACT}",
        told.data["reason"],
        to=ids_of([told.data["fromUserId"]]),
        circles=("somebody",),
        data={"handoffId": str(told.id)},
    )


def settled(told: Told) -> Iterator[End]:
    """Whoever was asked until now need not look any more; who is asked by this very event has to."""
    conversation_id = uuid.UUID(told.data["conversationId"])
    yield End(what="read", group_key=f"handoff:{conversation_id}", subject_id=conversation_id, until=told.at - INSTANT)


def unanswered(told: Told) -> Iterator[Occasion]:
    """Whose conversation it is hears that its contact waits; if it is nobody's, the administrators do."""
    yield in_conversation(
        told,
        "reminder",
        f"{CONTACT} waits for an answer",
        told.data.get("subject"),
        conversation_id=told.id,
        circles=("assignee", "somebody"),
    )


def fell_silent(told: Told) -> Iterator[Occasion]:
    """Whose conversation it is hears that its contact has not answered."""
    yield in_conversation(
        told,
        "reminder",
        f"{CONTACT} has not answered",
        told.data.get("subject"),
        conversation_id=told.id,
        circles=("assignee",),
    )
