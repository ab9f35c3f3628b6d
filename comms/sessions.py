"""Sessions: a person proves their password, and is a member of one workspace from then on, until they stop coming."""

import secrets
import uuid
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, limits
from comms.database import Database
from comms.errors import Conflict, Forbidden, Unauthenticated
from comms.events import Actor
from comms.identity import Identity, Member, hash_of, mark_used
from comms.passwords import Passwords
from models.access import Session, SessionView, UserPassword
from models.base import new_id, now
from models.core import User, Workspace, WorkspaceMember
from models.types import spelt

PREFIX = "cs_"
IDLE_LIFE = timedelta(days=14)
LONGEST_LIFE = timedelta(days=90)
_TOUCH_EVERY = timedelta(minutes=1)
_MOST_TEXT = 400

WRONG = "The e-mail address or the password is wrong."


class SeveralWorkspaces(Conflict):
    """You are a member of several workspaces: name one of them in `workspace`."""

    def __init__(self, slugs: Sequence[str]) -> None:
        super().__init__(f"You are a member of several workspaces: name one of {', '.join(slugs)} in `workspace`.")
        self.named = tuple(("workspace", slug) for slug in slugs)


class From(msgspec.Struct, frozen=True):
    """Where somebody signs in from."""

    address: str | None = None
    user_agent: str | None = None


class SignedIn(msgspec.Struct, frozen=True):
    """A session that has just begun, and this once its token."""

    session: Session
    token: str
    workspace: Workspace


async def sign_in(
    database: Database, passwords: Passwords, email: str, password: str, workspace: str | None, origin: From
) -> SignedIn:
    """The person is signed in. Whether the address or the password was wrong is not to be told, nor to be timed."""
    proof = await prove(database, passwords, email, password, origin)
    async with database.everywhere(Actor("user", proof.user_id)) as db:
        await _still_holds(db, proof)
        member, place = await _membership(db, proof.user_id, workspace)
        return await begin(db, member, place, origin)


class Proof(msgspec.Struct, frozen=True):
    """Somebody has proved the password of which ``kept`` was kept."""

    user_id: uuid.UUID
    kept: str


async def prove(database: Database, passwords: Passwords, email: str, password: str, origin: From) -> Proof:
    """Whose e-mail address and password these are; raises ``Unauthenticated``, or ``TooMany``."""
    await limits.admit(database, email=email, address=origin.address)
    async with database.everywhere() as db:
        found = (
            await db.execute(
                select(User.id, UserPassword.hash)
                .outerjoin(UserPassword, UserPassword.user_id == User.id)
                .where(func.lower(User.email) == spelt(email).lower())
            )
        ).one_or_none()
    kept: str | None = found.hash if found is not None else None
    if not await passwords.matches(kept, password) or found is None or kept is None:
        raise Unauthenticated(WRONG)
    await limits.forgive(database, email=email)
    if not passwords.is_outdated(kept):
        return Proof(found.id, kept)
    renewed = await passwords.hash(password)
    async with database.everywhere() as db:
        # Only the one that was proved: it may have been changed meanwhile.
        same = (UserPassword.user_id == found.id) & (UserPassword.hash == kept)
        await db.execute(update(UserPassword).where(same).values(hash=renewed))
    return Proof(found.id, renewed)


async def _still_holds(db: AsyncSession, proof: Proof) -> None:
    """Who changes their password at this moment wants no session by the old one: theirs, or this one, comes first."""
    query = select(UserPassword.hash).where(UserPassword.user_id == proof.user_id).with_for_update(read=True)
    if await db.scalar(query) != proof.kept:
        raise Unauthenticated(WRONG)


