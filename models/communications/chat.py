"""Live chat: the widgets that websites show, who chats there, and what each of them sees."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table
from models.types import Email, Phone

ContinuesBy = Literal["sms", "email"]
SHORTEST_GRACE, LONGEST_GRACE = 1, 86_400


class ChatWidget(TenantRow, Base):
    """What a website shows to chat with us. Its ``key`` is public; its secret proves whom the website knows."""

    __tablename__ = "chat_widgets"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "key"),
        # A visitor names nothing else, before anything is known about the workspace.
        Index("ix_chat_widgets_key", "key"),
        refers("phone_number_id", "workspace_phone_numbers", on_delete="SET NULL"),
        refers("mail_address_id", "workspace_mail_addresses", on_delete="SET NULL"),
        one_of("continues_by", ContinuesBy),
        CheckConstraint(f"grace_seconds BETWEEN {SHORTEST_GRACE} AND {LONGEST_GRACE}", name="grace_seconds_range"),
        CheckConstraint("num_nulls(encrypted_secret, iv, auth_tag, encryption_key_id) IN (0, 4)", name="secret_whole"),
        Index("ix_chat_widgets_created", "workspace_id", "created_at", "id"),
    )

    key: Mapped[str]
    name: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    allowed_origins: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    texts: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    colours: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    hours: Mapped[dict[str, Any] | None]
    pre_chat_fields: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    shows_names: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    continues_by: Mapped[str | None]
    phone_number_id: Mapped[uuid.UUID | None]
    mail_address_id: Mapped[uuid.UUID | None]
    grace_seconds: Mapped[int] = mapped_column(default=120, server_default=text("120"))
    encrypted_secret: Mapped[bytes | None]
    iv: Mapped[bytes | None]
    auth_tag: Mapped[bytes | None]
    encryption_key_id: Mapped[str | None]
    last_four: Mapped[str | None]
    next_last_four: Mapped[str | None]


class ChatWidgetView(View, kw_only=True):
    """A widget, without its secret. Whoever visits a page of its ``allowedOrigins`` may chat, as long as it is active.

    ``nextLastFour`` is there during a rotation, when identities proved with either secret are believed.
    """

    id: ReadOnly[uuid.UUID]
    key: Annotated[
        ReadOnly[str],
        msgspec.Meta(description="Names the widget in the page: public, no secret.", examples=["cw_8sK2vT9qLm4xYb1c"]),
    ]
    name: str
    is_active: bool = True
    allowed_origins: Annotated[
        list[str],
        msgspec.Meta(
            description="Where its pages are: `https://shop.example.com`, or `https://*.example.com` for all below.",
            examples=[["https://shop.example.com"]],
        ),
    ] = []
    texts: Annotated[
        dict[str, str],
        msgspec.Meta(
            description="What it says, by names of your own such as `greeting` and `offline`; the page reads them.",
            examples=[{"greeting": "How can we help?", "offline": "We are out: leave us a message."}],
        ),
    ] = {}
    colours: Annotated[
        dict[str, str],
        msgspec.Meta(description="Its colours, as `#rrggbb`, by names of your own.", examples=[{"accent": "#0a7d55"}]),
    ] = {}
    hours: (
        Annotated[
            dict[str, Any],
            msgspec.Meta(
                description="When somebody answers: `schedule`, `holidays` and `timezone`, as in a number's voice flow;"
                " null is always.",
                examples=[{"schedule": {"mon": [{"from": "09:00", "to": "17:00"}]}, "timezone": "Europe/Berlin"}],
            ),
        ]
        | None
    ) = None
    pre_chat_fields: Annotated[
        list[Any],
        msgspec.Meta(
            description="What a visitor is asked before the first message: `name`, `email`, `phone` or a name of your"
            " own, each with a `label`, and whether it is `required`.",
            examples=[[{"name": "email", "label": "Your e-mail", "required": True}]],
        ),
    ] = []
    shows_names: Annotated[
        bool, msgspec.Meta(description="Whether visitors read the first name of who answers and types.")
    ] = True
    continues_by: Annotated[
        ContinuesBy | None,
        msgspec.Meta(
            description="How a chat goes on once its visitor has left, if they agreed; null: it does not. It takes a"
            " `phoneNumberId`, or a `mailAddressId`.",
            examples=[None],
        ),
    ] = None
    phone_number_id: uuid.UUID | None = None
    mail_address_id: uuid.UUID | None = None
    grace_seconds: Annotated[
        int,
        msgspec.Meta(
            description=f"How long a visitor may be away and has not left, from {SHORTEST_GRACE} to {LONGEST_GRACE}.",
            examples=[120],
        ),
    ] = 120
    last_four: ReadOnly[str | None] = None
    next_last_four: ReadOnly[str | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class Visitor(TenantRow, Base):
    """Who chats in a widget: on one device, or on all of those where the website has proved who it is.

    ``seq`` counts what has changed of what they see, and nothing else. Row by row that is ``chat_messages``.
    """

    large = True
    __tablename__ = "visitors"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "widget_id", "identity"),
        refers("widget_id", "chat_widgets", on_delete="CASCADE"),
        refers("contact_id", "contacts", on_delete="SET NULL"),
        refers("conversation_id", "conversations", on_delete="SET NULL"),
        one_of("continues_by", ContinuesBy),
        CheckConstraint("agreed_at IS NULL OR num_nulls(continues_by, continues_to) = 0", name="agreed_to_something"),
        CheckConstraint("seq >= 0", name="seq_range"),
        Index("ix_visitors_created", "workspace_id", "created_at", "id"),
        Index("ix_visitors_contact", "workspace_id", "contact_id", "created_at", "id"),
        Index("ix_visitors_conversation", "workspace_id", "conversation_id", "created_at", "id"),
    )

    widget_id: Mapped[uuid.UUID]
    identity: Mapped[str | None]
    name: Mapped[str | None]
    email: Mapped[str | None] = mapped_column(Email)
    phone: Mapped[str | None] = mapped_column(Phone)
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    contact_id: Mapped[uuid.UUID | None]
    conversation_id: Mapped[uuid.UUID | None]
    continues_by: Mapped[str | None]
    continues_to: Mapped[str | None]
    agreed_at: Mapped[datetime | None]
    said_at: Mapped[datetime | None]
    transcribed_at: Mapped[datetime | None]
    seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))

    @property
    def is_verified(self) -> bool:
        """Whether the website has proved who it is."""
        return self.identity is not None


class VisitorView(View, kw_only=True):
    """Who chats in a widget. Unless ``isVerified``, who they are is only what they say.

    Their ``contactId`` is whoever has the address they gave; they are shown nothing of that contact.
    """

    id: ReadOnly[uuid.UUID]
    widget_id: ReadOnly[uuid.UUID]
    is_verified: ReadOnly[
        Annotated[bool, msgspec.Meta(description="Whether the website has proved who it is, with the widget's secret.")]
    ] = False
    identity: ReadOnly[
        Annotated[
            str | None,
            msgspec.Meta(description="What was proved: `id:` or `email:` and its value.", examples=["id:4711"]),
        ]
    ] = None
    name: ReadOnly[str | None] = None
    email: ReadOnly[str | None] = None
    phone: ReadOnly[str | None] = None
    fields: ReadOnly[
        Annotated[
            dict[str, str],
            msgspec.Meta(description="What they answered before the chat.", examples=[{"order": "A-17"}]),
        ]
    ] = {}
    contact_id: ReadOnly[uuid.UUID | None] = None
    conversation_id: ReadOnly[uuid.UUID | None] = None
    continues_by: ReadOnly[
        Annotated[ContinuesBy | None, msgspec.Meta(description="How they agreed to go on once they have left.")]
    ] = None
    continues_to: ReadOnly[
        Annotated[str | None, msgspec.Meta(description="The address that it goes on at.", examples=["+14155550199"])]
    ] = None
    agreed_at: ReadOnly[
        Annotated[
            datetime | None, msgspec.Meta(description="When they agreed to that.", examples=["2026-03-01T12:00:00Z"])
        ]
    ] = None
    transcribed_at: ReadOnly[
        Annotated[
            datetime | None,
            msgspec.Meta(description="When a transcript was mailed to them.", examples=["2026-03-01T12:00:00Z"]),
        ]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class VisitorSession(TenantRow, Base):
    """A visitor on one device, with a token until it expires or is revoked; and the page they look at."""

    large = True
    __tablename__ = "visitor_sessions"
    __table_args__ = tenant_table(
        refers("visitor_id", "visitors", on_delete="CASCADE"),
        Index("ix_visitor_sessions_visitor", "workspace_id", "visitor_id", "created_at", "id"),
        Index("ix_visitor_sessions_created", "workspace_id", "created_at", "id"),
    )

    visitor_id: Mapped[uuid.UUID]
    page_url: Mapped[str | None]
    page_title: Mapped[str | None]
    referrer: Mapped[str | None]
    user_agent: Mapped[str | None]
    # While they are connected some seconds ahead, again and again: it is no change that anybody is told of.
    present_until: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class VisitorSessionView(View, kw_only=True):
    """A visitor on one device, and the page they look at."""

    id: ReadOnly[uuid.UUID]
    visitor_id: ReadOnly[uuid.UUID]
    page_url: ReadOnly[
        Annotated[
            str | None,
            msgspec.Meta(description="The page they look at.", examples=["https://shop.example.com/boots"]),
        ]
    ] = None
    page_title: ReadOnly[Annotated[str | None, msgspec.Meta(description="Its title.", examples=["Boots"])]] = None
    referrer: ReadOnly[
        Annotated[
            str | None,
            msgspec.Meta(description="Where they came from.", examples=["https://search.example/?q=boots"]),
        ]
    ] = None
    user_agent: ReadOnly[
        Annotated[str | None, msgspec.Meta(description="What their browser calls itself.", examples=["Mozilla/5.0"])]
    ] = None
    expires_at: ReadOnly[datetime]
    revoked_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class ChatMessage(TenantRow, Base):
    """A message as a visitor sees it: under an id, a ``place`` and a number of change of its own.

    A visitor sees what has a row here and nothing else. One whose message is gone says that it was deleted.
    """

    large = True
    __tablename__ = "chat_messages"
    __table_args__ = tenant_table(
        refers("visitor_id", "visitors", on_delete="CASCADE"),
        refers("message_id", "conversation_messages", on_delete="SET NULL"),
        UniqueConstraint("workspace_id", "visitor_id", "seq"),
        # What a browser sends again after it lost the network is kept once.
        UniqueConstraint("workspace_id", "visitor_id", "client_id"),
        Index(
            "ix_chat_messages_message", "workspace_id", "message_id", postgresql_where=text("message_id IS NOT NULL")
        ),
    )

    visitor_id: Mapped[uuid.UUID]
    message_id: Mapped[uuid.UUID | None]
    place: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    client_id: Mapped[str | None]
