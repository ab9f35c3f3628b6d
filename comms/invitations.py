"""Becoming a member: an invitation by e-mail, whose link proves who may accept it, once."""

import secrets
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, jobs, sessions, workspaces
from comms.database import Database
from comms.errors import Conflict, Forbidden, Missing
from comms.events import Actor
from comms.identity import Identity, hash_of
from comms.mail import smtp
from comms.passwords import Passwords
from comms.permissions import Standing, refuse_more_than_own, standing_of
from comms.sessions import From, SignedIn
from comms.settings import Settings
from comms.vault import Sealed, Vault
from models.access import UserPassword, WorkspaceInvitation, WorkspaceInvitationView
from models.base import new_id, now
from models.core import User, Workspace, WorkspaceMember, WorkspaceMemberView
from models.types import spelt

MAIL = "invitations.mail"
LIFE = timedelta(days=7)
NOT_OPEN = "This invitation is not open: it is unknown, used, revoked or too old. Ask for a new one."


class Invited(msgspec.Struct, rename="camel", frozen=True):
    """What whoever has the link is told."""

    workspace_name: str
    email: str
    role: str
    expires_at: datetime


async def invite(
    db: AsyncSession, identity: Identity, own: Standing, email: str, wanted: Standing
) -> tuple[WorkspaceInvitation, str]:
    """Whoever has that address may become a member within a week; the link's token is returned here, once.

    An earlier invitation that is still open is revoked: only the newest link lets in.
    """
    refuse_more_than_own(own, None, wanted)
    member = await workspaces.find_member(db, identity.workspace_id, email)
    if member is not None and member.is_active:
        raise Conflict("Whoever has this address is a member already.", conflicting_id=member.id)
    for earlier in await _open_ones(db, identity.workspace_id, email):
        revoke(db, earlier)
    await db.flush()
    plain = secrets.token_urlsafe(32)
    row = WorkspaceInvitation(
        workspace_id=identity.workspace_id,
        id=new_id(),
        email=email,
        role=wanted.role,
        permissions=dict(wanted.permissions),
        token_hash=hash_of(plain),
        invited_by=identity.user_id,
        expires_at=now() + LIFE,
    )
    db.add(row)
    await db.flush()
    return row, plain


def revoke(db: AsyncSession, row: WorkspaceInvitation) -> None:
    """The link lets nobody in any more."""
    row.revoked_at = row.updated_at = now()
    events.record(db, "workspace_invitation.revoked", row, shown(row))


async def _open_ones(db: AsyncSession, workspace_id: uuid.UUID, email: str) -> list[WorkspaceInvitation]:
    found = await db.scalars(
        select(WorkspaceInvitation)
        .where(
            WorkspaceInvitation.workspace_id == workspace_id,
            func.lower(WorkspaceInvitation.email) == spelt(email).lower(),
            WorkspaceInvitation.accepted_at.is_(None),
            WorkspaceInvitation.revoked_at.is_(None),
        )
        .with_for_update(key_share=True)
    )
    return list(found)


def shown(row: WorkspaceInvitation) -> WorkspaceInvitationView:
    """The invitation without its link."""
    return msgspec.convert(row, WorkspaceInvitationView, from_attributes=True)


def link(settings: Settings, plain: str) -> str:
    """Where whoever is invited goes."""
    return f"{settings.server.public_url}/invitations/{plain}"


# The letter


async def have_mailed(db: AsyncSession, vault: Vault, row: WorkspaceInvitation, plain: str) -> None:
    """The link will be mailed, if the transaction commits; in the queue it is as secret as a provider's key."""
    sealed = vault.seal(plain.encode(), row.workspace_id, row.id)
    secret = {"keyId": sealed.key_id} | {
        name: b64encode(part).decode()
        for name, part in (("iv", sealed.iv), ("text", sealed.encrypted_key), ("tag", sealed.auth_tag))
    }
    payload = {"workspaceId": row.workspace_id, "invitationId": row.id, "secret": secret}
    await jobs.enqueue(db, MAIL, [payload])


async def mail(database: Database, vault: Vault, settings: Settings, payload: Mapping[str, Any]) -> None:
    """The letter has been sent, unless it had been, or the invitation is open no more."""
    workspace_id, row_id = jobs.uuids(payload, "workspaceId", "invitationId")
    if settings.smtp is None:
        return
    async with database.workspace(workspace_id) as db:
        row = await db.get(WorkspaceInvitation, (workspace_id, row_id))
        name = await db.scalar(select(Workspace.name))
    if row is None or row.mailed_at is not None or not _is_open(row):
        return
    secret = payload["secret"]
    iv, text, tag = (b64decode(secret[part]) for part in ("iv", "text", "tag"))
    plain = vault.open(Sealed(secret["keyId"], iv, text, tag), workspace_id, row_id).decode()
    letter = smtp.letter(
        settings.smtp.sender,
        row.email,
        f"You are invited to {name}",
        f"You are invited to join {name} as its {row.role}.\n\nOpen this link within a week:\n"
        f"{link(settings, plain)}\n\nIf you do not know what this is about, do nothing.\n",
    )
    await smtp.post(settings.smtp, letter, row.email)
    # Died right here, the letter comes twice, with the same link.
    async with database.workspace(workspace_id) as db:
        mailed = await db.scalar(
            update(WorkspaceInvitation)
            .where(WorkspaceInvitation.id == row_id, WorkspaceInvitation.mailed_at.is_(None))
            .values(mailed_at=now(), updated_at=now())
            .returning(WorkspaceInvitation)
            .execution_options(synchronize_session=False)
        )
        if mailed is not None:
            view = shown(mailed)
            before = msgspec.structs.replace(view, mailed_at=None)
            events.record(db, "workspace_invitation.mailed", mailed, view, before=before)


