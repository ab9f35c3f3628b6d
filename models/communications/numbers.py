"""The numbers people reach a business on."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table
from models.types import Currency, OurNumber, is_currency

NumberProvider = Literal["signalwire", "twilio"]
NumberStatus = Literal["active", "pending", "suspended", "released"]


def everything() -> dict[str, Any]:
    """The capabilities of an ordinary number."""
    return {"voice": True, "sms": True, "mms": True}


class WorkspacePhoneNumber(TenantRow, Base):
    """A number of ours. A webhook's ``To`` is mapped to it; a released one maps to nothing."""

    __tablename__ = "workspace_phone_numbers"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "phone_number"),
        refers("connection_id", "workspace_api_keys", on_delete="SET NULL"),
        one_of("provider", NumberProvider),
        one_of("status", NumberStatus),
        refers("fallback_number_id", "workspace_phone_numbers", on_delete="SET NULL"),
        CheckConstraint("fallback_number_id <> id", name="fallback_number_id_is_another"),
        CheckConstraint("monthly_price >= 0", name="monthly_price_range"),
        is_currency("currency"),
        CheckConstraint("segments_per_second BETWEEN 1 AND 10000", name="segments_per_second_range"),
        Index("ix_workspace_phone_numbers_created", "workspace_id", "created_at", "id"),
    )

    connection_id: Mapped[uuid.UUID | None]
    phone_number: Mapped[str] = mapped_column(OurNumber)
    friendly_name: Mapped[str | None]
    provider: Mapped[str]
    capabilities: Mapped[dict[str, Any]] = mapped_column(
        default=everything,
        server_default=text("""'{"voice": true, "sms": true, "mms": true}'"""),
    )
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    monthly_price: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    voice_flow: Mapped[dict[str, Any] | None]
    segments_per_second: Mapped[int | None]
    fallback_number_id: Mapped[uuid.UUID | None]
    # When it is free again; written with every message it sends, so it is no change that anybody is told of.
    paced_until: Mapped[datetime | None]
    replies_until: Mapped[datetime | None]
    messaging_service_sid: Mapped[str | None]


class WorkspacePhoneNumberView(View, kw_only=True):
    """A number of ours: E.164, a short code, or a messenger:/rcs: address, exactly as webhooks name it."""

    id: ReadOnly[uuid.UUID]
    connection_id: uuid.UUID | None = None
    phone_number: str
    friendly_name: str | None = None
    provider: NumberProvider
    capabilities: dict[str, Any] = msgspec.field(default_factory=everything)
    status: NumberStatus = "active"
    monthly_price: Decimal | None = None
    currency: str = "USD"
    voice_flow: (
        Annotated[
            dict[str, Any],
            msgspec.Meta(
                description="What a caller of this number hears and where they get, as docs/voice.md describes it."
                " Without one they may leave a message.",
                examples=[{"start": "message", "steps": {"message": {"type": "voicemail"}}}],
            ),
        ]
        | None
    ) = None
    segments_per_second: Annotated[
        int | None,
        msgspec.Meta(
            description="How fast messages leave by this number, from 1 to 10000 segments a second; null is what"
            " providers allow such a number by default.",
            examples=[1],
        ),
    ] = None
    fallback_number_id: Annotated[
        uuid.UUID | None,
        msgspec.Meta(description="The number that new messages leave by while this one's provider takes none."),
    ] = None
    messaging_service_sid: Annotated[
        str | None,
        msgspec.Meta(
            description="The messaging service the number is in: who opts out of one of its numbers opts out of all.",
            examples=["MG3f8e2c6d0b5a4e7f9c1d2e3f4a5b6c7d"],
        ),
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
