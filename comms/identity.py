"""Who somebody is, once a credential has proved it."""

import hashlib
import uuid
from datetime import datetime
from typing import Any, Protocol

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.core import Role, TokenScope


class Identity(msgspec.Struct, frozen=True):
    """A member of one workspace, as a credential proves them. No ``scopes`` means all that the role may do.

    ``token_id`` or ``session_id`` says by which access token or session; neither, when Clerk vouches for them. With an
    ``agent_id`` it is that agent who asks, by a token that this member has made and answers for.
    """

    workspace_id: uuid.UUID
    user_id: uuid.UUID
    role: Role
    permissions: dict[str, Any] = {}
    scopes: tuple[TokenScope, ...] = ()
    token_id: uuid.UUID | None = None
    expires_at: datetime | None = None
    session_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None


class Member(Protocol):
    """Anything that names a member: a membership row, or an identity."""

    @property
    def workspace_id(self) -> Any:
        """The workspace."""

    @property
    def user_id(self) -> Any:
        """The person."""


def hash_of(plain: str) -> bytes:
    """What is kept of a token: long and random as tokens are, they need no slow hash."""
    return hashlib.sha256(plain.encode("utf-8", "replace")).digest()


async def mark_used(
    db: AsyncSession, table: Any, workspace_id: uuid.UUID, row_id: uuid.UUID, at: datetime, **values: Any
) -> None:
    """The credential is marked as used, unless a request at this moment has just done so: nobody waits for a mark."""
    here = table.workspace_id == workspace_id
    free = select(table.id).where(here, table.id == row_id).with_for_update(skip_locked=True)
    await db.execute(
        update(table)
        .where(here, table.id.in_(free))
        .values(last_used_at=at, updated_at=table.updated_at, **values)
        .execution_options(synchronize_session=False)
    )
