"""What an event is about, and so which sockets are told of it."""

import re
import uuid
from functools import lru_cache

from models.base import Base, noun_of

WORKSPACE = "workspace"
INBOX = "inbox"
PRESENCE = "presence"

Topics = frozenset[str]
"""What a socket wants to hear."""

EVERYTHING: Topics = frozenset({WORKSPACE})
"""Every event it may see, and typing."""

AT_MOST = 200

CREDENTIALS = frozenset({"access_token", "session", "workspace", "workspace_member"})
"""Nouns whose events may end somebody's right to listen."""

_CONVERSATION = re.compile(r"conversation:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class UnknownTopic(ValueError):
    """There is no such topic."""


def of_event(noun: str, conversation_id: uuid.UUID | None) -> tuple[str, ...]:
    """The topics under which something about ``noun`` is heard."""
    if conversation_id is None:
        return (named(noun),)
    return (named(noun), INBOX, f"conversation:{conversation_id}")


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
        if name not in known() and not _CONVERSATION.fullmatch(name):
            raise UnknownTopic(f"there is no topic {name[:80]}")
    return frozenset(names)


def wanted(topics: Topics, about: tuple[str, ...]) -> bool:
    """Whether a socket that listens to ``topics`` hears of something that is ``about`` these."""
    return not topics.isdisjoint(about) or (WORKSPACE in topics and PRESENCE not in about)


@lru_cache
def known() -> frozenset[str]:
    """Every topic but those of single conversations."""
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