# Who comes


async def read(database: Database, plain: str) -> Invited:
    """What the link is for; raises ``Missing`` in the same words whatever is wrong with it."""
    async with database.everywhere() as db:
        row, workspace = await _opened(db, plain)
        return Invited(workspace.name, row.email, row.role, row.expires_at)


async def accept(
    database: Database,
    passwords: Passwords,
    plain: str,
    *,
    names: Mapping[str, str | None],
    password: str,
    asker: Identity | None,
    origin: From,
) -> SignedIn:
    """Whoever has the link is a member and signed in. The link works once, however often it is tried at once.

    Who is a user already proves it with their password, or as ``asker`` with a credential of theirs: the link alone
    would let who made it into somebody's other workspaces.
    """
    async with database.everywhere() as db:
        row, _ = await _opened(db, plain)
        known = await _user_of(db, row.email)
    kept = await _proven(database, passwords, row.email, known, password, asker, origin)
    async with database.everywhere() as db:
        row, workspace = await _opened(db, plain, to_change=True)
        user = await _user_of(db, row.email)
        if (user is None) != (known is None):
            raise Conflict("This person has just become a user: accept again with their password.")
        if user is None:
            user = await _new_user(db, row.email, names, kept)
        db.info["actor"] = Actor("user", user.id)
        member = await _enter(db, row, user.id)
        row.accepted_at = row.updated_at = now()
        events.record(db, "workspace_invitation.accepted", row, shown(row))
        return await sessions.begin(db, member, workspace, origin)


async def _opened(db: AsyncSession, plain: str, *, to_change: bool = False) -> tuple[WorkspaceInvitation, Workspace]:
    """The open invitation of that link; whoever made it must still be one who could."""
    found = await db.execute(
        select(WorkspaceInvitation.id, WorkspaceInvitation.workspace_id).where(
            WorkspaceInvitation.token_hash == hash_of(plain)
        )
    )
    key = found.one_or_none()
    if key is None:
        raise Missing(NOT_OPEN)
    # The workspace first, as everywhere: see ``members.in_turn``.
    lock = {"key_share": True} if to_change else None
    workspace = await db.get_one(Workspace, key.workspace_id, with_for_update=lock)
    row = await db.get_one(WorkspaceInvitation, (key.workspace_id, key.id), with_for_update=lock)
    if not workspace.is_active or not _is_open(row) or not await _is_still_wanted(db, row):
        raise Missing(NOT_OPEN)
    return row, workspace


async def _is_still_wanted(db: AsyncSession, row: WorkspaceInvitation) -> bool:
    """Who was demoted or has left lets nobody in, themselves by another address least of all."""
    if row.invited_by is None:
        return True
    inviter = await db.scalar(
        select(WorkspaceMember).where(
            WorkspaceMember.workspace_id == row.workspace_id,
            WorkspaceMember.user_id == row.invited_by,
            WorkspaceMember.is_active,
        )
    )
    if inviter is None:
        return False
    try:
        refuse_more_than_own(standing_of(inviter), None, standing_of(row))
    except Forbidden:
        return False
    return True


def _is_open(row: WorkspaceInvitation) -> bool:
    return row.accepted_at is None and row.revoked_at is None and row.expires_at > now()


async def _user_of(db: AsyncSession, email: str) -> User | None:
    user: User | None = await db.scalar(select(User).where(func.lower(User.email) == spelt(email).lower()))
    return user


async def _proven(
    database: Database,
    passwords: Passwords,
    email: str,
    known: User | None,
    password: str,
    asker: Identity | None,
    origin: From,
) -> str:
    """What to keep of a new user's password; of a known one's nothing, it has been proved."""
    if known is None:
        return await passwords.hash(password)
    if asker is None:
        await sessions.prove(database, passwords, email, password, origin)
    elif asker.user_id != known.id:
        raise Forbidden("This invitation is for somebody else than who you are signed in as.")
    return ""


async def _new_user(db: AsyncSession, email: str, names: Mapping[str, str | None], kept: str) -> User:
    user = User(email=email, **names)
    db.add(user)
    await db.flush()
    db.add(UserPassword(user_id=user.id, hash=kept))
    await db.flush()
    return user


async def _enter(db: AsyncSession, row: WorkspaceInvitation, user_id: uuid.UUID) -> WorkspaceMember:
    """The membership that was promised; who has become a member meanwhile keeps what they are."""
    at = now()
    promised = {
        "role": row.role,
        "permissions": row.permissions,
        "invited_by": row.invited_by,
        "joined_at": at,
        "is_active": True,
        "updated_at": at,
    }
    here = (WorkspaceMember.workspace_id == row.workspace_id, WorkspaceMember.user_id == user_id)
    was = await db.scalar(select(WorkspaceMember).where(*here).with_for_update(key_share=True))
    before = None if was is None else msgspec.convert(was, WorkspaceMemberView, from_attributes=True)
    entered: WorkspaceMember | None = await db.scalar(
        insert(WorkspaceMember)
        .values(workspace_id=row.workspace_id, id=new_id(), user_id=user_id, created_at=at, **promised)
        .on_conflict_do_update(
            index_elements=["workspace_id", "user_id"], set_=promised, where=~WorkspaceMember.is_active
        )
        .returning(WorkspaceMember)
        .execution_options(populate_existing=True)
    )
    if entered is not None:
        view = msgspec.convert(entered, WorkspaceMemberView, from_attributes=True)
        what = "created" if entered.created_at == at else "reactivated"
        events.record(db, f"workspace_member.{what}", entered, view, before=before)
        return entered
    already = await db.scalar(select(WorkspaceMember).where(*here))
    assert already is not None
    return already
