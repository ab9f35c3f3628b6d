"""Calls, and what belongs to them: lines, offers, recordings, transfers, and what providers told."""

import uuid
from typing import Annotated, Literal

import msgspec
from litestar import delete, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import select

from comms.calls import outbound, pausing, transfers
from comms.errors import Missing
from handlers.given import Asker, Db, Here
from handlers.guards import writer
from handlers.resource import READ, crud
from models.communications import (
    Call,
    CallLeg,
    CallLegView,
    CallOffer,
    CallOfferView,
    CallReport,
    CallReportView,
    CallTransfer,
    CallTransferView,
    CallView,
    Recording,
    RecordingView,
)
from models.types import Phone

Number = Annotated[str, msgspec.Meta(max_length=40, extra={"law": Phone().normalise}, examples=["+14155550123"])]

calls = crud(
    "/calls",
    Call,
    CallView,
    filters=(
        "conversation_id",
        "contact_id",
        "phone_number_id",
        "direction",
        "status",
        "outcome",
        "answered_by",
        "queue",
    ),
    verbs=READ,
)
legs = crud(
    "/call-legs",
    CallLeg,
    CallLegView,
    filters=("call_id", "offer_id", "user_id", "role", "status", "provider_call_id"),
    verbs=READ,
)
offers = crud(
    "/call-offers", CallOffer, CallOfferView, filters=("call_id", "state", "origin", "accepted_by"), verbs=READ
)
recordings = crud(
    "/recordings",
    Recording,
    RecordingView,
    search=("transcript",),
    filters=("call_id", "kind", "state", "message_id", "provider_recording_id"),
    verbs=READ,
)
handed_over = crud(
    "/call-transfers", CallTransfer, CallTransferView, filters=("call_id", "kind", "state", "to_user_id"), verbs=READ
)
reports = crud(
    "/call-reports", CallReport, CallReportView, filters=("leg_id", "provider", "provider_call_id"), verbs=READ
)


class NewCall(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whom to call, and which of our numbers they see: without one, our first that can call."""

    to: Annotated[Number, msgspec.Meta(description="The phone to be called, in E.164.")]
    phone_number_id: uuid.UUID | None = None
    record: Annotated[
        bool, msgspec.Meta(description="Whether the conversation is recorded, after a notice.", examples=[False])
    ] = False
    detect_machines: Annotated[
        bool, msgspec.Meta(description="Whether the provider listens if a machine answers.", examples=[True])
    ] = True


class NewCallTransfer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """To whom a call is handed: a member's phone, or a number."""

    kind: Annotated[
        Literal["blind", "warm"],
        msgspec.Meta(description="`blind` at once, `warm` after a word with them.", examples=["warm"]),
    ]
    user_id: uuid.UUID | None = None
    phone_number: Annotated[Number, msgspec.Meta(description="The phone to be rung, in E.164.")] | None = None


@post("/", operation_id="create_call", status_code=202, guards=[writer])
async def place(db: Db, identity: Asker, data: JSONBody[NewCall]) -> CallView:
    """Call somebody: your own phone rings first and, when you have pressed the key, theirs.

    409 while you have no phone (`PUT /me/phone`), 422 when they do not want to hear from us at all. Send an
    `Idempotency-Key`, so that a repeated request rings once.
    """
    row = await outbound.place(
        db,
        identity,
        data.to,
        phone_number_id=data.phone_number_id,
        record=data.record,
        detect_machines=data.detect_machines,
    )
    view: CallView = calls.shown(row)
    return view


async def held(db: Db, identity: Asker, call_id: uuid.UUID) -> Call:
    """The call, which nobody else changes until the commit."""
    row: Call | None = await db.scalar(select(Call).where(Call.id == call_id).with_for_update(key_share=True))
    if row is None:
        raise Missing(f"There is no call {call_id} in this workspace.")
    return row


@post("/{call_id:uuid}/transfer", operation_id="transfer_call", guards=[writer])
async def transfer(
    db: Db, identity: Asker, call_id: FromPath[uuid.UUID], data: JSONBody[NewCallTransfer]
) -> CallTransferView:
    """Hand the call to somebody else, at once or after a word with them. 409 unless somebody talks with the contact."""
    call = await held(db, identity, call_id)
    row = await transfers.begin(db, identity, call, kind=data.kind, user_id=data.user_id, phone=data.phone_number)
    view: CallTransferView = handed_over.shown(row)
    return view


@post("/{call_id:uuid}/transfer-completion", operation_id="complete_call_transfer", guards=[writer])
async def complete(db: Db, identity: Asker, call_id: FromPath[uuid.UUID]) -> CallTransferView:
    """Leave the call to whoever is consulted: the contact joins them, and your line ends."""
    row = await transfers.complete(db, await held(db, identity, call_id))
    view: CallTransferView = handed_over.shown(row)
    return view


@delete(
    "/{call_id:uuid}/transfer",
    operation_id="cancel_call_transfer",
    status_code=200,
    guards=[writer],
    versioned=False,
)
async def cancel(db: Db, identity: Asker, call_id: FromPath[uuid.UUID]) -> CallTransferView:
    """Take the contact back, and leave whoever was consulted. 409 when they are with somebody else already."""
    row = await transfers.cancel(db, await held(db, identity, call_id))
    view: CallTransferView = handed_over.shown(row)
    return view


@post("/{call_id:uuid}/recording-pause", operation_id="pause_call_recording", guards=[writer])
async def pause(service: Here, identity: Asker, call_id: FromPath[uuid.UUID]) -> RecordingView:
    """What is said from now on is not recorded, such as the number of a card. 409 when nothing is recorded."""
    return await pausing.pause(service.database, service.dialler, identity, call_id, paused=True)


@delete("/{call_id:uuid}/recording-pause", operation_id="resume_call_recording", status_code=200, guards=[writer])
async def resume(service: Here, identity: Asker, call_id: FromPath[uuid.UUID]) -> RecordingView:
    """What is said from now on is recorded again."""
    return await pausing.pause(service.database, service.dialler, identity, call_id, paused=False)


@post("/{call_id:uuid}/hang-up", operation_id="hang_up_call", status_code=204, guards=[writer])
async def hang_up(db: Db, identity: Asker, call_id: FromPath[uuid.UUID]) -> None:
    """All lines of the call are about to end; nothing happens to one that is over."""
    await outbound.hang_up(db, await held(db, identity, call_id))


routes = [
    calls.router(place, transfer, complete, cancel, pause, resume, hang_up),
    legs.router(),
    offers.router(),
    recordings.router(),
    handed_over.router(),
    reports.router(),
]