async def _membership(db: AsyncSession, user_id: uuid.UUID, slug: str | None) -> tuple[WorkspaceMember, Workspace]:
    """The membership that is meant: the named one, or the only one."""
    query = (
        select(WorkspaceMember, Workspace)
        .join(Workspace, Workspace.id == WorkspaceMember.workspace_id)
        .where(WorkspaceMember.user_id == user_id, WorkspaceMember.is_active, Workspace.is_active)
        .order_by(Workspace.slug)
        # Who is being deactivated at this moment gets no session that would outlive it.
        .with_for_update(read=True, of=WorkspaceMember)
    )
    found = (await db.execute(query if slug is None else query.where(Workspace.slug == slug))).all()
    if not found:
        raise Forbidden("You are a member of no workspace." if slug is None else "You are no member of this workspace.")
    if len(found) > 1:
        raise SeveralWorkspaces([workspace.slug for _, workspace in found])
    member, workspace = found[0]
    return member, workspace


async def begin(db: AsyncSession, member: WorkspaceMember, workspace: Workspace, origin: From) -> SignedIn:
    """The member has a session; those of theirs that have ended are swept. Across workspaces: ``everywhere()``."""
    at, plain = now(), PREFIX + secrets.token_urlsafe(32)
    await db.execute(
        delete(Session).where(
            Session.workspace_id == member.workspace_id, Session.user_id == member.user_id, Session.expires_at < at
        )
    )
    row = Session(
        workspace_id=member.workspace_id,
        id=new_id(),
        user_id=member.user_id,
        token_hash=hash_of(plain),
        user_agent=_storable(origin.user_agent),
        address=_storable(origin.address),
        last_used_at=at,
        expires_at=at + IDLE_LIFE,
    )
    db.add(row)
    # Signing in is no change of the person: ``updatedAt`` stays.
    await db.execute(
        update(User)
        .where(User.id == member.user_id)
        .values(last_login_at=at, updated_at=User.updated_at)
        .execution_options(synchronize_session=False)
    )
    await db.flush()
    events.record(db, "session.created", row, shown(row))
    return SignedIn(row, plain, workspace)


_WHOSE = (
    select(
        Session.workspace_id,
        Session.user_id,
        Session.id,
        Session.created_at,
        Session.last_used_at,
        WorkspaceMember.role,
        WorkspaceMember.permissions,
    )
    .join(
        WorkspaceMember,
        (WorkspaceMember.workspace_id == Session.workspace_id) & (WorkspaceMember.user_id == Session.user_id),
    )
    .join(Workspace, Workspace.id == Session.workspace_id)
    .where(
        Session.token_hash == bindparam("token_hash"),
        Session.expires_at > bindparam("at"),
        WorkspaceMember.is_active,
        Workspace.is_active,
    )
)


async def identify(database: Database, token: str) -> Identity:
    """Whose session this is; ``Unauthenticated`` unless it, the member and the workspace are all active."""
    at = now()
    row = await database.look_up(_WHOSE, {"token_hash": hash_of(token), "at": at})
    if row is None:
        raise Unauthenticated
    if row.last_used_at < at - _TOUCH_EVERY:
        expires_at = min(at + IDLE_LIFE, row.created_at + LONGEST_LIFE)
        async with database.everywhere() as db:
            await mark_used(db, Session, row.workspace_id, row.id, at, expires_at=expires_at)
    return Identity(row.workspace_id, row.user_id, row.role, row.permissions, session_id=row.id)


async def end_all(db: AsyncSession, member: Member, *, but: uuid.UUID | None = None) -> None:
    """The member has no session in this workspace any more, except the one they keep; each that ends is told."""
    ended = await db.scalars(
        delete(Session)
        .where(
            Session.workspace_id == member.workspace_id,
            Session.user_id == member.user_id,
            Session.id.is_distinct_from(but),
        )
        .returning(Session)
        .execution_options(synchronize_session=False)
    )
    for row in ended:
        events.record(db, "session.deleted", row, shown(row))


def shown(row: Session) -> SessionView:
    """The session as its member sees it."""
    return msgspec.convert(row, SessionView, from_attributes=True)


def _storable(text: str | None) -> str | None:
    """What a client says of itself, as far as PostgreSQL can keep it."""
    return None if text is None else text.replace("\x00", "")[:_MOST_TEXT]
