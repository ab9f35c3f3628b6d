"""What a provider's own log says of a number, and whether we have all of it."""

import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, refers, tenant_table


class NumberSweep(TenantRow, Base):
    """How a number stands against its provider's log: up to when it was compared, and what was lacking.

    ``next_sweep_at`` is when a worker compares again; whoever takes it up moves it, so that no other does.
    """

    __tablename__ = "number_sweeps"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "phone_number_id"),
        refers("phone_number_id", "workspace_phone_numbers", on_delete="CASCADE"),
        CheckConstraint("missing >= 0 AND compared >= 0 AND back_filled >= 0", name="counts_range"),
        Index("ix_number_sweeps_created", "workspace_id", "created_at", "id"),
        Index("ix_number_sweeps_due", "next_sweep_at"),
    )

    phone_number_id: Mapped[uuid.UUID]
    swept_until: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    compared: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    missing: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    back_filled: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_back_filled_at: Mapped[datetime | None]
    error: Mapped[str | None]
    next_sweep_at: Mapped[datetime]


class NumberSweepView(View, kw_only=True):
    """Whether we have all that a number's provider has: `missing` is 0, as of `checkedAt`."""

    id: ReadOnly[uuid.UUID]
    phone_number_id: ReadOnly[uuid.UUID]
    checked_at: ReadOnly[datetime | None] = None
    swept_until: ReadOnly[
        Annotated[
            datetime,
            msgspec.Meta(
                description="Up to when everything was compared; the next sweep begins a little before that.",
                examples=["2026-03-01T12:00:00Z"],
            ),
        ]
    ]
    compared: ReadOnly[
        Annotated[int, msgspec.Meta(description="How many messages and calls the last sweep compared.", examples=[40])]
    ] = 0
    missing: ReadOnly[
        Annotated[
            int,
            msgspec.Meta(description="How many messages and calls only the provider has, even now.", examples=[0]),
        ]
    ] = 0
    back_filled: ReadOnly[
        Annotated[
            int,
            msgspec.Meta(description="How many messages, reports and calls were ever filled in.", examples=[10]),
        ]
    ] = 0
    last_back_filled_at: ReadOnly[datetime | None] = None
    error: ReadOnly[
        Annotated[
            str | None,
            msgspec.Meta(
                description="Why the provider's log could not be compared the last time.",
                examples=["The provider does not accept the connection's credentials."],
            ),
        ]
    ] = None
    next_sweep_at: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
