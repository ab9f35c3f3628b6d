"""What a client has asked under a key of its own, and what it was told: so that asking twice does it once."""

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, TenantRow, refers_to_member, tenant_table

LONGEST_KEY = 255


class IdempotencyKey(TenantRow, Base):
    """A member's key of one POST. Its answer is written by the transaction that did what was asked, and sealed:

    some answers hold a secret that is shown once.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "user_id", "key"),
        refers_to_member("user_id"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {LONGEST_KEY}", name="key_length"),
        # For the sweep, which goes through all workspaces at once.
        Index("ix_idempotency_keys_age", "created_at"),
    )

    user_id: Mapped[uuid.UUID]
    key: Mapped[str]
    request: Mapped[str]
    request_digest: Mapped[bytes]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    encrypted_body: Mapped[bytes | None]
    iv: Mapped[bytes | None]
    auth_tag: Mapped[bytes | None]
    encryption_key_id: Mapped[str | None]
