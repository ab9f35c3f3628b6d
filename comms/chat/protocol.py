"""The protocol of a visitor's socket: the shape of every frame, declared once. See docs/chat.md.

``seq`` counts what has changed of what this visitor sees. Nobody learns from it what else happens in the workspace.
"""

import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from comms.hub.protocol import Frame

VERSION = 1
LONGEST = 4_000
MOST_FILES = 5

Seq = Annotated[int, Meta(ge=0, le=2**63 - 1, description="A place among the changes of what this visitor sees.")]
Place = Annotated[int, Meta(ge=0, le=2**63 - 1, description="The place of a message in the chat.", examples=[3])]
ClientId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Made by the page for each message: sent again, it is kept once.",
        examples=["0d4f2c1e-7"],
    ),
]
Url = Annotated[str, Meta(max_length=2_000, description="A web address.", examples=["https://shop.example.com/boots"])]


class File(msgspec.Struct, rename="camel"):
    """A file of a message, to be fetched with the visitor's token."""

    id: uuid.UUID
    file_name: Annotated[str | None, Meta(description="The name it came with.", examples=["boots.png"])]
    content_type: Annotated[str | None, Meta(description="What it is, by what is in it.", examples=["image/png"])]
    size: int | None


class Shown(msgspec.Struct, rename="camel"):
    """A message as the visitor sees it. The one of the same ``id`` that came before is this one now."""

    id: uuid.UUID
    place: Place
    seq: Seq
    is_own: Annotated[bool, Meta(description="Whether the visitor wrote it.", examples=[False])]
    content: str
    name: Annotated[str | None, Meta(description="Who answers, if the widget shows it.", examples=["Ada"])]
    files: Annotated[list[File], Meta(description="What was attached.", examples=[[]])]
    client_id: ClientId | None
    at: Annotated[datetime, Meta(description="When it was said.", examples=["2026-03-01T12:00:00Z"])]
    is_deleted: Annotated[bool, Meta(description="Whether it is gone; then it says nothing.", examples=[False])] = False


class Page(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The page a visitor looks at."""

    url: Url | None = None
    title: Annotated[str, Meta(max_length=500, description="Its title.", examples=["Boots"])] | None = None
    referrer: Url | None = None


class Said(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a visitor says."""

    client_id: ClientId
    content: Annotated[str, Meta(max_length=LONGEST, description="The text.", examples=["Do you have boots?"])] = ""
    upload_ids: Annotated[
        list[uuid.UUID], Meta(max_length=MOST_FILES, description="Files uploaded in this session.", examples=[[]])
    ] = []


# What visitors say


class ChatAuth(Frame, tag="auth"):
    """Who this is: the first frame, within 10 seconds. With ``after`` what changed since is told first."""

    token: Annotated[str, Meta(description="What `POST /chat/{key}/sessions` has answered.", examples=["cv_AZqm…"])]
    after: Seq | None = None


class ChatSay(Frame, tag="say"):
    """The visitor says something: answered by ``kept``, however often it is sent."""

    client_id: ClientId
    content: Annotated[str, Meta(max_length=LONGEST, description="The text.", examples=["Do you have boots?"])] = ""
    upload_ids: Annotated[
        list[uuid.UUID], Meta(max_length=MOST_FILES, description="Files uploaded in this session.", examples=[[]])
    ] = []


class ChatTyping(Frame, tag="typing"):
    """The visitor is typing, or is not any more."""

    typing: bool = True


class ChatPage(Frame, tag="page"):
    """The visitor looks at another page."""

    url: Url | None = None
    title: Annotated[str, Meta(max_length=500, description="Its title.", examples=["Boots"])] | None = None
    referrer: Url | None = None


class ChatReceived(Frame, tag="received"):
    """The messages up to this place have reached the visitor's screen."""

    place: Place


class ChatSeen(Frame, tag="read"):
    """The messages up to this place were read."""

    place: Place


class ChatPing(Frame, tag="ping"):
    """Is somebody there?"""


# What visitors hear


class ChatReady(Frame, tag="ready"):
    """Let in: every change after ``seq`` follows, in order."""

    seq: Seq
    head: Seq
    read_place: Place
    is_open: Annotated[bool, Meta(description="Whether somebody is there to answer now.", examples=[True])]
    protocol: Annotated[int, Meta(description="The version of this protocol.", examples=[VERSION])] = VERSION


class ChatMessageSeen(Frame, tag="message"):
    """A message is new, or looks otherwise than before."""

    seq: Seq
    message: Shown


class ChatKept(Frame, tag="kept"):
    """What the visitor said is kept."""

    client_id: ClientId
    id: uuid.UUID
    place: Place


class ChatTypingSeen(Frame, tag="typing"):
    """Somebody who answers is typing, or is not any more."""

    typing: bool
    name: Annotated[str | None, Meta(description="Who, if the widget shows it.", examples=["Ada"])] = None


class ChatRead(Frame, tag="read"):
    """Those who answer have read up to this place."""

    place: Place


class ChatHeartbeat(Frame, tag="heartbeat"):
    """Everything up to ``seq`` has been told."""

    seq: Seq


class ChatPong(Frame, tag="pong"):
    """Somebody is."""


class ChatError(Frame, tag="error"):
    """A frame was not understood or not heeded; the connection stays."""

    detail: Annotated[str, Meta(description="What was wrong with it.", examples=["content must not be empty"])]
    client_id: ClientId | None = None


ChatHeard = ChatSay | ChatTyping | ChatPage | ChatReceived | ChatSeen | ChatPing
"""What a visitor that has been let in may say."""

ChatTold = ChatReady | ChatMessageSeen | ChatKept | ChatTypingSeen | ChatRead | ChatHeartbeat | ChatPong | ChatError
"""What the server says."""

CLOSING = {
    1008: "Malformed frames, or a flood. Repair the page.",
    1009: "A frame was over 16 KiB. Repair the page.",
    1011: "The server failed, or the browser answered no ping. Come back with `after`.",
    1012: "This process stops. Come back with `after`.",
    1013: "Too many connections, or no database just now. Come back later with `after`.",
    4401: "Unknown, expired or revoked, from the start or since. Begin a session anew.",
    4403: "The page is not where this widget may be. Do not come back.",
    4409: "`too slow: resync from seq N`: come back with the last `seq`. Any other reason: fetch anew.",
}
"""Why the server closes, by the code it closes with."""
