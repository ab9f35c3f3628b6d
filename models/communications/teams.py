"""Teams of people: to whom conversations are handed as a group."""

import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, refers, refers_to_member, tenant_table


class Team(TenantRow, Base):
    """Members who share work; what has been handed to it stays for the record, so it is put out of use, not deleted."""

    __tablename__ = "teams"
    __table_args__ = tenant_table(Index("ix_teams_created", "workspace_id", "created_at", "id"))

    name: Mapped[str]
    description: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))


class TeamView(View, kw_only=True):
    """A team of members."""

    id: ReadOnly[uuid.UUID]
    name: Annotated[str, msgspec.Meta(examples=["Billing"])]
    description: str | None = None
    is_active: bool = True
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class TeamMember(TenantRow, Base):
    """A member's place in a team, once."""

    __tablename__ = "team_members"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "team_id", "user_id"),
        refers("team_id", "teams", on_delete="CASCADE"),
        refers_to_member("user_id", assigns=True),
        Index("ix_team_members_created", "workspace_id", "created_at", "id"),
        Index("ix_team_members_user", "workspace_id", "user_id"),
    )

    team_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]


class TeamMemberView(View, kw_only=True):
    """A member's place in a team."""

    id: ReadOnly[uuid.UUID]
    team_id: uuid.UUID
    user_id: uuid.UUID
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
