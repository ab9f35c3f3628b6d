"""What is recorded of a call can be paused, while a card's number is read out, and go on again."""

import uuid

from sqlalchemy import select, true

from comms.calls import rows
from comms.calls.dialling import Dialler
from comms.credentials import Identity
from comms.database import Database
from comms.errors import Conflict, Missing, Unavailable
from comms.events import Actor
from comms.providers.outgoing import NotSent, Refused
from models.communications import Call, CallLeg, Recording, RecordingView


async def pause(
    database: Database, dialler: Dialler, asker: Identity, call_id: uuid.UUID, *, paused: bool
) -> RecordingView:
    """The provider has paused the recording of the call, or goes on with it; done twice it is as done once.

    Raises ``Missing``, ``Conflict`` when nothing is recorded, and ``Unavailable`` when the provider does not answer.
    """
    async with database.workspace(asker.workspace_id) as db:
        call = await db.scalar(select(Call).where(Call.id == call_id))
        if call is None:
            raise Missing(f"There is no call {call_id} in this workspace.")
        running = select(Recording).where(
            Recording.call_id == call_id, Recording.kind == "call", Recording.state.in_(("in_progress", "paused"))
        )
        recording = await db.scalar(running.order_by(Recording.created_at.desc()).limit(1))
        # The recording belongs to the line that records, which is not always the caller's: a provider knows no other.
        recorded = CallLeg.id == recording.leg_id if recording is not None and recording.leg_id else true()
        leg = await db.scalar(
            select(CallLeg)
            .where(CallLeg.call_id == call_id, CallLeg.provider_call_id.is_not(None), recorded)
            .order_by(CallLeg.created_at)
            .limit(1)
        )
    if recording is None or leg is None or call.connection_id is None:
        raise Conflict("Nothing of this call is being recorded.")
    try:
        await dialler.pause(call, leg, recording, paused=paused)
    except Refused as error:
        raise Conflict(f"The provider does not do it: {error.words}") from None
    except NotSent as error:
        raise Unavailable(f"The provider does not answer ({type(error).__name__}): try again.") from None
    async with database.workspace(asker.workspace_id, Actor("user", asker.user_id)) as db:
        row = (await db.scalars(select(Recording).where(Recording.id == recording.id).with_for_update())).one()
        before = rows.view_of(row)
        if row.state in ("in_progress", "paused"):
            row.state = "paused" if paused else "in_progress"
        await rows.tell(db, row, before, "paused" if paused else "resumed", call=call)
        view: RecordingView = rows.view_of(row)
        return view
