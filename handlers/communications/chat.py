"""Live chat as members see it: the widgets, who chats there, and on which page they are."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import delete, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.chat import visitors as people
from comms.chat import widgets as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import administrator, writer
from handlers.resource import READ, crud
from models.communications import (
    ChatWidget,
    ChatWidgetView,
    Visitor,
    VisitorSession,
    VisitorSessionView,
    VisitorView,
)


async def create_widget(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> ChatWidget:
    """A widget with a key of its own."""
    return await stories.create(db, identity.workspace_id, values)


async def change_widget(db: AsyncSession, identity: Identity, row: ChatWidget, values: dict[str, Any]) -> None:
    """As before, what it shows and where is checked as a whole."""
    await stories.change(db, row, values)


widgets = crud(
    "/chat-widgets",
    ChatWidget,
    ChatWidgetView,
    search=("name",),
    filters=("key", "is_active"),
    verbs=("list", "get", "create", "change"),
    who_writes=administrator,
    create=create_widget,
    change=change_widget,
)

visitors = crud(
    "/visitors",
    Visitor,
    VisitorView,
    filters=("widget_id", "contact_id", "conversation_id"),
    verbs=READ,
)

sessions = crud("/visitor-sessions", VisitorSession, VisitorSessionView, filters=("visitor_id",), verbs=READ)


@delete("/{row_id:uuid}", operation_id="delete_chat_widget", guards=[administrator])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The widget is gone with its visitors, their sessions and files; what was said stays in its conversations."""
    await stories.remove(db, await widgets.find(db, identity, row_id, to_change=True))
    await widgets.remove(db, identity, row_id)


class WidgetSecret(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A secret that proves identities; it goes in and never comes out."""

    secret: Annotated[
        str,
        msgspec.Meta(
            min_length=stories.SHORTEST_SECRET,
            max_length=stories.LONGEST_SECRET,
            description="Known to the website's server and to nobody else.",
            examples=["8sK2vT9qLm4xYb1c8sK2vT9qLm4xYb1c"],
        ),
    ]


@put("/{row_id:uuid}/secret", operation_id="put_chat_widget_secret", guards=[administrator])
async def put_secret(
    db: Db, service: Here, identity: Asker, row_id: RowId, data: JSONBody[WidgetSecret]
) -> ChatWidgetView:
    """Identities are proved with this secret from now on, and with no other."""
    return await _changed(
        db, identity, row_id, "secret", lambda row: stories.put_secret(row, service.vault, data.secret)
    )


@put("/{row_id:uuid}/next-secret", operation_id="put_next_chat_widget_secret", guards=[administrator])
async def announce(
    db: Db, service: Here, identity: Asker, row_id: RowId, data: JSONBody[WidgetSecret]
) -> ChatWidgetView:
    """Believe identities proved with a further secret too, until the rotation."""
    return await _changed(
        db, identity, row_id, "nextSecret", lambda row: stories.announce(row, service.vault, data.secret)
    )


@post("/{row_id:uuid}/rotation", operation_id="rotate_chat_widget_secret", guards=[administrator])
async def rotate(db: Db, service: Here, identity: Asker, row_id: RowId) -> ChatWidgetView:
    """The next secret is the current one; the one before proves nothing any more. 409 when there is no next one."""
    return await _changed(db, identity, row_id, "secret", lambda row: stories.rotate(row, service.vault))


@delete("/{row_id:uuid}/next-secret", operation_id="delete_next_chat_widget_secret", guards=[administrator])
async def call_off(db: Db, service: Here, identity: Asker, row_id: RowId) -> None:
    """Only the current secret proves identities; there is no rotation any more."""
    await _changed(db, identity, row_id, "nextSecret", lambda row: stories.call_off(row, service.vault))


async def _changed(
    db: AsyncSession, identity: Identity, row_id: Any, what: str, turn: Callable[[ChatWidget], None]
) -> ChatWidgetView:
    row = await widgets.find(db, identity, row_id, to_change=True)
    before = widgets.shown(row)
    turn(row)
    view: ChatWidgetView = await widgets.settle(db, identity, row, before, [what])
    return view


@post("/{row_id:uuid}/revocation", operation_id="revoke_visitor_session", guards=[writer])
async def revoke(db: Db, identity: Asker, row_id: RowId) -> VisitorSessionView:
    """The session's token is good for nothing any more, and its sockets close within a second."""
    row = await sessions.find(db, identity, row_id, to_change=True)
    await people.revoke(db, row)
    view: VisitorSessionView = sessions.shown(row)
    return view


routes = [
    widgets.router(remove, put_secret, announce, rotate, call_off),
    visitors.router(),
    sessions.router(revoke),
]
