"""What a client has asked under a key of its own, and what it was told: so that asking twice does it once."""

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, TenantRow, refers, refers_to_member, tenant_table

LONGEST_KEY = 255


class IdempotencyKey(TenantRow, Base):
    """A member's key of one POST, or an agent's. Its answer is written by the transaction that did what was asked.

    It is sealed: some answers hold a secret that is shown once.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = tenant_table(
        Index(
            "uq_idempotency_keys_user",
            "workspace_id",
            "user_id",
            "key",
            unique=True,
            postgresql_where=text("agent_id IS NULL"),
        ),
        # An agent's keys are its own, whichever of its tokens it uses and whoever made that.
        Index(
            "uq_idempotency_keys_agent",
            "workspace_id",
            "agent_id",
            "key",
            unique=True,
            postgresql_where=text("agent_id IS NOT NULL"),
        ),
        refers_to_member("user_id"),
        refers("agent_id", "agents", on_delete="CASCADE"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {LONGEST_KEY}", name="key_length"),
        # For the sweep, which goes through all workspaces at once.
        Index("ix_idempotency_keys_age", "created_at"),
    )

    user_id: Mapped[uuid.UUID]
    agent_id: Mapped[uuid.UUID | None]
    key: Mapped[str]
    request: Mapped[str]
    request_digest: Mapped[bytes]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    encrypted_body: Mapped[bytes | None]
    iv: Mapped[bytes | None]
    auth_tag: Mapped[bytes | None]
    encryption_key_id: Mapped[str | None]
