"""What providers told us, as they told it, and the chance to hear it again."""

from litestar import get, post
from litestar.response import Stream

from comms.errors import Missing
from handlers.given import Asker, Here, RowId
from handlers.guards import administrator, writer
from handlers.resource import READ, crud
from models.communications import DeliveryReportRow, DeliveryReportView, WebhookReceipt, WebhookReceiptView

BYTES = "application/octet-stream"

receipts = crud(
    "/webhook-receipts",
    WebhookReceipt,
    WebhookReceiptView,
    filters=("state", "provider", "kind", "connection_id", "message_id", "identity"),
    verbs=READ,
)
reports = crud(
    "/delivery-reports",
    DeliveryReportRow,
    DeliveryReportView,
    filters=("message_id", "provider", "provider_message_id", "status"),
    verbs=READ,
)


@get("/{row_id:uuid}/body", operation_id="get_webhook_receipt_body", guards=[administrator], media_type=BYTES)
async def body(service: Here, identity: Asker, row_id: RowId) -> Stream:
    """The request's body, byte for byte."""
    # Its own unit of work, over before a mail is read from the store.
    async with service.database.workspace(identity.workspace_id) as db:
        row = await receipts.find(db, identity, row_id)
    headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
    content = [bytes(row.body)] if row.storage_key is None else await service.media.read(row.storage_key)
    return Stream(content, media_type=BYTES, headers=headers)


@post("/{row_id:uuid}/replay", operation_id="replay_webhook_receipt", status_code=200, guards=[writer])
async def replay(service: Here, identity: Asker, row_id: RowId) -> WebhookReceiptView:
    """The webhook is taken in once more, as if it had just come: what was missing then may be there now."""
    row = await service.replays.replay(identity.workspace_id, row_id)
    if row is None:
        raise Missing(f"There is no webhook receipt {row_id} in this workspace.")
    view: WebhookReceiptView = receipts.shown(row)
    return view


routes = [receipts.router(body, replay), reports.router()]
