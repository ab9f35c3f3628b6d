"""Contacts, and the addresses they are found by."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Computed,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    exists,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers_to_member, tenant_table
from models.types import Email, Phone, TimeZone, address_key, address_key_sql

ContactStatus = Literal["lead", "active", "inactive", "customer", "blocked"]
ContactPointKind = Literal["phone", "email", "short_code", "alphanumeric", "messenger", "rcs"]

# Spelt as PostgreSQL says it. A column, for row security keeps an index of an expression from being used; cut, for an
# index has room for no more.
_NAME_KEY = (
    "lower(btrim(((COALESCE(\"left\"(first_name, 100), ''::text) || ' '::text)"
    " || COALESCE(\"left\"(last_name, 100), ''::text))))"
)
_MATCH_KEY = (
    "CASE kind WHEN 'phone'::text THEN \"right\"(value, 7)"
    " WHEN 'email'::text THEN lower(replace(split_part(split_part(value, '@'::text, 1), '+'::text, 1),"
    " '.'::text, ''::text)) ELSE NULL::text END"
)


def _has_email(value: str) -> ColumnElement[bool]:
    """The contact's e-mail address is this one, however it is capitalised: by the index that its point has."""
    return exists().where(
        ContactPoint.workspace_id == Contact.workspace_id,
        ContactPoint.contact_id == Contact.id,
        ContactPoint.kind == "email",
        ContactPoint.value_key == address_key("email", value),
        ContactPoint.is_primary,
    )


def _has_value(value: str) -> ColumnElement[bool]:
    """The point is this address, of whatever kind."""
    return ContactPoint.value_key.in_((value, address_key("email", value)))


class Contact(TenantRow, Base):
    """Somebody the business talks to, whatever number or address they use."""

    large = True
    __tablename__ = "contacts"
    __table_args__ = tenant_table(
        refers_to_member("owner_id", assigns=True),
        one_of("status", ContactStatus),
        CheckConstraint("lead_score BETWEEN 0 AND 100", name="lead_score_range"),
        Index("ix_contacts_created", "workspace_id", "created_at", "id"),
        Index("ix_contacts_name_key", "workspace_id", "name_key"),
        Index("ix_contacts_updated", "workspace_id", "updated_at", "id"),
        Index("ix_contacts_last_name", "workspace_id", "last_name_key", "id"),
        Index("ix_contacts_company", "workspace_id", "company_key", "id"),
        Index("ix_contacts_last_contacted", "workspace_id", "last_contacted_at", "id"),
        Index("ix_contacts_lead_score", "workspace_id", "lead_score", "id"),
        Index("ix_contacts_email", "workspace_id", "email"),
        Index("ix_contacts_phone", "workspace_id", "phone"),
        Index("ix_contacts_owner", "workspace_id", "owner_id", "created_at"),
        Index(
            "ix_contacts_source",
            "workspace_id",
            "source",
            "created_at",
            "id",
            postgresql_where=text("source <> 'inbound_sms'"),
        ),
        Index("ix_contacts_tagged", "workspace_id", "created_at", "id", postgresql_where=text("tags <> '{}'")),
    )

    owner_id: Mapped[uuid.UUID | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    email: Mapped[str | None] = mapped_column(Email, info={"found_by": _has_email})
    phone: Mapped[str | None] = mapped_column(Phone)
    company: Mapped[str | None]
    job_title: Mapped[str | None]
    source: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="lead", server_default="lead")
    tags: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    custom_fields: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    last_contacted_at: Mapped[datetime | None]
    lead_score: Mapped[int | None]
    timezone: Mapped[str | None] = mapped_column(TimeZone)
    # What lists sort by: whatever the case, and never longer than an index takes.
    last_name_key: Mapped[str | None] = mapped_column(Computed('lower("left"(last_name, 100))', persisted=True))
    company_key: Mapped[str | None] = mapped_column(Computed('lower("left"(company, 100))', persisted=True))
    # What contacts of one name have in common.
    name_key: Mapped[str | None] = mapped_column(Computed(_NAME_KEY, persisted=True), deferred=True)


class ContactView(View, kw_only=True):
    """A contact; ``phone`` and ``email`` are the primary ones of its contact points."""

    id: ReadOnly[uuid.UUID]
    owner_id: uuid.UUID | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    job_title: str | None = None
    source: str | None = None
    status: ContactStatus = "lead"
    tags: list[str] = []
    custom_fields: dict[str, Any] = {}
    last_contacted_at: ReadOnly[datetime | None] = None
    lead_score: int | None = None
    timezone: str | None = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class ContactPoint(TenantRow, Base):
    """One address of a contact; nobody else in the workspace has it, so an inbound message finds its sender."""

    large = True
    __tablename__ = "contact_points"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "kind", "value_key"),
        # Deferred: whoever wins the address writes the contact after it, in the same statement.
        ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            ondelete="CASCADE",
            deferrable=True,
            initially="DEFERRED",
        ),
        one_of("kind", ContactPointKind),
        Index("ix_contact_points_contact", "workspace_id", "contact_id"),
        Index("ix_contact_points_match_key", "workspace_id", "kind", "match_key"),
        Index("ix_contact_points_created", "workspace_id", "created_at", "id"),
        Index(
            "uq_contact_points_primary",
            "workspace_id",
            "contact_id",
            "kind",
            unique=True,
            postgresql_where=text("is_primary"),
        ),
    )

    contact_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    value: Mapped[str] = mapped_column(info={"found_by": _has_value})
    label: Mapped[str | None]
    is_primary: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    # By what an address is found and nobody else can have it: an e-mail address however it is capitalised.
    value_key: Mapped[str] = mapped_column(
        Text(collation="C"), Computed(address_key_sql("kind", "value"), persisted=True), deferred=True
    )
    # What addresses that may be one person's have in common: a phone number's end, a mailbox without dots and plus.
    match_key: Mapped[str | None] = mapped_column(Computed(_MATCH_KEY, persisted=True), deferred=True)


class ContactPointView(View, kw_only=True):
    """One phone number, e-mail address or other address of a contact."""

    id: ReadOnly[uuid.UUID]
    contact_id: ReadOnly[uuid.UUID]
    kind: ReadOnly[ContactPointKind]
    value: ReadOnly[
        Annotated[
            str, msgspec.Meta(description="The number in E.164, or the address itself.", examples=["+14155550199"])
        ]
    ]
    label: str | None = None
    is_primary: ReadOnly[bool]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
