"""Who asks: access tokens, and the one-time tickets that open a websocket. Only hashes are kept.

Sessions and Clerk's tokens have modules of their own; ``identify`` knows one credential from another.
"""

import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import permissions, sessions
from comms.clerk import Clerk
from comms.database import Database
from comms.errors import Forbidden, Invalid, Unauthenticated
from comms.identity import Identity, Member, hash_of, mark_used
from models.access import Session
from models.agents import Agent
from models.base import new_id, now
from models.core import AccessToken, Role, TokenScope, Workspace, WorkspaceMember, WsTicket

__all__ = ["Forbidden", "Identity", "Unauthenticated", "identify", "issue", "issue_ticket", "redeem_ticket"]

PREFIX = "ck_"
TICKET_LIFE = timedelta(seconds=30)
_TOUCH_EVERY = timedelta(minutes=1)


async def issue(
    db: AsyncSession,
    member: Member,
    name: str = "token",
    *,
    scopes: Sequence[TokenScope] = (),
    expires_at: datetime | None = None,
    agent_id: uuid.UUID | None = None,
) -> tuple[AccessToken, str]:
    """The member has a new access token, or their agent; its plain text is returned here and never again."""
    plain = PREFIX + secrets.token_urlsafe(32)
    row = AccessToken(
        workspace_id=member.workspace_id,
        id=new_id(),
        user_id=member.user_id,
        name=name,
        token_hash=hash_of(plain),
        last_four=plain[-4:],
        scopes=list(scopes),
        expires_at=expires_at,
        agent_id=agent_id,
    )
    db.add(row)
    await db.flush()
    return row, plain


async def issue_for(
    db: AsyncSession,
    identity: Identity,
    name: str,
    scopes: Sequence[TokenScope],
    expires_at: datetime | None,
    agent_id: uuid.UUID | None = None,
) -> tuple[AccessToken, str]:
    """A further token of who asks, which never may more or lives longer than the one they asked with.

    Or one of an agent, of who may write agents.
    """
    if agent_id is not None:
        await _expect_agent(db, identity, agent_id)
    if identity.scopes and not (scopes and set(scopes) <= set(identity.scopes)):
        raise Invalid({"scopes": f"must be among those of your own token: {', '.join(identity.scopes)}"})
    if identity.expires_at is not None and (expires_at is None or expires_at > identity.expires_at):
        raise Invalid(
            {"expiresAt": f"must not be later than that of your own token: {identity.expires_at.isoformat()}"}
        )
    if expires_at is not None and expires_at <= now():
        raise Invalid({"expiresAt": "must lie in the future"})
    # Who is being deactivated at this moment gets no token that would outlive it.
    query = select(WorkspaceMember.id).where(
        WorkspaceMember.workspace_id == identity.workspace_id,
        WorkspaceMember.user_id == identity.user_id,
        WorkspaceMember.is_active,
    )
    if await db.scalar(query.with_for_update(read=True)) is None:
        raise Unauthenticated
    return await issue(db, identity, name, scopes=scopes, expires_at=expires_at, agent_id=agent_id)


async def _expect_agent(db: AsyncSession, identity: Identity, agent_id: uuid.UUID) -> None:
    if not permissions.allows(identity.role, identity.permissions, "agents", "write"):
        raise Forbidden("A token for an agent takes the permission agents: write.")
    query = select(Agent.id).where(Agent.workspace_id == identity.workspace_id, Agent.id == agent_id)
    if await db.scalar(query) is None:
        raise Invalid({"agentId": "refers to nothing in this workspace"})


class AgentResting(Forbidden):
    """The agent does not work now."""

    def __init__(self, status: str) -> None:
        super().__init__(f"This token's agent is {status}: it works once it is active (PUT /api/v1/agents/…/status).")


