"""The people of a workspace: what each may do, who leaves, and that there is always an owner."""

import uuid
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, sessions
from comms.calls import offers
from comms.errors import Conflict, Forbidden, Invalid
from comms.identity import Identity, Member
from comms.ownership import ByMember, leaving
from comms.permissions import WRITERS, Standing, refuse_more_than_own, standing_of
from models.base import now
from models.core import AccessToken, AccessTokenView, Workspace, WorkspaceMember


async def in_turn(db: AsyncSession, identity: Identity) -> Standing:
    """Nobody else changes who may do what here until we are done; returns what who asks is by now.

    The workspace's row is the lock: two owners who demote each other at once come one after the other, and the second
    is an owner no more.
    """
    await db.execute(select(Workspace.id).where(Workspace.id == identity.workspace_id).with_for_update(key_share=True))
    own = (
        await db.execute(
            select(WorkspaceMember.role, WorkspaceMember.permissions).where(
                WorkspaceMember.user_id == identity.user_id, WorkspaceMember.is_active
            )
        )
    ).one_or_none()
    if own is None:
        raise Forbidden("You are no member of this workspace any more.")
    return Standing(own.role, own.permissions)


async def of(db: AsyncSession, identity: Identity) -> WorkspaceMember:
    """The membership of who asks, held until the commit."""
    query = select(WorkspaceMember).where(WorkspaceMember.user_id == identity.user_id)
    member: WorkspaceMember = (await db.scalars(query.with_for_update(key_share=True))).one()
    return member


async def expect_not_above(db: AsyncSession, identity: Identity, user_id: uuid.UUID) -> None:
    """Who asks may change what is the user's; raises ``Forbidden`` when they stand above them."""
    if user_id == identity.user_id:
        return
    theirs = await db.scalar(select(WorkspaceMember).where(WorkspaceMember.user_id == user_id))
    if theirs is not None:
        own = Standing(identity.role, identity.permissions)
        refuse_more_than_own(own, standing_of(theirs), standing_of(theirs))


async def change(db: AsyncSession, own: Standing, member: WorkspaceMember, values: dict[str, Any]) -> None:
    """The member has this role, these permissions and this phone. ``own`` is what ``in_turn`` has returned.

    Who may only read from now on has no conversation any more.
    """
    before = standing_of(member)
    after = Standing(values.get("role", before.role), values.get("permissions", before.permissions))
    refuse_more_than_own(own, before, after)
    if before.role == "owner" and after.role != "owner" and member.is_active:
        await _refuse_without_owner(db, member)
    member.role, member.permissions = after.role, dict(after.permissions)
    if "phone" in values:
        await give_phone(db, member, values["phone"])
    if before.role in WRITERS and after.role not in WRITERS:
        await leaving.leave(db, member.workspace_id, ByMember(member.user_id))


async def give_phone(db: AsyncSession, member: WorkspaceMember, phone: str | None) -> None:
    """Calls for the member ring there; ``Invalid`` for a number of the workspace itself."""
    if phone is not None and await offers.ours_among(db, [phone]):
        raise Invalid({"phone": "is a number of this workspace itself"})
    member.phone = phone


async def deactivate(db: AsyncSession, own: Standing, member: WorkspaceMember) -> bool:
    """The member can do nothing here any more: no token, no session, no socket, no conversation. Whether it is news."""
    if not member.is_active:
        return False
    refuse_more_than_own(own, standing_of(member), standing_of(member))
    if member.role == "owner":
        await _refuse_without_owner(db, member)
    member.is_active = False
    await leaving.leave(db, member.workspace_id, ByMember(member.user_id))
    await sessions.end_all(db, member)
    await _revoke_tokens(db, member)
    return True


def reactivate(own: Standing, member: WorkspaceMember) -> bool:
    """The member is one again, with the role they had; their tokens stay revoked. Whether that is news."""
    if member.is_active:
        return False
    refuse_more_than_own(own, None, standing_of(member))
    member.is_active = True
    return True


async def _refuse_without_owner(db: AsyncSession, member: WorkspaceMember) -> None:
    others = await db.scalar(
        select(func.count()).where(
            WorkspaceMember.workspace_id == member.workspace_id,
            WorkspaceMember.role == "owner",
            WorkspaceMember.is_active,
            WorkspaceMember.id != member.id,
        )
    )
    if not others:
        raise Conflict("This is the last active owner: make somebody else an owner first.")


async def _revoke_tokens(db: AsyncSession, member: Member) -> None:
    revoked = await db.scalars(
        update(AccessToken)
        .where(
            AccessToken.workspace_id == member.workspace_id,
            AccessToken.user_id == member.user_id,
            AccessToken.revoked_at.is_(None),
        )
        .values(revoked_at=now(), updated_at=now())
        .returning(AccessToken)
        .execution_options(synchronize_session=False)
    )
    for row in revoked:
        view = msgspec.convert(row, AccessTokenView, from_attributes=True)
        before = msgspec.structs.replace(view, revoked_at=None)
        events.record(db, "access_token.revoked", row, view, before=before)
