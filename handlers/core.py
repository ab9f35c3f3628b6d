"""The workspace and the people in it."""

from typing import Any

from litestar import Router
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Invalid
from handlers.guards import administrator
from handlers.resource import READ, crud
from models.core import User, UserView, Workspace, WorkspaceMember, WorkspaceMemberView, WorkspaceView

MOST_SECONDS = 315_360_000  # ten years, as the table's CHECK has it


async def change_workspace(db: AsyncSession, identity: Identity, row: Workspace, values: dict[str, Any]) -> None:
    """The workspace has these values; how long conversations reopen is a number of seconds."""
    within = values.get("settings", {}).get("reopenWithin")
    is_number = isinstance(within, int | float) and not isinstance(within, bool)
    if "reopenWithin" in values.get("settings", {}) and not (is_number and 0 <= within <= MOST_SECONDS):
        raise Invalid({"settings.reopenWithin": f"must be a number of seconds from 0 to {MOST_SECONDS}"})
    for name, value in values.items():
        setattr(row, name, value)


workspaces = crud(
    "/workspaces",
    Workspace,
    WorkspaceView,
    verbs=("list", "get", "change"),
    who_writes=administrator,
    change=change_workspace,
)
users = crud("/users", User, UserView, search=("email", "first_name", "last_name"), filters=("email",), verbs=READ)
members = crud(
    "/workspace-members",
    WorkspaceMember,
    WorkspaceMemberView,
    filters=("user_id", "role", "is_active"),
    verbs=READ,
)

routes = Router("/", tags=["core"], route_handlers=[workspaces.router(), users.router(), members.router()])