_WHOSE = (
    select(
        AccessToken.workspace_id,
        AccessToken.user_id,
        AccessToken.id,
        AccessToken.scopes,
        AccessToken.expires_at,
        AccessToken.agent_id,
        AccessToken.last_used_at,
        WorkspaceMember.role,
        WorkspaceMember.permissions,
        Agent.status,
    )
    .join(
        WorkspaceMember,
        (WorkspaceMember.workspace_id == AccessToken.workspace_id) & (WorkspaceMember.user_id == AccessToken.user_id),
    )
    .join(Workspace, Workspace.id == AccessToken.workspace_id)
    .outerjoin(Agent, (Agent.workspace_id == AccessToken.workspace_id) & (Agent.id == AccessToken.agent_id))
    .where(
        AccessToken.token_hash == bindparam("token_hash"),
        AccessToken.revoked_at.is_(None),
        or_(AccessToken.expires_at.is_(None), AccessToken.expires_at > bindparam("at")),
        WorkspaceMember.is_active,
        Workspace.is_active,
    )
)


async def identify(database: Database, token: str, clerk: Clerk | None = None) -> Identity:
    """Whose credential this is; ``Unauthenticated`` unless it, the member and the workspace are all active.

    ``AgentResting`` for a token whose agent is not active: to pause an agent stops all it does.
    """
    if token.startswith(sessions.PREFIX):
        return await sessions.identify(database, token)
    if not token.startswith(PREFIX):
        if clerk is None:
            raise Unauthenticated
        return await clerk.identify(database, token)
    at = now()
    row = await database.look_up(_WHOSE, {"token_hash": hash_of(token), "at": at})
    if row is None:
        raise Unauthenticated
    if row.agent_id is not None and row.status != "active":
        raise AgentResting(row.status)
    if row.last_used_at is None or row.last_used_at < at - _TOUCH_EVERY:
        async with database.everywhere() as db:
            await mark_used(db, AccessToken, row.workspace_id, row.id, at)
    return Identity(
        row.workspace_id,
        row.user_id,
        row.role,
        row.permissions,
        tuple(row.scopes),
        row.id,
        row.expires_at,
        agent_id=row.agent_id,
    )


async def issue_ticket(db: AsyncSession, identity: Identity) -> str:
    """A ticket that lets its bearer be ``identity`` on one websocket within 30 seconds. Spent ones are swept."""
    plain = secrets.token_urlsafe(32)
    at = now()
    await db.execute(delete(WsTicket).where(WsTicket.expires_at < at))
    db.add(
        WsTicket(
            workspace_id=identity.workspace_id,
            user_id=identity.user_id,
            token_id=identity.token_id,
            session_id=identity.session_id,
            ticket_hash=hash_of(plain),
            expires_at=at + TICKET_LIFE,
        )
    )
    await db.flush()
    return plain


async def redeem_ticket(database: Database, ticket: str) -> Identity | None:
    """Whose ticket this is, once: None when it is unknown, spent or too old, or who took it may no longer enter."""
    async with database.everywhere() as db:
        spent = (
            await db.execute(
                delete(WsTicket)
                .where(WsTicket.ticket_hash == hash_of(ticket))
                .returning(
                    WsTicket.workspace_id,
                    WsTicket.user_id,
                    WsTicket.token_id,
                    WsTicket.session_id,
                    WsTicket.expires_at,
                )
            )
        ).one_or_none()
        if spent is None or spent.expires_at < now():
            return None
        scopes: Sequence[TokenScope] = ()
        if spent.token_id is not None:
            granted: list[TokenScope] | None = await db.scalar(
                select(AccessToken.scopes).where(
                    AccessToken.workspace_id == spent.workspace_id,
                    AccessToken.id == spent.token_id,
                    AccessToken.revoked_at.is_(None),
                    or_(AccessToken.expires_at.is_(None), AccessToken.expires_at > now()),
                )
            )
            if granted is None:
                return None
            scopes = granted
        if spent.session_id is not None and not await db.scalar(
            select(Session.id).where(
                Session.workspace_id == spent.workspace_id,
                Session.id == spent.session_id,
                Session.expires_at > now(),
            )
        ):
            return None
        member = await db.scalar(
            select(WorkspaceMember)
            .join(Workspace, Workspace.id == WorkspaceMember.workspace_id)
            .where(
                WorkspaceMember.workspace_id == spent.workspace_id,
                WorkspaceMember.user_id == spent.user_id,
                WorkspaceMember.is_active,
                Workspace.is_active,
            )
        )
    if member is None:
        return None
    return Identity(
        member.workspace_id,
        member.user_id,
        msgspec.convert(member.role, Role),
        member.permissions,
        tuple(scopes),
        spent.token_id,
        session_id=spent.session_id,
    )
