"""An occasion to tell members something, and the end of what they were told."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from models.communications import NotificationKind

LONGEST = 200
CONTACT = "{contact}"
"""Stands in a title for the name of the conversation's contact."""

Circle = Literal[
    "assignee",
    "followers",
    "rung",
    "contact_owner",
    "approvers",
    "snoozer",
    "direct",
    "channel",
    "asked",
    "team",
    "somebody",
]
"""Whom an occasion concerns besides those it names; ``somebody`` is the administrators, where it would be nobody."""


class Told(msgspec.Struct, frozen=True):
    """An event of the log. ``by`` is the user who did it, ``audience`` those who may hear of it, None for everybody."""

    seq: int
    event: str
    noun: str
    id: uuid.UUID
    conversation_id: uuid.UUID | None
    by: uuid.UUID | None
    at: datetime
    audience: frozenset[uuid.UUID] | None
    data: Mapping[str, Any]
    changes: Mapping[str, Any]

    def became(self, field: str) -> Any:
        """What a field has become by this event; None when it has not changed."""
        if self.event.endswith(".created"):
            return self.data.get(field)
        return (self.changes.get(field) or {}).get("after")


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """Something members are told: those ``to`` whom it is addressed, and those of its ``circles``, but for ``but``.

    ``circles`` speak of ``conversation_id``, ``call_id``, ``channel_id``, ``parent_id``, ``agent_id`` or
    ``team_id``.
    """

    told: Told
    kind: NotificationKind
    group_key: str
    title: str
    text: str | None
    subject: tuple[str, uuid.UUID]
    link: str
    data: dict[str, Any]
    to: frozenset[uuid.UUID] = frozenset()
    circles: tuple[Circle, ...] = ()
    but: frozenset[uuid.UUID] = frozenset()
    conversation_id: uuid.UUID | None = None
    call_id: uuid.UUID | None = None
    channel_id: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None
    team_id: uuid.UUID | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What was told is settled (read for them), untrue (gone), or said differently; of a subject, for one user or all.

    Of that it may be a group, what speaks of one message last, or what somebody has read: what happened ``until`` then,
    or up to a ``position`` in a channel. ``but`` are users for whom nothing ends.
    Or it is all that agents asked and gave up, for somebody who may not see agents any more.
    """

    what: Literal["read", "gone", "reworded"]
    subject_id: uuid.UUID | None = None
    of_agents: bool = False
    group_key: str | None = None
    message_id: uuid.UUID | None = None
    user_id: uuid.UUID | None = None
    but: frozenset[uuid.UUID] = frozenset()
    until: datetime | None = None
    position: int | None = None
    text: str | None = None


def in_conversation(told: Told, kind: NotificationKind, title: str, text: str | None, **more: Any) -> Occasion:
    """An occasion about a conversation: all of its kind there are one notice."""
    conversation_id: Any = more.pop("conversation_id", None) or told.conversation_id
    data = {"conversationId": str(conversation_id)} | more.pop("data", {})
    return Occasion(
        told=told,
        kind=kind,
        group_key=f"{kind}:{conversation_id}",
        title=title,
        text=text,
        subject=("conversation", conversation_id),
        link=f"/conversations/{conversation_id}",
        data=data,
        conversation_id=conversation_id,
        **more,
    )


def called_in(told: Told) -> frozenset[uuid.UUID]:
    """Whom a text calls on that it did not before."""
    if told.event.endswith(".created"):
        return ids_of(told.data.get("mentions") or [])
    change = told.changes.get("mentions") or {}
    return ids_of(change.get("after") or []) - ids_of(change.get("before") or [])


def ids_of(written: Sequence[str | None]) -> frozenset[uuid.UUID]:
    """The ids as JSON has them, without those that are null."""
    return frozenset(uuid.UUID(one) for one in written if one is not None)


def id_of(written: Any) -> uuid.UUID | None:
    """The id, if it is one."""
    try:
        return uuid.UUID(written) if isinstance(written, str) else None
    except ValueError:
        return None
