"""What the server says, as the bytes that go on the wire: encoded once, sent to all."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from comms.audience import Audience, Listener, audience_of
from comms.hub import topics
from comms.hub.protocol import Event, Said
from comms.hub.topics import Topics

_NOTHING = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


def framed(text: bytes) -> bytes:
    """An unmasked, unfragmented websocket text frame (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


def frame(said: Said) -> bytes:
    """What is said, for the wire."""
    return framed(_encode(said))


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
    noun, data = event.partition(".")[0], text.encode()
    changed = _NOTHING if changes is None else msgspec.Raw(changes.encode())
    said = Event(
        seq,
        event,
        at,
        subject_type,
        subject_id,
        conversation_id,
        actor_type,
        actor_id,
        data=msgspec.Raw(data),
        changes=changed,
    )
    return Told(
        seq,
        noun,
        topics.of_event(noun, subject_id, conversation_id, data),
        audience_of(noun, data, members),
        frame(said),
    )


def joined(page: Iterable[Told], listening: Topics, listener: Listener) -> bytes:
    """The frames of ``page`` for a socket with these topics and this listener, as one write."""
    return b"".join([t.frame for t in page if topics.wanted(listening, t.about) and t.audience.includes(listener)])
