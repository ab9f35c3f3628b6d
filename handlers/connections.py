"""Connections to providers: their secrets go in and never come out."""

from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import JSONBody

from comms import connections
from comms.database import afterwards
from handlers import shapes
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import administrator
from handlers.listing import Page
from handlers.resource import crud, listed
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


@listed(keys)
async def index(request: Request, db: Db, service: Here, asked: Any) -> Page[WorkspaceApiKeyView]:
    """The workspace's connections, without their secrets."""
    page = await keys.listing.page(db, request, asked)
    url = service.settings.server.public_url
    return Page([connections.with_addresses(view, url) for view in page.items], page.next_cursor)


@get("/{row_id:uuid}", operation_id="get_workspace_api_key", guards=[administrator])
async def read(db: Db, identity: Asker, service: Here, row_id: RowId) -> WorkspaceApiKeyView:
    """A connection, with the addresses to give its provider."""
    view = keys.shown(await keys.find(db, identity, row_id))
    return connections.with_addresses(view, service.settings.server.public_url)


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
    view = await keys.tell(db, identity, "created", row)
    afterwards(db, service.directory.stale)
    return connections.with_addresses(view, service.settings.server.public_url)


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
    view = await keys.settle(db, identity, row, before)
    afterwards(db, service.directory.stale)
    return connections.with_addresses(view, service.settings.server.public_url)


@delete("/{row_id:uuid}", operation_id="delete_workspace_api_key", guards=[administrator])
async def remove(db: Db, service: Here, identity: Asker, row_id: RowId) -> None:
    """Disconnect: webhooks to this address are refused from now on."""
    await keys.remove(db, identity, row_id)
    afterwards(db, service.directory.stale)


routes = Router("/", tags=["core"], route_handlers=[keys.router(index, read, create, change, remove)])
