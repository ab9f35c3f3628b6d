"""What the server says, as the bytes that go on the wire: encoded once, sent to all."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms.audience import Audience, Listener, audience_of
from comms.hub import topics
from comms.hub.topics import Topics

_encode = msgspec.json.Encoder().encode


def framed(text: bytes) -> bytes:
    """An unmasked, unfragmented websocket text frame (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


def frame(kind: str, **fields: Any) -> bytes:
    """A frame ``{"type": kind, …}``."""
    return framed(_encode({"type": kind, **fields}))


class _Head(msgspec.Struct, rename="camel", tag_field="type", tag="event", gc=False):
    seq: int
    event: str
    at: datetime
    subject_type: str
    subject_id: uuid.UUID
    conversation_id: uuid.UUID | None
    actor_type: str
    actor_id: uuid.UUID | None


class Told(msgspec.Struct, frozen=True, gc=False):
    """An event as a frame, with what decides who gets it."""

    seq: int
    noun: str
    about: tuple[str, ...]
    audience: Audience
    frame: bytes


def told(row: Sequence[Any]) -> Told:
    """A row of the log as the frame all sockets share; its JSON goes on as it was written."""
    seq, event, at, subject_type, subject_id, conversation_id, actor_type, actor_id, text, changes, members = row
    data = text.encode()
    head = _encode(_Head(seq, event, at, subject_type, subject_id, conversation_id, actor_type, actor_id))
    noun = event.partition(".")[0]
    return Told(
        seq,
        noun,
        topics.of_event(noun, conversation_id),
        audience_of(noun, data, members),
        framed(b'%b,"data":%b,"changes":%b}' % (head[:-1], data, b"null" if changes is None else changes.encode())),
    )


def joined(page: Iterable[Told], listening: Topics, listener: Listener) -> bytes:
    """The frames of ``page`` for a socket with these topics and this listener, as one write."""
    return b"".join([t.frame for t in page if topics.wanted(listening, t.about) and t.audience.includes(listener)])
