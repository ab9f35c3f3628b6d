"""A text to whoever called and was not answered: the flow says which, and it leaves once, as any message does."""

import uuid
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from comms import outbox, threads
from comms.arrivals.facts import conversation_created
from comms.calls import flow as flows
from comms.calls import rows
from comms.database import Database, driver_of
from comms.errors import Invalid, Unsendable
from models.base import now
from models.communications import Call, WorkspacePhoneNumber

log = structlog.get_logger(__name__)

CHANNEL = "sms"
TOO_LATE = timedelta(hours=1)
"""A call that is heard of later, such as from the provider's log, is nothing to be woken for."""

_TAKES = f"""
SELECT c.id, c.status
FROM (SELECT $1::uuid AS workspace_id, $3::text AS channel, $4::timestamptz AS at) AS i
CROSS JOIN (SELECT $2::uuid AS contact_id) AS p
CROSS JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) AS c
"""


async def text_back(database: Database, workspace_id: uuid.UUID, call_id: uuid.UUID) -> None:
    """Whoever was not answered has a text on its way, if the number's flow has one for them; done twice, one text.

    Consent is asked as for any message, and a caller who withholds who they are gets none.
    """
    try:
        async with database.workspace(workspace_id) as db:
            await _put(db, workspace_id, call_id)
    except (Unsendable, Invalid) as error:  # not even a conversation is begun for it
        log.info("calls.no_text_back", call_id=str(call_id), reason=type(error).__name__)


async def _put(db: AsyncSession, workspace_id: uuid.UUID, call_id: uuid.UUID) -> None:
    call = await rows.held(db, call_id)
    if call is None or call.text_back_id is not None or call.contact_id is None or call.phone_number_id is None:
        return
    if call.ended_at is not None and call.ended_at < now() - TOO_LATE:
        return
    flow = flows.recall(call.flow)
    is_closed = rows.state_of(call).is_closed
    content = flow.after_hours_text if is_closed else flow.missed_call_text
    number = await db.get(WorkspacePhoneNumber, (workspace_id, call.phone_number_id))
    if not content or number is None or not number.capabilities.get("sms") or call.outcome == "answered":
        return
    conversation_id = await conversation_of(db, call, CHANNEL)
    if conversation_id is None:
        return
    before = rows.view_of(call)
    message = await outbox.put(
        db,
        outbox.Intent(
            workspace_id=workspace_id,
            conversation_id=conversation_id,
            content=content,
            number_id=call.phone_number_id,
            to=call.from_address,
            is_reply=True,
            metadata={"callId": str(call.id)},
        ),
    )
    call.text_back_id = message.id
    await rows.tell(db, call, before)


async def conversation_of(db: Any, call: Call, channel: Any) -> uuid.UUID | None:
    """The conversation with the call's contact on that channel, by the one threading rule; None where it is spam."""
    assert call.phone_number_id is not None
    driver = await driver_of(db)
    at = now()
    found = await driver.fetchrow(_TAKES, call.workspace_id, call.contact_id, channel, at)
    if found is not None:
        return None if found["status"] == "spam" else found["id"]
    opening = threads.Opening(call.workspace_id, call.contact_id, channel, call.phone_number_id, at)
    (opened,) = await threads.open_for(driver, [opening])
    if opened.is_new:
        rows.add_facts(db, [conversation_created(opening, opened.id)])
    return opened.id
