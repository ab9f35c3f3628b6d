"""Calls, and what belongs to them: lines, offers, recordings, transfers, and what providers told."""

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
transfers = crud(
    "/call-transfers", CallTransfer, CallTransferView, filters=("call_id", "kind", "state", "to_user_id"), verbs=READ
)
reports = crud(
    "/call-reports", CallReport, CallReportView, filters=("leg_id", "provider", "provider_call_id"), verbs=READ
)

routes = [
    calls.router(),
    legs.router(),
    offers.router(),
    recordings.router(),
    transfers.router(),
    reports.router(),
]
