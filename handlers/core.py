"""The workspace: its settings, its keys to AI providers, and the people in it."""

from typing import Annotated, Any

import msgspec
from litestar import Router, delete, put
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import ai_keys, people
from comms import workspaces as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import administrator
from handlers.resource import READ, crud
from models.core import AiProvider, User, UserView, Workspace, WorkspaceView


class NewAiKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A key to an AI provider, as its dashboard shows it."""

    key: Annotated[str, msgspec.Meta(min_length=8, max_length=1_000, pattern=r"^[!-~]+$")]


class ClerkOrganization(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A session token of Clerk's, of somebody who is active in the organization: it proves which one is meant."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8_000)]


async def change_workspace(db: AsyncSession, identity: Identity, row: Workspace, values: dict[str, Any]) -> None:
    """The workspace has this name, and those settings that are named."""
    row.name = values.get("name", row.name)
    stories.settle(row, values.get("settings", {}))


workspaces = crud(
    "/workspaces",
    Workspace,
    WorkspaceView,
    verbs=("list", "get", "change"),
    who_writes=administrator,
    change=change_workspace,
)
users = crud(
    "/users",
    User,
    UserView,
    search=("email", "first_name", "last_name"),
    filters=("email",),
    verbs=READ,
    whose=people.known_to,
)


@put("/{row_id:uuid}/api-keys/{provider:str}", operation_id="put_workspace_ai_key", guards=[administrator])
async def put_key(
    db: Db, service: Here, identity: Asker, row_id: RowId, provider: FromPath[AiProvider], data: JSONBody[NewAiKey]
) -> WorkspaceView:
    """The workspace's agents use this key of yours. It is kept encrypted, and shown as its last four characters."""
    row = await workspaces.find(db, identity, row_id, to_change=True)
    before = workspaces.shown(row)
    ai_keys.seal(row, service.vault, provider, data.key)
    view: WorkspaceView = await workspaces.settle(db, identity, row, before, ["encryptedApiKeys"])
    return view


@delete("/{row_id:uuid}/api-keys/{provider:str}", operation_id="delete_workspace_ai_key", guards=[administrator])
async def remove_key(db: Db, identity: Asker, row_id: RowId, provider: FromPath[AiProvider]) -> None:
    """The workspace has no key to this provider any more."""
    row = await workspaces.find(db, identity, row_id, to_change=True)
    before = workspaces.shown(row)
    ai_keys.forget(row, provider)
    await workspaces.settle(db, identity, row, before)


@put("/{row_id:uuid}/clerk-organization", operation_id="put_clerk_organization", guards=[administrator])
async def put_organization(
    db: Db, service: Here, identity: Asker, row_id: RowId, data: JSONBody[ClerkOrganization]
) -> WorkspaceView:
    """Whoever is active in the organization that `token` is of comes in by Clerk, if they are a member here."""
    organization = await people.organization_in(service.clerk, data.token)
    row = await workspaces.find(db, identity, row_id, to_change=True)
    before = workspaces.shown(row)
    row.clerk_organization_id = organization
    view: WorkspaceView = await workspaces.settle(db, identity, row, before)
    return view


routes = Router(
    "/", tags=["core"], route_handlers=[workspaces.router(put_key, remove_key, put_organization), users.router()]
)
