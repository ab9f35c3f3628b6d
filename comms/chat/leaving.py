"""What a visitor brings, and what they take along: files, and a transcript by mail."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.chat import showing, visitors
from comms.chat.protocol import Shown
from comms.chat.visitors import Caller
from comms.database import Database
from comms.errors import Conflict, Invalid
from comms.events import Actor
from comms.media import Media
from comms.media.kinds import HEAD, content_type_of
from comms.outbox import Intent, put
from models.base import new_id, now
from models.communications import ChatWidget, Upload, UploadView, Visitor
from models.core import Workspace

LARGEST_UPLOAD = 10 * 1024 * 1024
LONGEST_TRANSCRIPT = 200_000  # characters; of what was said before nothing is mailed
KINDS = ("image/", "audio/", "video/", "text/", "application/pdf", "application/vnd.", "application/msword")
"""What visitors may bring: nothing that runs, and nothing that nobody knows."""


async def bring(database: Database, media: Media, caller: Caller, content: bytes, name: str | None) -> UploadView:
    """The file is kept for this visitor to send along; ``Invalid`` for what they may not bring.

    The store has it first: whoever dies in between leaves a file that no row names, and never a row without its file.
    """
    if not content:
        raise Invalid({"file": "must not be empty"})
    content_type = content_type_of(content[:HEAD])
    if not content_type.startswith(KINDS):
        raise Invalid({"file": f"is {content_type}: send pictures, sounds, films, documents or texts"})

    async def whole() -> AsyncIterator[bytes]:
        yield content

    upload_id = new_id()
    storage_key = f"{caller.workspace_id}/{upload_id}"
    await media.keep(storage_key, whole())
    row = Upload(
        workspace_id=caller.workspace_id,
        id=upload_id,
        visitor_id=caller.visitor_id,
        file_name=name,
        content_type=content_type,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        storage_key=storage_key,
    )
    async with database.workspace(caller.workspace_id, Actor("contact")) as db:
        db.add(row)
        await db.flush()
        view = msgspec.convert(row, UploadView, from_attributes=True)
        events.record(db, "upload.created", row, view)
    return view


async def addressee_of(database: Database, caller: Caller) -> str:
    """The address that the visitor gave; raises ``Invalid`` when they gave none, ``Conflict`` when it was mailed."""
    async with database.workspace(caller.workspace_id) as db:
        visitor = (await db.scalars(select(Visitor).where(Visitor.id == caller.visitor_id))).one()
    if visitor.email is None:
        raise Invalid({"email": "is not known: say it first"})
    if visitor.transcribed_at is not None:
        raise Conflict("The transcript was mailed already.")
    return visitor.email


async def transcribe(database: Database, caller: Caller, email: str) -> None:
    """The chat so far leaves as a mail to that address, which is the visitor's, once however often they ask."""
    async with database.workspace(caller.workspace_id) as db:
        visitor = await visitors.held(db, caller.workspace_id, caller.visitor_id)
        if visitor.email != email:
            raise Conflict("Another address was given just now: ask again.")
        if visitor.transcribed_at is not None:
            raise Conflict("The transcript was mailed already.")
        if visitor.conversation_id is None:
            raise Conflict("Nothing was said yet.")
        said = await showing.all_of(db, caller.workspace_id, caller.visitor_id)
        before = visitors.shown(visitor)
        visitor.transcribed_at = now()
        await visitors.tell_of(db, visitor, before)
        await put(db, await _letter(db, caller, visitor.conversation_id, email, said))


async def _letter(
    db: AsyncSession, caller: Caller, conversation_id: uuid.UUID, email: str, said: list[Shown]
) -> Intent:
    workspace = await db.get(Workspace, caller.workspace_id)
    widget = await db.get(ChatWidget, (caller.workspace_id, caller.widget_id))
    name = workspace.name if workspace else ""
    lines = _newest([_line(message, name) for message in said if not message.is_deleted])
    mail: dict[str, Any] = {"subject": f"Your chat with {name}"}
    return Intent(
        workspace_id=caller.workspace_id,
        conversation_id=conversation_id,
        content="\n\n".join(lines),
        sender_type="system",
        to=email,
        is_reply=True,
        metadata={"transcript": True, "widgetId": str(widget.id) if widget else None},
        details={"mail": mail},
    )


def _newest(lines: list[str]) -> list[str]:
    """As many of the last lines as fit into a mail."""
    room, kept = LONGEST_TRANSCRIPT, len(lines)
    while kept and (room := room - len(lines[kept - 1])) >= 0:
        kept -= 1
    return ["(What was said before is left out.)", *lines[kept:]] if kept else lines


def _line(message: Shown, team: str) -> str:
    who = "You" if message.is_own else message.name or team
    files = "".join(f"\n[{file.file_name or file.content_type}]" for file in message.files)
    return f"{message.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {who}:\n{message.content}{files}"
