"""What an event is about, and so which sockets are told of it."""

import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from models.base import Base, noun_of

WORKSPACE = "workspace"
INBOX = "inbox"
PRESENCE = "presence"

Topics = frozenset[str]
"""What a socket wants to hear."""

EVERYTHING: Topics = frozenset({WORKSPACE})
"""Every event it may see, and typing."""

AT_MOST = 200

KINDS = ("conversation", "channel", "user", "call")
"""What a topic may be one of: ``channel:<id>``. Whether there is such a thing is nobody's to learn from a topic."""

SUBJECTS: Mapping[str, str] = {"team_channel": "channel", "user": "user", "call": "call"}
"""Nouns whose own id is that of a topic."""

ABOUT: Mapping[str, Mapping[str, str]] = {
    "team_channel_member": {"channelId": "channel", "userId": "user"},
    "team_channel_reading": {"channelId": "channel", "userId": "user"},
    "team_message": {"channelId": "channel", "mentions": "user"},
    "team_message_reaction": {"channelId": "channel"},
    "team_thread_following": {"channelId": "channel", "userId": "user"},
    "call_leg": {"callId": "call", "userId": "user"},
    "call_offer": {"callId": "call", "userIds": "user"},
    "call_transfer": {"callId": "call", "toUserId": "user"},
    "recording": {"callId": "call"},
    "conversation": {"assignedTo": "user"},
    "notification": {"userId": "user"},
    "notification_read_state": {"userId": "user"},
    "notification_preference": {"userId": "user"},
    "push_subscription": {"userId": "user"},
    "workspace_member": {"userId": "user"},
}
"""Nouns whose data names, by an id or several in these fields, what else an event is about."""

_ONE = re.compile(rf"({'|'.join(KINDS)}):[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")


class UnknownTopic(ValueError):
    """There is no such topic."""


def of_event(noun: str, subject_id: uuid.UUID, conversation_id: uuid.UUID | None, data: bytes) -> tuple[str, ...]:
    """The topics under which an event is heard, whose data is this JSON."""
    about = [named(noun)]
    if conversation_id is not None:
        about += [INBOX, f"conversation:{conversation_id}"]
    if noun in SUBJECTS:
        about.append(f"{SUBJECTS[noun]}:{subject_id}")
    if noun in ABOUT:
        said = msgspec.json.decode(data, type=dict[str, Any])
        for field, kind in ABOUT[noun].items():
            ids = said.get(field) or []
            about += [f"{kind}:{id_}" for id_ in ([ids] if isinstance(ids, str) else ids)]
    return tuple(about)


def more(before: Topics, names: list[str]) -> Topics:
    """What a socket listens to after it subscribed to ``names``; raises ``UnknownTopic``."""
    named = _read(names)
    after = before - EVERYTHING | named
    if WORKSPACE in named:
        after &= EVERYTHING | {PRESENCE}  # the others are a part of everything
    if len(after) > AT_MOST:
        raise UnknownTopic(f"at most {AT_MOST} topics at a time")
    return after


def fewer(before: Topics, names: list[str]) -> Topics:
    """What it listens to after it unsubscribed: perhaps nothing at all."""
    return before - _read(names)


def _read(names: list[str]) -> frozenset[str]:
    for name in names:
        if name not in known() and not _ONE.fullmatch(name):
            raise UnknownTopic(f"there is no topic {name[:80]}")
    return frozenset(names)


def wanted(topics: Topics, about: tuple[str, ...]) -> bool:
    """Whether a socket that listens to ``topics`` hears of something that is ``about`` these."""
    return not topics.isdisjoint(about) or (WORKSPACE in topics and PRESENCE not in about)


@lru_cache
def known() -> frozenset[str]:
    """Every topic but those of single things."""
    nouns = (named(noun_of(mapper.class_)) for mapper in Base.registry.mappers)
    return frozenset({WORKSPACE, INBOX, PRESENCE, *nouns})


@lru_cache
def named(noun: str) -> str:
    """The topic of a noun is its plural, as in URLs: ``contact.created`` is heard under ``contacts``."""
    for mapper in Base.registry.mappers:
        table = mapper.class_
        if table.noun is None and noun_of(table) == noun:
            return str(table.__tablename__)
    return f"{noun}s"
