"""Typing and presence: told to who is there, now, and to nobody later. They never touch the log."""

import uuid
from collections.abc import Iterator

import msgspec
import structlog

from comms.hub import topics
from comms.hub.frames import framed
from comms.hub.rooms import Room
from comms.sockets import Wire

log = structlog.get_logger(__name__)

AT_ONCE = 100  # whispers a room takes between two passes; more would be noise
CARRIED_BYTES = 1_000


class Whisper(msgspec.Struct, frozen=True):
    """What a member is doing just now; ``sender`` is the socket that said so, if it is one of this process."""

    about: tuple[str, ...]
    frame: bytes
    sender: Wire | None


class _Carried(msgspec.Struct, array_like=True):
    workspace_id: uuid.UUID
    about: tuple[str, ...]
    text: msgspec.Raw


def carried(workspace_id: uuid.UUID, about: tuple[str, ...], text: bytes) -> str:
    """A whisper as one line for the other processes."""
    return msgspec.json.encode(_Carried(workspace_id, about, msgspec.Raw(text))).decode()


def understood(words: str) -> tuple[uuid.UUID, Whisper] | None:
    """What another process said; None if that cannot be."""
    try:
        heard = msgspec.json.decode(words, type=_Carried)
    except msgspec.MsgspecError:
        log.warning("a whisper from another process makes no sense")
        return None
    return heard.workspace_id, Whisper(heard.about, framed(bytes(heard.text)), None)


def shares(room: Room, whispers: list[Whisper]) -> Iterator[tuple[bytes, list[Wire]]]:
    """Who gets which bytes: everybody what concerns them, except what they said themselves."""
    senders = {whisper.sender for whisper in whispers if whisper.sender is not None}
    for listening, group in list(room.live.items()):
        concerning = [whisper for whisper in whispers if topics.wanted(listening, whisper.about)]
        if not concerning:
            continue
        yield b"".join([whisper.frame for whisper in concerning]), [wire for wire in group if wire not in senders]
        for wire in senders.intersection(group):
            if frames := b"".join([whisper.frame for whisper in concerning if whisper.sender is not wire]):
                yield frames, [wire]
