"""The people of a workspace: invited, given a role and permissions, deactivated."""

from typing import Annotated, Any

import msgspec
from litestar import Router, delete, patch, post
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import invitations
from comms import members as stories
from comms.credentials import Identity
from comms.errors import Conflict
from comms.permissions import Standing
from handlers import shapes
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import person, reads, writes
from handlers.resource import READ, crud
from models.access import WorkspaceInvitation, WorkspaceInvitationView
from models.core import Area, Level, Role, WorkspaceMember, WorkspaceMemberView
from models.types import Email, Phone

Permissions = dict[Area, Level]


class NewWorkspaceMember(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Somebody to be invited."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=320, extra={"law": Email().normalise})]
    role: Role = "member"
    permissions: Permissions = {}


class WorkspaceMemberChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What may change; ``permissions`` replaces all that were granted or taken away."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    permissions: Permissions | msgspec.UnsetType = msgspec.UNSET
    phone: Annotated[str, msgspec.Meta(max_length=40, extra={"law": Phone().normalise})] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )


class IssuedInvitation(WorkspaceInvitationView, kw_only=True):
    """An invitation, and this once its link: give it to nobody else."""

    link: str


members = crud(
    "/workspace-members",
    WorkspaceMember,
    WorkspaceMemberView,
    filters=("user_id", "role", "is_active"),
    verbs=READ,
    who_reads=reads("members"),
    who_writes=writes("members"),
)
members.edit = WorkspaceMemberChange
invited = crud(
    "/workspace-invitations",
    WorkspaceInvitation,
    WorkspaceInvitationView,
    search=("email",),
    filters=("email", "role", "invited_by"),
    verbs=READ,
    who_reads=writes("members"),
    who_writes=writes("members"),
)


@post("/", operation_id="invite_workspace_member", guards=[writes("members")])
async def invite(db: Db, service: Here, identity: Asker, data: JSONBody[NewWorkspaceMember]) -> IssuedInvitation:
    """Invite somebody by e-mail. The link is in this answer, and mailed to them when SMTP is configured.

    It is good for 7 days, once; inviting the same address again revokes the link before. Nobody can give a role or a
    permission that they have not themselves.
    """
    own = await stories.in_turn(db, identity)
    wanted = Standing(data.role, {str(area): level for area, level in data.permissions.items()})
    row, plain = await invitations.invite(db, identity, own, data.email, wanted)
    if service.settings.smtp is not None:
        await invitations.have_mailed(db, service.vault, row, plain)
    view = await invited.tell(db, identity, "created", row)
    return IssuedInvitation(**msgspec.structs.asdict(view), link=invitations.link(service.settings, plain))


@delete("/{row_id:uuid}", operation_id="revoke_workspace_invitation", guards=[writes("members")])
async def revoke(db: Db, identity: Asker, row_id: RowId) -> None:
    """The link lets nobody in any more; the row stays, with the time. 409 once it was accepted."""
    row = await invited.find(db, identity, row_id, to_change=True)
    if row.accepted_at is not None:
        raise Conflict("This invitation was accepted: deactivate the member instead.")
    if row.revoked_at is None:
        invitations.revoke(db, row)


@patch("/{row_id:uuid}", operation_id="change_workspace_member", guards=[writes("members")])
async def change(db: Db, identity: Asker, row_id: RowId, data: JSONBody[WorkspaceMemberChange]) -> WorkspaceMemberView:
    """Give a member another role, permissions or phone; only an owner makes owners, and one is always left."""
    own = await stories.in_turn(db, identity)
    row = await members.find(db, identity, row_id, to_change=True)
    before = members.shown(row)
    await stories.change(db, own, row, shapes.given(data))
    view: WorkspaceMemberView = await members.settle(db, identity, row, before)
    return view


@post("/{row_id:uuid}/deactivation", operation_id="deactivate_workspace_member", guards=[writes("members")])
async def deactivate(db: Db, identity: Asker, row_id: RowId) -> WorkspaceMemberView:
    """The member is out: their tokens, sessions and sockets end, what they did stays theirs.

    Their conversations wait for somebody else, as they do when a member may only read from now on.
    """
    own = await stories.in_turn(db, identity)
    row = await members.find(db, identity, row_id, to_change=True)
    return await _deactivated(db, identity, own, row)


@delete("/{row_id:uuid}", operation_id="remove_workspace_member", guards=[writes("members")])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The same as their deactivation: a membership is never deleted, others refer to it."""
    own = await stories.in_turn(db, identity)
    await _deactivated(db, identity, own, await members.find(db, identity, row_id, to_change=True))


@delete(
    "/{row_id:uuid}/deactivation",
    operation_id="reactivate_workspace_member",
    status_code=200,
    guards=[writes("members")],
)
async def reactivate(db: Db, identity: Asker, row_id: RowId) -> WorkspaceMemberView:
    """The member is one again, in the role they had. Tokens and sessions do not come back."""
    own = await stories.in_turn(db, identity)
    row = await members.find(db, identity, row_id, to_change=True)
    is_news = stories.reactivate(own, row)
    view: WorkspaceMemberView = await members.tell_if(is_news, db, identity, "reactivated", row)
    return view


@delete("/me/membership", operation_id="leave_workspace", guards=[person])
async def leave(db: Db, identity: Asker) -> None:
    """You are no member of this workspace any more. The last owner cannot leave."""
    own = await stories.in_turn(db, identity)
    await _deactivated(db, identity, own, await stories.of(db, identity))


async def _deactivated(db: AsyncSession, identity: Identity, own: Standing, row: Any) -> WorkspaceMemberView:
    is_news = await stories.deactivate(db, own, row)
    view: WorkspaceMemberView = await members.tell_if(is_news, db, identity, "deactivated", row)
    return view


routes = Router(
    "/",
    tags=["core"],
    route_handlers=[members.router(invite, change, deactivate, reactivate, remove), invited.router(revoke), leave],
)
