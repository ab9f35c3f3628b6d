"""Who wants to hear from us: a ledger of all that was said about it, and where each address stands by it."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table
from models.communications.conversations import ConversationChannel
from models.types import spelt

ConsentState = Literal["opted_in", "opted_out"]
ConsentSays = Literal["stop", "start", "help"]
ConsentSource = Literal[
    "keyword",  # a word that means nothing else, such as STOP
    "provider",  # the provider has understood it, and said so
    "review",  # plain words, which a person has confirmed
    "carrier",  # a send was refused because of an opt-out we had not heard of
    "unsubscribe",
    "resubscribe",
    "complaint",
    "bounce",
    "person",  # a member, by hand
    "chat",  # a visitor has agreed that the chat goes on
]
ReviewState = Literal["open", "confirmed", "dismissed"]

EVERYWHERE = "*"
"""The sender of a word that is about all of the workspace's numbers and addresses."""

Address = Annotated[
    str,
    msgspec.Meta(
        description="Whom it is about: a phone number in E.164, an e-mail address in lower case with its"
        " domain as DNS writes it, or another address.",
        examples=["+14155550199"],
    ),
]
Sender = Annotated[
    str,
    msgspec.Meta(
        description="From whom they do, or do not, want to hear: a number of ours, a messaging service (`MG…`), a mail"
        " address of ours, or `*` for all of them.",
        examples=["+14155550100"],
    ),
]


def _ways(value: str) -> tuple[str, str]:
    """As it is asked for; and spelt as the ledger writes a mail address."""
    return (value, spelt(value).lower())


class Consent(TenantRow, Base):
    """Where an address stands with one of our senders: as its ledger's newest word says, which is of ``heard_at``.

    ``since`` and ``entry_id`` are of the word that changed something: what is said again changes nothing.
    """

    large = True
    __tablename__ = "consents"
    __table_args__ = tenant_table(
        # Of two who say something at once, the later one waits here and sees what the first has said.
        UniqueConstraint("workspace_id", "address", "sender"),
        one_of("state", ConsentState),
        one_of("source", ConsentSource),
        one_of("channel", ConversationChannel),
        Index("ix_consents_created", "workspace_id", "created_at", "id"),
        Index("ix_consents_state", "workspace_id", "state", "created_at", "id"),
    )

    address: Mapped[str] = mapped_column(info={"found_by": lambda value: Consent.address.in_(_ways(value))})
    sender: Mapped[str] = mapped_column(info={"found_by": lambda value: Consent.sender.in_(_ways(value))})
    state: Mapped[str]
    source: Mapped[str]
    channel: Mapped[str]
    since: Mapped[datetime]
    heard_at: Mapped[datetime]
    entry_id: Mapped[uuid.UUID]


class ConsentView(View, kw_only=True):
    """Where an address stands with one of our senders.

    An address of which nothing is known may be written to. Where several senders apply (the number, its messaging
    service, `*`), the newest word counts.
    """

    id: ReadOnly[uuid.UUID]
    address: ReadOnly[Address]
    sender: ReadOnly[Sender]
    state: ReadOnly[
        Annotated[
            ConsentState, msgspec.Meta(description="Whether we may write to them: `opted_in`, or `opted_out`: not.")
        ]
    ]
    source: ReadOnly[Annotated[ConsentSource, msgspec.Meta(description="What says so.", examples=["keyword"])]]
    channel: ReadOnly[ConversationChannel]
    since: ReadOnly[
        Annotated[datetime, msgspec.Meta(description="Since when that is so.", examples=["2026-03-01T12:00:00Z"])]
    ]
    entry_id: ReadOnly[
        Annotated[
            uuid.UUID,
            msgspec.Meta(
                description="The entry of the ledger that says so.", examples=["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"]
            ),
        ]
    ]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class ConsentEntry(TenantRow, Base):
    """One thing that was said about consent. Nothing of it changes but which message of ours has answered it.

    ``proof`` is what makes it itself: what is said twice by the same webhook is kept once. The message may be deleted
    one day, and the entry stays.
    """

    large = True
    __tablename__ = "consent_entries"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "proof"),
        refers_to_member("recorded_by"),
        one_of("says", ConsentSays),
        one_of("source", ConsentSource),
        one_of("channel", ConversationChannel),
        CheckConstraint("source <> 'person' OR (reason IS NOT NULL AND recorded_by IS NOT NULL)", name="reason_given"),
        CheckConstraint("NOT provider_answered OR answer_message_id IS NULL", name="answered_once"),
        Index("ix_consent_entries_created", "workspace_id", "created_at", "id"),
        Index("ix_consent_entries_address", "workspace_id", "address", "created_at", "id"),
        # Which of our own messages an opt-out does not stop: the one that confirms it.
        Index(
            "ix_consent_entries_answer",
            "workspace_id",
            "answer_message_id",
            postgresql_where=text("answer_message_id IS NOT NULL"),
        ),
    )

    address: Mapped[str] = mapped_column(info={"found_by": lambda value: ConsentEntry.address.in_(_ways(value))})
    sender: Mapped[str] = mapped_column(info={"found_by": lambda value: ConsentEntry.sender.in_(_ways(value))})
    says: Mapped[str]
    source: Mapped[str]
    channel: Mapped[str]
    said_at: Mapped[datetime]
    words: Mapped[str | None]
    reason: Mapped[str | None]
    proof: Mapped[str]
    message_id: Mapped[uuid.UUID | None]
    provider_answered: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    answer_message_id: Mapped[uuid.UUID | None]
    recorded_by: Mapped[uuid.UUID | None]


