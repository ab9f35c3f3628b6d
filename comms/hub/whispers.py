"""Typing and presence: told to who is there, now, and to nobody later. They never touch the log."""

import uuid

import msgspec
import structlog

from comms.hub import topics
from comms.hub.fanout import Shares
from comms.hub.frames import framed
from comms.hub.rooms import Room
from comms.sockets import Wire

log = structlog.get_logger(__name__)

AT_ONCE = 100  # whispers a room takes between two passes; more would be noise


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
        log.warning("hub.whisper_unreadable")
        return None
    return heard.workspace_id, Whisper(heard.about, framed(bytes(heard.text)), None)


def shares(room: Room, said: list[Whisper]) -> Shares:
    """Everybody gets what concerns them, except what they said themselves."""
    senders = {whisper.sender for whisper in said if whisper.sender is not None}
    due: Shares = []
    for listening, group in room.live.items():
        concerning = [whisper for whisper in said if topics.wanted(listening, whisper.about)]
        if not concerning:
            continue
        due.append(([wire for wire in group if wire not in senders], b"".join([one.frame for one in concerning])))
        for sender in senders.intersection(group):
            if others := b"".join([one.frame for one in concerning if one.sender is not sender]):
                due.append(([sender], others))
    return due
