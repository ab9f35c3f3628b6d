"""The mail addresses people write to, what a message was as a mail, and what became of mails we sent."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Computed, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, part_of_tenant, refers, tenant_table
from models.types import Email, email_key, email_key_sql, spelt

MailAddressStatus = Literal["active", "suspended"]
AutomaticMail = Literal["bounce", "auto_reply", "generated", "list", "bulk", "own"]
ThreadedBy = Literal["token", "reference", "contact", "new"]
MailEventKind = Literal[
    "processed",
    "deferred",
    "delivered",
    "bounced",
    "blocked",
    "dropped",
    "opened",
    "opened_by_machine",
    "clicked",
    "complained",
    "unsubscribed",
    "resubscribed",
    "account_status_changed",
    "unknown",
]


def _has_address(value: str) -> ColumnElement[bool]:
    """The address is this one, however it is capitalised; a workspace has only so many."""
    return func.lower(WorkspaceMailAddress.address.collate("C")) == email_key(value)


def _routed(values: Mapping[str, Any]) -> tuple[str, str]:
    """By which of an address's values a mail finds it, and what an envelope's recipient is compared with."""
    name = "address" if values.get("inbound_address") is None else "inbound_address"
    return name, spelt(values[name]).lower()


class WorkspaceMailAddress(TenantRow, Base):
    """An address of ours. Mail is mapped to it by its envelope, whatever its headers say."""

    noun = "mail_address"
    __tablename__ = "workspace_mail_addresses"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "address"),
        UniqueConstraint("workspace_id", "route_key"),
        refers("connection_id", "workspace_api_keys", on_delete="SET NULL"),
        one_of("status", MailAddressStatus),
        Index("ix_workspace_mail_addresses_created", "workspace_id", "created_at", "id"),
    )

    connection_id: Mapped[uuid.UUID | None]
    address: Mapped[str] = mapped_column(Email, info={"found_by": _has_address})
    inbound_address: Mapped[str | None] = mapped_column(Email)
    # What an envelope's recipient is compared with: without its plus part, in lower case.
    route_key: Mapped[str] = mapped_column(
        Computed("lower(COALESCE(inbound_address, address))", persisted=True), info={"made_of": _routed}
    )
    friendly_name: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="active", server_default="active")


class WorkspaceMailAddressView(View, kw_only=True):
    """An address of ours, what people read as the sender of our mails.

    With ``inboundAddress``, mail reaches us there (where our own address is forwarded to it); replies go there too.
    """

    id: ReadOnly[uuid.UUID]
    connection_id: uuid.UUID | None = None
    address: Annotated[
        str, msgspec.Meta(description="The address people see and write to.", examples=["support@example.com"])
    ]
    inbound_address: (
        Annotated[
            str,
            msgspec.Meta(
                description="Where its mail reaches comms, if elsewhere: an address of the domain whose MX is the"
                " provider's Inbound Parse.",
                examples=["support@inbound.example.com"],
            ),
        ]
        | None
    ) = None
    friendly_name: str | None = None
    status: MailAddressStatus = "active"
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class Mail(TenantRow, Base):
    """What a message is besides its text, if it is a mail. One row a message, made and deleted with it."""

    large = True
    __tablename__ = "mails"
    __table_args__ = part_of_tenant(
        UniqueConstraint("workspace_id", "message_id"),
        refers("message_id", "conversation_messages", on_delete="CASCADE"),
        refers("mail_address_id", "workspace_mail_addresses", on_delete="SET NULL"),
        one_of("automatic", AutomaticMail),
        one_of("threaded_by", ThreadedBy),
        Index(
            "ix_mails_rfc_message_id",
            "workspace_id",
            "rfc_message_id",
            postgresql_where=text("rfc_message_id IS NOT NULL"),
        ),
        Index("ix_mails_created", "workspace_id", "created_at", "id"),
        Index("ix_mails_sender", "workspace_id", "sender_key", "created_at", "id"),
    )

    message_id: Mapped[uuid.UUID]
    mail_address_id: Mapped[uuid.UUID | None]
    rfc_message_id: Mapped[str | None]
    in_reply_to: Mapped[str | None]
    reference_ids: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    subject: Mapped[str] = mapped_column(default="", server_default="")
    sender_name: Mapped[str | None]
    sender_address: Mapped[str | None] = mapped_column(
        info={"found_by": lambda value: Mail.sender_key == email_key(value)}
    )
    reply_to: Mapped[str | None]
    to_addresses: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    cc_addresses: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    html: Mapped[str | None]
    quoted: Mapped[str | None]
    has_remote_images: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_cut: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_verified: Mapped[bool | None]
    spf: Mapped[str | None]
    dkim: Mapped[str | None]
    automatic: Mapped[str | None]
    threaded_by: Mapped[str | None]
    sender_differs: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    spam_score: Mapped[float | None]
    written_at: Mapped[datetime | None]
    sender_key: Mapped[str | None] = mapped_column(
        Text(collation="C"), Computed(email_key_sql("sender_address"), persisted=True), deferred=True
    )


class MailView(View, kw_only=True):
    """A message as a mail. ``html`` is harmless: no scripts, and the address of a remote image begins with `blocked:`.

    An image whose `src` is `cid:…` is the attachment of that ``contentId``.
    """

    id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[Annotated[uuid.UUID, msgspec.Meta(description="The message of a conversation that it is.")]]
    mail_address_id: ReadOnly[uuid.UUID | None] = None
    rfc_message_id: ReadOnly[str | None] = None
    in_reply_to: ReadOnly[str | None] = None
    reference_ids: ReadOnly[list[str]] = []
    subject: ReadOnly[str] = ""
    sender_name: ReadOnly[str | None] = None
    sender_address: ReadOnly[str | None] = None
    reply_to: ReadOnly[
        Annotated[str, msgspec.Meta(description="Where its sender wants answers, if that is elsewhere.")] | None
    ] = None
    to_addresses: ReadOnly[list[str]] = []
    cc_addresses: ReadOnly[list[str]] = []
    html: ReadOnly[str | None] = None
    quoted: ReadOnly[str | None] = None
    has_remote_images: ReadOnly[bool] = False
    is_cut: ReadOnly[bool] = False
    is_verified: ReadOnly[bool | None] = None
    spf: ReadOnly[str | None] = None
    dkim: ReadOnly[str | None] = None
    automatic: ReadOnly[AutomaticMail | None] = None
    threaded_by: ReadOnly[ThreadedBy | None] = None
    sender_differs: ReadOnly[bool] = False
    spam_score: ReadOnly[float | None] = None
    written_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class MailEvent(TenantRow, Base):
    """What has become of a mail of ours, as SendGrid or a mail server says.

    ``message_id`` is empty while the mail is not known yet.
    """

    large = True
    __tablename__ = "mail_events"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "connection_id", "provider_event_id"),
        refers("connection_id", "workspace_api_keys"),
        refers("message_id", "conversation_messages", on_delete="CASCADE"),
        one_of("kind", MailEventKind),
        Index("ix_mail_events_created", "workspace_id", "created_at", "id"),
        Index("ix_mail_events_message", "workspace_id", "message_id"),
        Index("ix_mail_events_address", "workspace_id", "address_key", "created_at", "id"),
        Index(
            "ix_mail_events_parked",
            "created_at",
            postgresql_where=text("message_id IS NULL AND provider_message_id IS NOT NULL"),
        ),
    )

    connection_id: Mapped[uuid.UUID]
    provider_event_id: Mapped[str]
    provider_message_id: Mapped[str | None]
    message_id: Mapped[uuid.UUID | None]
    kind: Mapped[str]
    address: Mapped[str | None] = mapped_column(
        info={"found_by": lambda value: MailEvent.address_key == email_key(value)}
    )
    at: Mapped[datetime]
    reason: Mapped[str | None]
    url: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    address_key: Mapped[str | None] = mapped_column(
        Text(collation="C"), Computed(email_key_sql("address"), persisted=True), deferred=True
    )


class MailEventView(View, kw_only=True):
    """Something that has become of a mail: ``opened_by_machine`` is a mail program's own look, and no person's."""

    id: ReadOnly[uuid.UUID]
    connection_id: ReadOnly[uuid.UUID]
    provider_event_id: ReadOnly[str]
    provider_message_id: ReadOnly[str | None] = None
    message_id: ReadOnly[uuid.UUID | None] = None
    kind: ReadOnly[MailEventKind]
    address: ReadOnly[
        Annotated[str, msgspec.Meta(description="Whom the mail was for.", examples=["ada@example.com"])] | None
    ] = None
    at: ReadOnly[datetime]
    reason: ReadOnly[str | None] = None
    url: ReadOnly[
        Annotated[str, msgspec.Meta(description="The link that was followed.", examples=["https://example.com/"])]
        | None
    ] = None
    data: ReadOnly[dict[str, Any]] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
