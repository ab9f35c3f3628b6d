"""Talk within the team, and what members are told about."""

from typing import Any

from litestar import delete
from sqlalchemy import ColumnElement, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Forbidden, Invalid
from handlers import shapes
from handlers.given import Asker, Db, RowId
from handlers.guards import reader, writer
from handlers.resource import crud
from models.base import new_id, now
from models.communications import (
    Notification,
    NotificationView,
    TeamChannel,
    TeamChannelView,
    TeamMessage,
    TeamMessageView,
)


async def create_channel(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> TeamChannel:
    """A channel of the member who asks for it."""
    row = TeamChannel(workspace_id=identity.workspace_id, created_by=identity.user_id, **values)
    db.add(row)
    return row


async def post_message(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> TeamMessage:
    """The member has said something in a channel, or in answer to a message of it."""
    row = TeamMessage(
        workspace_id=identity.workspace_id, id=new_id(), sender_id=identity.user_id, created_at=now(), **values
    )
    if row.parent_message_id is not None:
        parent = await db.get(TeamMessage, (row.workspace_id, row.parent_message_id), with_for_update=True)
        if parent is None or parent.channel_id != row.channel_id:
            raise Invalid({"parentMessageId": "refers to no message of this channel"})
        parent.thread_count += 1
    db.add(row)
    await db.flush()
    await db.execute(
        update(TeamChannel)
        .where(TeamChannel.workspace_id == row.workspace_id, TeamChannel.id == row.channel_id)
        .values(last_message_at=row.created_at)
        .execution_options(synchronize_session=False)
    )
    return row


async def edit_message(db: AsyncSession, identity: Identity, row: TeamMessage, values: dict[str, Any]) -> None:
    """The sender has put it differently, and everybody sees that."""
    if row.sender_id != identity.user_id:
        raise Forbidden("Only its sender may edit a message.")
    if any(getattr(row, name) != value for name, value in values.items()):
        row.is_edited, row.edited_at = True, now()
    for name, value in values.items():
        setattr(row, name, value)


async def mark_read(db: AsyncSession, identity: Identity, row: Notification, values: dict[str, Any]) -> None:
    """Read or unread, with the time."""
    if "is_read" in values and values["is_read"] != row.is_read:
        row.is_read, row.read_at = values["is_read"], now() if values["is_read"] else None


def mine(identity: Identity) -> ColumnElement[bool]:
    """Notifications are the member's own."""
    return Notification.user_id == identity.user_id


channels = crud(
    "/team-channels",
    TeamChannel,
    TeamChannelView,
    search=("name", "description"),
    filters=("type", "is_private", "created_by"),
    create=create_channel,
)
messages = crud(
    "/team-messages",
    TeamMessage,
    TeamMessageView,
    search=("content",),
    filters=("channel_id", "sender_id", "parent_message_id", "is_pinned"),
    verbs=("list", "get", "create", "change"),
    create=post_message,
    change=edit_message,
)
messages.edit = shapes.change_shape(TeamMessage, TeamMessageView, only=("content", "content_type"))
notifications = crud(
    "/notifications",
    Notification,
    NotificationView,
    filters=("is_read", "type"),
    verbs=("list", "get", "change"),
    who_writes=reader,  # that one has read is one's own affair, a viewer's too
    whose=mine,
    change=mark_read,
)


@delete("/{row_id:uuid}", operation_id="delete_team_message", guards=[writer])
async def remove_message(db: Db, identity: Asker, row_id: RowId) -> None:
    """A message is taken back by its sender, or removed by an administrator."""
    row = await messages.find(db, identity, row_id)
    if row.sender_id != identity.user_id and identity.role not in ("owner", "admin"):
        raise Forbidden("Only its sender or an administrator may delete a message.")
    await messages.remove(db, identity, row_id)


routes = [channels.router(), messages.router(remove_message), notifications.router()]
