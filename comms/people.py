"""A person's own profile, and how they sign in. Users belong to no workspace, so this is written across them."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, sessions
from comms.clerk import Clerk, organization_of
from comms.database import Database
from comms.errors import Conflict, Forbidden, Invalid, Unauthenticated
from comms.events import Actor
from comms.identity import Identity
from comms.passwords import Passwords
from comms.permissions import allows
from comms.sessions import From
from models.access import UserPassword
from models.base import now
from models.core import User, UserView, WorkspaceMember


def known_to(identity: Identity) -> ColumnElement[bool]:
    """The people of the workspace, for whoever may read its members; for others they themselves alone."""
    if allows(identity.role, identity.permissions, "members", "read"):
        return true()
    return User.id == identity.user_id


async def change(database: Database, identity: Identity, values: Mapping[str, Any]) -> User:
    """The person who asks has these names and preferences, in every workspace they are a member of."""
    async with database.everywhere(Actor("user", identity.user_id)) as db:
        user = await db.get_one(User, identity.user_id, with_for_update={"key_share": True})
        wanted = dict(values)
        if "preferences" in wanted:
            wanted["preferences"] = {**user.preferences, **wanted["preferences"]}
        if wanted != {name: getattr(user, name) for name in wanted}:
            before = _shown(user)
            unshown = [name for name in ("preferences",) if wanted.get(name, user.preferences) != user.preferences]
            for name, value in wanted.items():
                setattr(user, name, value)
            await db.flush()
            await _tell(db, user, before, unshown=unshown)
        return user


async def _tell(
    db: AsyncSession, user: User, before: UserView, event: str = "user.updated", *, unshown: Sequence[str] = ()
) -> None:
    """Whoever sees this person knows that they have changed, but not how where it is nobody else's affair."""
    view = _shown(user)
    places = await db.scalars(
        select(WorkspaceMember.workspace_id).where(WorkspaceMember.user_id == user.id, WorkspaceMember.is_active)
    )
    for workspace_id in places:
        events.record(db, event, user, view, before=before, unshown=unshown, workspace_id=workspace_id)


def _shown(user: User) -> UserView:
    return msgspec.convert(user, UserView, from_attributes=True)


async def change_password(
    database: Database, passwords: Passwords, identity: Identity, old: str | None, new: str, origin: From
) -> None:
    """The person signs in with another password from now on; all their sessions but this one have ended.

    Who had none has nothing to prove. But an access token is of one workspace, and a password opens all of a person's:
    where there are others, the first one takes a session or Clerk.
    """
    async with database.everywhere() as db:
        email = await db.scalar(select(User.email).where(User.id == identity.user_id))
        kept = await db.scalar(select(UserPassword.hash).where(UserPassword.user_id == identity.user_id))
        places = await _places(db, identity)
    assert email is not None
    if kept is None and identity.token_id is not None and places != 1:
        raise Forbidden("An access token of one workspace sets no first password for several: sign in for that.")
    if kept is not None:
        await _prove_own(database, passwords, email, old, origin)
    hashed = await passwords.hash(new)
    async with database.everywhere(Actor("user", identity.user_id)) as db:
        await _keep(db, identity.user_id, kept, hashed)
        user = await db.get_one(User, identity.user_id)
        await _tell(db, user, _shown(user), "user.password_changed", unshown=["password"])
        for member in await db.scalars(select(WorkspaceMember).where(WorkspaceMember.user_id == identity.user_id)):
            await sessions.end_all(db, member, but=identity.session_id)


async def link_clerk(database: Database, clerk: Clerk | None, identity: Identity, token: str) -> User:
    """Whoever Clerk says this token is of, is the person who asks: from now on they come in by Clerk, too."""
    claims = await _claims(clerk, token)
    async with database.everywhere(Actor("user", identity.user_id)) as db:
        if identity.token_id is not None and await _places(db, identity) != 1:
            raise Forbidden("An access token of one workspace opens no others: sign in for that.")
        user = await db.get_one(User, identity.user_id, with_for_update={"key_share": True})
        if user.clerk_user_id != claims["sub"]:
            before = _shown(user)
            user.clerk_user_id = claims["sub"]
            await db.flush()
            await _tell(db, user, before)
        return user


async def organization_in(clerk: Clerk | None, token: str) -> str:
    """The organization that a Clerk token is of."""
    organization = organization_of(await _claims(clerk, token))
    if organization is None:
        raise Invalid({"token": "is of no organization: choose one in Clerk first"})
    return organization


async def _claims(clerk: Clerk | None, token: str) -> Mapping[str, Any]:
    if clerk is None:
        raise Conflict("Clerk is not configured here: set COMMS_CLERK_ISSUER.")
    try:
        return await clerk.proven(token)
    except Unauthenticated:
        raise Invalid({"token": "is no valid session token of our Clerk"}) from None


async def _places(db: AsyncSession, identity: Identity) -> int:
    return await db.scalar(select(func.count()).where(WorkspaceMember.user_id == identity.user_id)) or 0


async def _prove_own(database: Database, passwords: Passwords, email: str, old: str | None, origin: From) -> None:
    if old is None:
        raise Invalid({"oldPassword": "is required"})
    try:
        await sessions.prove(database, passwords, email, old, origin)
    except Unauthenticated:
        raise Invalid({"oldPassword": "is wrong"}) from None


async def _keep(db: AsyncSession, user_id: uuid.UUID, before: str | None, hashed: str) -> None:
    """The new password is kept, unless the one that was proved has been replaced meanwhile."""
    at = now()
    replaced = await db.scalar(
        insert(UserPassword)
        .values(user_id=user_id, hash=hashed, created_at=at, updated_at=at)
        .on_conflict_do_update(
            index_elements=["user_id"],
            set_={"hash": hashed, "updated_at": at},
            where=UserPassword.hash == before,
        )
        .returning(UserPassword.user_id)
    )
    if replaced is None:
        raise Invalid({"oldPassword": "was changed a moment ago: try again with the new one"})
