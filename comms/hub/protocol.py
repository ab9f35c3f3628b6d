"""The protocol of the live socket: the shape of every frame, declared once.

A frame is built from its shape, so one with another field cannot be said. ``/schema/asyncapi.json`` is made of them.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

import msgspec

VERSION = 1
"""It changes when a client that knows the one before would be wrong. New types, fields and topics change nothing."""

Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="A place in the workspace's log.")]
Topics = Annotated[list[str], msgspec.Meta(description="What to hear of.", examples=[["inbox", "contacts"]])]
Status = Literal["online", "away", "busy", "offline"]
Shown = Literal["online", "away", "busy", "on_call", "offline"]


class Frame(msgspec.Struct, rename="camel", tag_field="type", tag=str.lower):
    """A JSON text with its ``type``."""


# What clients say


class Wishes(msgspec.Struct):
    """What a client may wish beside saying who it is, in the address or in its first frame."""

    after: Position | None = None
    topics: Topics | None = None


class Proof(msgspec.Struct, tag_field="type", tag="auth"):
    """As much of the first frame as says who it is."""

    token: Annotated[str, msgspec.Meta(description="An access token, a session's, or a session token of Clerk's.")]


class Auth(Proof):
    """Who this is: the first frame of a client without a ticket, within 10 seconds."""

    after: Position | None = None
    topics: Topics | None = None


class Subscribe(Frame):
    """From now on these, added to what was named before."""

    topics: Topics


class Unsubscribe(Frame):
    """These no more."""

    topics: Topics


class Typing(Frame):
    """This user is typing in a conversation or a team channel, or is not any more."""

    conversation_id: uuid.UUID | None = None
    channel_id: uuid.UUID | None = None
    typing: bool = True

    def __post_init__(self) -> None:
        if (self.conversation_id is None) == (self.channel_id is None):
            raise ValueError("either conversationId or channelId says where")


class Presence(Frame):
    """How this user is here, on this device; who has said nothing is ``online``."""

    status: Status


class Ping(Frame):
    """Is somebody there?"""


# What the server says


class Ready(Frame):
    """Let in: every event after ``seq`` that the topics admit follows, once, in order."""

    seq: Position
    head: Annotated[Position, msgspec.Meta(description="Where the log stood: who has seen it is up to date.")]
    workspace_id: uuid.UUID
    user_id: uuid.UUID
    protocol: Annotated[int, msgspec.Meta(description="The version of this protocol.", examples=[VERSION])] = VERSION


class Event(Frame, gc=False):
    """Something became true: an entry of the log, as ``GET /api/v1/events`` shows it."""

    seq: Position
    event: Annotated[str, msgspec.Meta(description="What became true.", examples=["message.received"])]
    at: datetime
    subject_type: Annotated[str, msgspec.Meta(description="The noun it is about.", examples=["message"])]
    subject_id: uuid.UUID
    conversation_id: uuid.UUID | None
    actor_type: Annotated[str, msgspec.Meta(description="What kind of actor did it.", examples=["contact"])]
    actor_id: uuid.UUID | None
    data: Annotated[msgspec.Raw, msgspec.Meta(description="The thing as its own `GET` shows it.")]
    changes: Annotated[
        msgspec.Raw, msgspec.Meta(description="What an update has changed, each field before and after; else null.")
    ]


class Heartbeat(Frame):
    """Everything up to ``seq`` that is listened to has been told."""

    seq: Position


class Listening(Frame, tag="topics"):
    """What is listened to now."""

    topics: Topics


class TypingSeen(Frame, tag="typing", omit_defaults=True):
    """Somebody else is typing in a conversation or a team channel, or is not any more."""

    user_id: uuid.UUID
    typing: bool
    conversation_id: uuid.UUID | None = None
    channel_id: uuid.UUID | None = None


class VisitorTyping(Frame, tag="visitor_typing"):
    """A visitor is typing in a chat, or is not any more."""

    conversation_id: uuid.UUID
    visitor_id: uuid.UUID
    typing: bool


class PresenceSeen(Frame, tag="presence"):
    """Somebody is here in another way than before: the most present of all their devices."""

    user_id: uuid.UUID
    status: Shown


class Here(Frame):
    """Who is here, told once to who begins to listen to ``presence``; whoever is missing is offline."""

    users: list[PresenceSeen]


class Pong(Frame):
    """Somebody is."""


class Error(Frame):
    """A frame was not understood, or asked for what there is not; the connection stays unless it is closed next."""

    detail: Annotated[str, msgspec.Meta(description="What was wrong with it.", examples=["there is no topic fish"])]


Heard = Subscribe | Unsubscribe | Typing | Presence | Ping
"""What a client that has been let in may say."""

Said = Ready | Event | Heartbeat | Listening | TypingSeen | VisitorTyping | PresenceSeen | Here | Pong | Error
"""What the server says."""

CLOSING: Mapping[int, str] = {
    1000: "The client closed. Come back with `after`.",
    1002: "Bytes that are no websocket's. Repair the client.",
    1007: "A text that was not UTF-8. Repair the client.",
    1008: "Malformed frames, a flood, or a wrong wish in the address. Repair the client.",
    1009: "A frame of the client's was over 16 KiB. Repair the client.",
    1011: "The server failed, or the client answered no ping. Come back with `after`.",
    1012: "This process stops. Come back with `after`.",
    1013: "Too many connections, or no database just now. Come back later with `after`.",
    4401: "Unknown, expired or revoked, from the start or since. Sign in again.",
    4403: "Known, and not allowed. Do not come back.",
    4409: "`too slow: resync from seq N`: come back with the last `seq`. Any other reason: fetch anew.",
}
"""Why the server closes, by the code it closes with."""
