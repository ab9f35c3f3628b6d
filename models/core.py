"""Workspaces, the people in them, and the keys to their providers."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from sqlalchemy import CheckConstraint, ColumnElement, ForeignKeyConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, Stamped, TenantRow, View, new_id, one_of, refers, refers_to_member, tenant_table
from models.types import Email, Phone

SubscriptionTier = Literal["free", "starter", "professional", "enterprise"]
Role = Literal["owner", "admin", "member", "viewer"]
Provider = Literal["twilio", "signalwire", "sendgrid", "smtp"]
TokenScope = Literal["read", "write", "admin"]
Area = Literal["agents", "packs", "billing", "members"]
Level = Literal["none", "read", "write"]
AiProvider = Literal["openai", "anthropic", "google"]


def permissions_known() -> CheckConstraint:
    """``permissions`` names areas of ours and a level for each, whoever wrote it."""
    areas, levels = get_args(Area), ", ".join(f"'{level}'" for level in get_args(Level))
    listed = ", ".join(f"'{area}'" for area in areas)
    laws = [f"permissions - ARRAY[{listed}] = '{{}}'::jsonb"]
    laws += [f"coalesce(permissions->>'{area}', 'none') IN ({levels})" for area in areas]
    return CheckConstraint(" AND ".join(laws), name="permissions_known")


class Workspace(Stamped, Base):
    """A tenant: a business with its own numbers, people and conversations."""

    __tablename__ = "workspaces"
    __table_args__ = (
        one_of("subscription_tier", SubscriptionTier),
        # Threading reads this inside the statement that takes messages in: a wrong type must never get that far.
        CheckConstraint(
            "settings->'reopenWithin' IS NULL OR"
            " (jsonb_typeof(settings->'reopenWithin') = 'number'"
            " AND (settings->>'reopenWithin')::numeric BETWEEN 0 AND 315360000)",
            name="reopen_within_seconds",
        ),
        # It becomes part of every invoice's number.
        CheckConstraint(
            "settings->'invoicePrefix' IS NULL OR"
            " (jsonb_typeof(settings->'invoicePrefix') = 'string' AND length(settings->>'invoicePrefix') <= 20)",
            name="settings_invoice_prefix",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)
    clerk_organization_id: Mapped[str | None] = mapped_column(unique=True)
    subscription_tier: Mapped[str] = mapped_column(default="free", server_default="free")
    stripe_customer_id: Mapped[str | None]
    stripe_subscription_id: Mapped[str | None]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    encrypted_api_keys: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))


class AiKeyView(msgspec.Struct, rename="camel"):
    """A key to an AI provider: that it is there, and its last four characters."""

    last_four: str


class WorkspaceView(View, kw_only=True):
    """A workspace as its members see it.

    A PATCH of ``settings`` changes the keys it names, and null removes one. ``reopenWithin`` is in seconds (7 days
    unless set), ``invoicePrefix`` has 20 characters at most, ``timezone`` is an IANA name, ``defaultCountry`` two
    letters, ``locale`` a language tag; ``quietHours`` is ``{"start": "21:00", "end": "08:00"}``, or false for none, and
    ``keywordAnswers`` the texts that answer ``stop``, ``start`` and ``help``; ``automaticRepliesPerHour`` is how
    many mails of programs leave in a conversation (5 unless set); ``handoffs`` and ``watchdog`` are as
    docs/ownership.md has them; ``branding``, ``features`` and ``notifications`` are objects, and ``custom`` is an
    object that is yours alone.
    """

    id: ReadOnly[uuid.UUID]
    name: str
    slug: ReadOnly[str]
    clerk_organization_id: ReadOnly[str | None] = None
    subscription_tier: ReadOnly[SubscriptionTier]
    stripe_customer_id: ReadOnly[str | None] = None
    stripe_subscription_id: ReadOnly[str | None] = None
    settings: dict[str, Any] = {}
    encrypted_api_keys: Annotated[
        ReadOnly[dict[AiProvider, AiKeyView]],
        msgspec.Meta(
            description="The keys to AI providers that are kept, by provider.",
            examples=[{"openai": {"lastFour": "9f2c"}}],
        ),
    ] = {}
    is_active: ReadOnly[bool]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


def _has_email(value: str) -> ColumnElement[bool]:
    """The person's address is this one, however it is capitalised, as the unique index has it."""
    return func.lower(User.email) == func.lower(value)


class User(Stamped, Base):
    """A person who signs in; what they may do is a matter of their memberships."""

    __tablename__ = "users"
    __table_args__ = (Index("uq_users_email", text("lower(email)"), unique=True),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    clerk_user_id: Mapped[str | None] = mapped_column(unique=True)
    email: Mapped[str] = mapped_column(Email, info={"found_by": _has_email})
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    avatar_url: Mapped[str | None]
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    last_login_at: Mapped[datetime | None]


class UserView(View, kw_only=True):
    """A person, as fellow members of a workspace see them."""

    id: ReadOnly[uuid.UUID]
    clerk_user_id: ReadOnly[str | None] = None
    email: ReadOnly[str]
    first_name: str | None = None
    last_name: str | None = None
    avatar_url: str | None = None
    last_login_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WorkspaceMember(TenantRow, Base):
    """A user's place in a workspace. Leaving deactivates the row, so what they did stays theirs."""

    __tablename__ = "workspace_members"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "user_id"),
        ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="RESTRICT"),
        refers_to_member("invited_by"),
        one_of("role", Role),
        permissions_known(),
        Index("ix_workspace_members_user_id", "user_id"),
        Index("ix_workspace_members_created", "workspace_id", "created_at", "id"),
    )

    user_id: Mapped[uuid.UUID]
    phone: Mapped[str | None] = mapped_column(Phone)
    role: Mapped[str] = mapped_column(default="member")
    permissions: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    invited_by: Mapped[uuid.UUID | None]
    joined_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))


