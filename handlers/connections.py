"""Connections to providers: their secrets go in and never come out."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import object_session

from comms import checks, connections
from comms.credentials import Identity
from comms.database import afterwards
from comms.events import Actor
from comms.service import Service
from handlers import shapes
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import administrator
from handlers.listing import Page
from handlers.resource import crud, listed
from models.base import now
from models.core import Provider, WorkspaceApiKey, WorkspaceApiKeyView

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewWorkspaceApiKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A provider's account: ``secret`` holds its credentials, such as ``{"accountSid": …, "authToken": …}``."""

    provider: Provider
    name: Name
    secret: dict[str, Any]
    is_active: bool = True


class WorkspaceApiKeyChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What may change. ``secret`` replaces all credentials; during a rotation it holds the next one too."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    is_active: bool | msgspec.UnsetType = msgspec.UNSET
    secret: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class NextSecret(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The secret that is to come."""

    secret: dict[str, Any]


class CheckView(msgspec.Struct, rename="camel"):
    """What the provider said."""

    ok: Annotated[bool, msgspec.Meta(description="Whether the provider accepted it.", examples=[True])]
    detail: str


keys = crud(
    "/workspace-api-keys",
    WorkspaceApiKey,
    WorkspaceApiKeyView,
    search=("name",),
    filters=("provider", "is_active"),
    verbs=(),
    who_reads=administrator,
    who_writes=administrator,
)
keys.new, keys.edit = NewWorkspaceApiKey, WorkspaceApiKeyChange


def shown(row: WorkspaceApiKey) -> WorkspaceApiKeyView:
    """The connection with the addresses to give its provider, in its events as in its GET."""
    view = msgspec.convert(row, WorkspaceApiKeyView, from_attributes=True)
    session = object_session(row)
    assert session is not None
    return connections.with_addresses(view, session.info["public_url"])


keys.shown = shown  # type: ignore[method-assign]  # as the other parts of a resource are


@listed(keys)
async def index(request: Request, db: Db, service: Here, asked: Any) -> Page[WorkspaceApiKeyView]:
    """The workspace's connections, without their secrets."""
    page = await keys.listing.page(db, request, asked)
    url = service.settings.server.public_url
    return Page([connections.with_addresses(view, url) for view in page.items], page.next_cursor)


@get("/{row_id:uuid}", operation_id="get_workspace_api_key", guards=[administrator])
async def read(db: Db, identity: Asker, row_id: RowId) -> WorkspaceApiKeyView:
    """A connection, with the addresses to give its provider."""
    view: WorkspaceApiKeyView = keys.shown(await keys.find(db, identity, row_id))
    return view


# The directory of webhooks reads a write again once it is committed.


@post("/", operation_id="create_workspace_api_key", guards=[administrator])
async def create(db: Db, service: Here, identity: Asker, data: JSONBody[NewWorkspaceApiKey]) -> WorkspaceApiKeyView:
    """Connect an account of a provider."""
    row = await connections.connect(
        db,
        service.vault,
        workspace_id=identity.workspace_id,
        provider=data.provider,
        name=data.name,
        secret=data.secret,
        created_by=identity.user_id,
    )
    row.is_active = data.is_active
    view: WorkspaceApiKeyView = await keys.tell(db, identity, "created", row)
    afterwards(db, service.directory.stale)
    return view


@patch("/{row_id:uuid}", operation_id="change_workspace_api_key", guards=[administrator])
async def change(
    db: Db, service: Here, identity: Asker, row_id: RowId, data: JSONBody[WorkspaceApiKeyChange]
) -> WorkspaceApiKeyView:
    """Rename a connection, switch it off or on, or replace its secret."""
    values = shapes.given(data)
    secret = values.pop("secret", None)
    row = await keys.find(db, identity, row_id, to_change=True)
    before = keys.shown(row)
    for name, value in values.items():
        setattr(row, name, value)
    if secret is not None:
        connections.seal(row, service.vault, secret)
    unshown = () if secret is None else ("secret",)
    view: WorkspaceApiKeyView = await keys.settle(db, identity, row, before, unshown)
    afterwards(db, service.directory.stale)
    return view


@delete("/{row_id:uuid}", operation_id="delete_workspace_api_key", guards=[administrator])
async def remove(db: Db, service: Here, identity: Asker, row_id: RowId) -> None:
    """Disconnect: webhooks to this address are refused from now on."""
    await keys.remove(db, identity, row_id)
    afterwards(db, service.directory.stale)


@put(
    "/{row_id:uuid}/next-secret",
    operation_id="put_next_secret",
    guards=[administrator],
    example={"secret": {"authToken": "the secondary auth token of the account"}},
)
async def announce(
    db: Db, service: Here, identity: Asker, row_id: RowId, data: JSONBody[NextSecret]
) -> WorkspaceApiKeyView:
    """Accept webhooks proved by a further secret, such as Twilio's secondary auth token, until the rotation.

    `secret` has the names of the current one: `authToken`, `signingKey`, or `eventPublicKey` and `parsePublicKey`.
    """
    return await _changed(
        db, service, identity, row_id, "nextSecret", lambda row: connections.announce(row, service.vault, data.secret)
    )


@post("/{row_id:uuid}/rotation", operation_id="rotate_secret", guards=[administrator])
async def rotate(db: Db, service: Here, identity: Asker, row_id: RowId) -> WorkspaceApiKeyView:
    """The next secret is the current one; the one before proves nothing any more. 409 when there is no next one."""
    return await _changed(db, service, identity, row_id, "secret", lambda row: connections.rotate(row, service.vault))


@delete("/{row_id:uuid}/next-secret", operation_id="delete_next_secret", guards=[administrator])
async def call_off(db: Db, service: Here, identity: Asker, row_id: RowId) -> None:
    """Only the current secret proves webhooks; there is no rotation any more."""
    await _changed(db, service, identity, row_id, "nextSecret", lambda row: connections.call_off(row, service.vault))


@post("/{row_id:uuid}/check", operation_id="check_workspace_api_key", status_code=200, guards=[administrator])
async def check(service: Here, identity: Asker, row_id: RowId) -> CheckView:
    """Ask the provider whether it accepts these credentials; waits 5 seconds at most, and remembers the answer."""
    actor = Actor("user", identity.user_id)
    async with service.database.workspace(identity.workspace_id, actor) as db:
        asked = await keys.find(db, identity, row_id)
        credentials = connections.opened(asked, service.vault)
    found = await checks.ask(
        service.settings.providers, service.mail_servers, asked.provider, credentials, identity.workspace_id
    )
    async with service.database.workspace(identity.workspace_id, actor) as db:
        db.info["public_url"] = service.settings.server.public_url
        row = await keys.find(db, identity, row_id, to_change=True)
        if row.iv == asked.iv:  # else the answer is about a secret that is gone
            row.checked_at, row.check_passed, row.check_detail = now(), found.ok, found.detail
            await keys.tell(db, identity, "checked", row)
    return CheckView(found.ok, found.detail)


async def _changed(
    db: AsyncSession,
    service: Service,
    identity: Identity,
    row_id: uuid.UUID,
    what: str,
    turn: Callable[[WorkspaceApiKey], None],
) -> WorkspaceApiKeyView:
    row = await keys.find(db, identity, row_id, to_change=True)
    before = keys.shown(row)
    turn(row)
    view: WorkspaceApiKeyView = await keys.settle(db, identity, row, before, [what])
    afterwards(db, service.directory.stale)
    return view


routes = Router(
    "/",
    tags=["core"],
    route_handlers=[keys.router(index, read, create, change, remove, announce, rotate, call_off, check)],
)
