"""How people come in: invitations, passwords, and the sessions they open with them."""

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, Stamped, TenantRow, View, one_of, refers_to_member, tenant_table
from models.core import Area, Level, Role, permissions_known
from models.types import Email


def _has_email(value: str) -> ColumnElement[bool]:
    """Who is invited has this address, however it is capitalised."""
    return func.lower(WorkspaceInvitation.email) == func.lower(value)


class WorkspaceInvitation(TenantRow, Base):
    """Somebody may become a member by the link that was mailed to them. Of the link only a hash is kept."""

    __tablename__ = "workspace_invitations"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "token_hash"),
        refers_to_member("invited_by"),
        one_of("role", Role),
        permissions_known(),
        # Whoever opens the link names no workspace.
        Index("ix_workspace_invitations_token_hash", "token_hash"),
        Index("ix_workspace_invitations_created", "workspace_id", "created_at", "id"),
        Index(
            "uq_workspace_invitations_open",
            "workspace_id",
            text("lower(email)"),
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
    )

    email: Mapped[str] = mapped_column(Email, info={"found_by": _has_email})
    role: Mapped[str] = mapped_column(default="member", server_default="member")
    permissions: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    token_hash: Mapped[bytes]
    invited_by: Mapped[uuid.UUID | None]
    expires_at: Mapped[datetime]
    mailed_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class WorkspaceInvitationView(View, kw_only=True):
    """An invitation by e-mail, without its link. It is open until it is accepted, revoked or past ``expiresAt``."""

    id: ReadOnly[uuid.UUID]
    email: str
    role: Role = "member"
    permissions: dict[Area, Level] = {}
    invited_by: ReadOnly[uuid.UUID | None] = None
    expires_at: ReadOnly[datetime]
    mailed_at: ReadOnly[datetime | None] = None
    accepted_at: ReadOnly[datetime | None] = None
    revoked_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class Session(TenantRow, Base):
    """A member signed in with their password, somewhere. It ends when nobody has used it for a while."""

    __tablename__ = "sessions"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "token_hash"),
        refers_to_member("user_id"),
        # Whose session it is becomes known only by finding it.
        Index("ix_sessions_token_hash", "token_hash"),
        Index("ix_sessions_user", "workspace_id", "user_id", "created_at", "id"),
    )

    user_id: Mapped[uuid.UUID]
    token_hash: Mapped[bytes]
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SessionView(View, kw_only=True):
    """A session of the member who asks, without its token. ``address`` is where it was opened from."""

    id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    user_agent: ReadOnly[str | None] = None
    address: ReadOnly[
        Annotated[str, msgspec.Meta(description="The IP address it was opened from.", examples=["203.0.113.7"])] | None
    ] = None
    last_used_at: ReadOnly[datetime]
    expires_at: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class UserPassword(Stamped, Base):
    """What a person's password is compared with (argon2id). The web's role may not even look at this table."""

    __tablename__ = "user_passwords"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[str]


class SignInLimit(Base):
    """How often has been tried to sign in: each attempt moves ``until`` on, and too far ahead of now is too often."""

    __tablename__ = "sign_in_limits"
    __table_args__ = (Index("ix_sign_in_limits_until", "until"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]