class WorkspaceMemberView(View, kw_only=True):
    """A membership: who, in which role. ``permissions`` grants or takes away what the role leaves open, by area."""

    id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    phone: (
        Annotated[
            str,
            msgspec.Meta(description="The phone that calls are put through to, in E.164.", examples=["+14155550111"]),
        ]
        | None
    )
    role: Role
    permissions: dict[Area, Level]
    invited_by: ReadOnly[uuid.UUID | None]
    joined_at: ReadOnly[datetime | None]
    is_active: ReadOnly[bool]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WorkspaceApiKey(TenantRow, Base):
    """A connection to a provider: its id is in our webhook URLs, its secrets are under AES-256-GCM."""

    __tablename__ = "workspace_api_keys"
    __table_args__ = tenant_table(
        refers_to_member("created_by"),
        one_of("provider", Provider),
        # A webhook names its connection before anything is known about the workspace.
        Index("ix_workspace_api_keys_id", "id"),
        Index("ix_workspace_api_keys_created", "workspace_id", "created_at", "id"),
    )

    provider: Mapped[str]
    name: Mapped[str]
    encrypted_key: Mapped[bytes]
    iv: Mapped[bytes]
    auth_tag: Mapped[bytes]
    encryption_key_id: Mapped[str]
    last_four: Mapped[str]
    next_last_four: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    last_used_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    check_passed: Mapped[bool | None]
    check_detail: Mapped[str | None]
    created_by: Mapped[uuid.UUID | None]


class WorkspaceApiKeyView(View, kw_only=True):
    """A connection to a provider, without its secret. ``webhookUrls`` are what the provider is told to post to.

    ``nextLastFour`` is there during a rotation, when webhooks signed with either secret are accepted; ``checkedAt``,
    ``checkPassed`` and ``checkDetail`` are what the provider last said of these credentials.
    """

    id: ReadOnly[uuid.UUID]
    provider: ReadOnly[Provider]
    name: str
    last_four: ReadOnly[str]
    next_last_four: ReadOnly[str | None] = None
    is_active: bool = True
    last_used_at: ReadOnly[datetime | None] = None
    checked_at: ReadOnly[datetime | None] = None
    check_passed: ReadOnly[bool | None] = None
    check_detail: ReadOnly[str | None] = None
    created_by: ReadOnly[uuid.UUID | None] = None
    webhook_urls: ReadOnly[dict[str, str]] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AccessToken(TenantRow, Base):
    """A credential for the API, kept as a hash; it belongs to one member of one workspace."""

    __tablename__ = "access_tokens"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "token_hash"),
        refers_to_member("user_id"),
        refers("agent_id", "agents", on_delete="CASCADE"),
        # Whose token it is becomes known only by finding it.
        Index("ix_access_tokens_token_hash", "token_hash"),
        Index("ix_access_tokens_created", "workspace_id", "created_at", "id"),
        Index("ix_access_tokens_user", "workspace_id", "user_id"),
        Index("ix_access_tokens_agent", "workspace_id", "agent_id", postgresql_where=text("agent_id IS NOT NULL")),
    )

    user_id: Mapped[uuid.UUID]
    # An agent's token was made by a member and is not theirs: what it may is decided in the guards.
    agent_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    token_hash: Mapped[bytes]
    last_four: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AccessTokenView(View, kw_only=True):
    """A token of the member who asks, without the token itself. No ``scopes`` means all that their role may do.

    With an ``agentId`` it is that agent's, and ``userId`` the member who made it and answers for it.
    """

    id: ReadOnly[uuid.UUID]
    user_id: ReadOnly[uuid.UUID]
    agent_id: Annotated[
        ReadOnly[uuid.UUID | None],
        msgspec.Meta(description="The agent whose token it is: it opens `/api/v1/agent` and nothing else."),
    ] = None
    name: str
    last_four: ReadOnly[str]
    scopes: ReadOnly[list[TokenScope]] = []
    expires_at: ReadOnly[datetime | None] = None
    last_used_at: ReadOnly[datetime | None] = None
    revoked_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WsTicket(TenantRow, Base):
    """A one-time pass to the websocket for clients that cannot send a first frame with a token."""

    __tablename__ = "ws_tickets"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "ticket_hash"),
        refers_to_member("user_id"),
        refers("token_id", "access_tokens", on_delete="CASCADE"),
        refers("session_id", "sessions", on_delete="CASCADE"),
        Index("ix_ws_tickets_ticket_hash", "ticket_hash"),
    )

    user_id: Mapped[uuid.UUID]
    token_id: Mapped[uuid.UUID | None]
    session_id: Mapped[uuid.UUID | None]
    ticket_hash: Mapped[bytes]
    expires_at: Mapped[datetime]