class ConsentEntryView(View, kw_only=True):
    """One entry of the consent ledger: who said what about hearing from whom, and how we know."""

    id: ReadOnly[uuid.UUID]
    address: Address
    sender: Sender = EVERYWHERE
    says: Annotated[
        ConsentSays,
        msgspec.Meta(description="`stop`: write no more; `start`: write again; `help`: they asked who we are."),
    ]
    source: ReadOnly[Annotated[ConsentSource, msgspec.Meta(description="How we know.", examples=["keyword"])]]
    channel: ConversationChannel
    said_at: ReadOnly[datetime]
    words: ReadOnly[
        Annotated[
            str | None, msgspec.Meta(description="The word, the code or the event that says so.", examples=["STOP"])
        ]
    ] = None
    reason: Annotated[
        str | None,
        msgspec.Meta(description="Why a member has entered it by hand.", examples=["She asked for it on the phone."]),
    ] = None
    message_id: ReadOnly[
        Annotated[
            uuid.UUID | None,
            msgspec.Meta(
                description="The message in which it was said.", examples=["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"]
            ),
        ]
    ] = None
    provider_answered: ReadOnly[
        Annotated[bool, msgspec.Meta(description="Whether the provider has answered, so that we must not.")]
    ] = False
    answer_message_id: ReadOnly[
        Annotated[
            uuid.UUID | None,
            msgspec.Meta(
                description="The message with which we have answered.",
                examples=["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b12"],
            ),
        ]
    ] = None
    recorded_by: ReadOnly[uuid.UUID | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class OptOutReview(TenantRow, Base):
    """A message that seems to ask us to stop, in words of its writer's own: a person says whether it does."""

    large = True
    __tablename__ = "opt_out_reviews"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "message_id"),
        refers("message_id", "conversation_messages", on_delete="CASCADE"),
        refers_to_member("decided_by"),
        one_of("channel", ConversationChannel),
        one_of("state", ReviewState),
        CheckConstraint("(state = 'open') = (decided_at IS NULL)", name="decided_at_of_decided"),
        Index("ix_opt_out_reviews_created", "workspace_id", "created_at", "id"),
        Index("ix_opt_out_reviews_open", "workspace_id", "address", postgresql_where=text("state = 'open'")),
    )

    message_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID]
    address: Mapped[str] = mapped_column(info={"found_by": lambda value: OptOutReview.address.in_(_ways(value))})
    sender: Mapped[str]
    channel: Mapped[str]
    words: Mapped[str]
    state: Mapped[str] = mapped_column(default="open", server_default="open")
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[uuid.UUID | None]


class OptOutReviewView(View, kw_only=True):
    """A message that seems to ask us to stop. While it is open, nothing automatic is sent to its writer."""

    id: ReadOnly[uuid.UUID]
    message_id: ReadOnly[uuid.UUID]
    conversation_id: ReadOnly[uuid.UUID]
    address: ReadOnly[Address]
    sender: ReadOnly[Sender]
    channel: ReadOnly[ConversationChannel]
    words: ReadOnly[
        Annotated[str, msgspec.Meta(description="The words that seem to say so.", examples=["please stop texting me"])]
    ]
    state: ReadOnly[ReviewState] = "open"
    decided_at: ReadOnly[datetime | None] = None
    decided_by: ReadOnly[uuid.UUID | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
