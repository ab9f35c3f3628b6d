"""What was recorded of a call: known by the provider's id, kept once, written down where that was asked for.

The sound is fetched as what people attach is (``comms.media``): from the provider's own hosts, with our credentials to
its API and to nobody else.
"""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms.calls import notes, rows
from comms.providers.voice import ToldRecording, ToldTranscript
from models.base import new_id
from models.communications import Call, CallLeg, ConversationMessage, Recording

RANK: Mapping[str, int] = {"in_progress": 0, "paused": 0, "completed": 1, "absent": 1, "failed": 1}
TITLES = {"voicemail": "Voicemail", "call": "Recording of the call"}


async def take_recording(db: AsyncSession, call: Call, kind: str, told: ToldRecording, *, line: str) -> Recording:
    """The recording is known, and once it is complete a message of the conversation has its sound.

    ``call`` is held, and ``line`` the provider's name of the line that records. A recording mentioned with its address,
    and no state, is complete: what it was made for is over.
    """
    state = told.state if told.state is not None and told.state in RANK else _implied(told)
    recording = await _known(db, call, kind, told.id, line)
    before = rows.view_of(recording)
    was_complete = recording.message_id is not None
    if RANK[state] > RANK[recording.state]:
        recording.state = state
    recording.duration_seconds = told.seconds if told.seconds is not None else recording.duration_seconds
    recording.channels = told.channels or recording.channels
    if recording.state == "completed" and told.url and not was_complete:
        sound = f"{told.url}.mp3" if call.provider == "twilio" and not told.url.endswith((".mp3", ".wav")) else told.url
        message = await notes.note(db, call, told.id, _said(recording), content_type="media", sound=sound)
        recording.message_id = None if message is None else message.id
        if kind == "voicemail":
            await _left_message(db, call)
    await rows.tell(db, recording, before, call=call)
    return recording


async def take_transcript(db: AsyncSession, call: Call, told: ToldTranscript, *, line: str) -> None:
    """What was said stands with the recording, and in its message."""
    recording = await _known(db, call, "voicemail", told.recording_id, line)
    before = rows.view_of(recording)
    recording.transcription_status = "completed" if told.was_understood else "failed"
    recording.transcript = told.text or recording.transcript
    if not await rows.tell(db, recording, before, call=call) or recording.message_id is None:
        return
    message = await db.scalar(select(ConversationMessage).where(ConversationMessage.id == recording.message_id))
    if message is not None and message.deleted_at is None:
        await notes.reword(db, message, _said(recording))


async def _known(db: AsyncSession, call: Call, kind: str, provider_recording_id: str, line: str) -> Recording:
    """The row of a recording, made if this is the first that is heard of it."""
    made: Recording | None = await db.scalar(
        insert(Recording)
        .values(
            workspace_id=call.workspace_id,
            id=new_id(),
            call_id=call.id,
            leg_id=select(CallLeg.id)
            .where(
                CallLeg.workspace_id == call.workspace_id,
                CallLeg.provider == call.provider,
                CallLeg.provider_call_id == line,
            )
            .scalar_subquery(),
            kind=kind,
            state="in_progress",
            provider=call.provider,
            provider_recording_id=provider_recording_id,
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "provider", "provider_recording_id"])
        .returning(Recording)
    )
    if made is not None:
        await rows.told_new(db, made, call=call)
        return made
    query = select(Recording).where(
        Recording.provider == call.provider, Recording.provider_recording_id == provider_recording_id
    )
    found: Recording = (await db.scalars(query.with_for_update())).one()
    return found


async def _left_message(db: AsyncSession, call: Call) -> None:
    """A call that ended before its message was known was not simply missed."""
    if call.ended_at is not None and call.outcome in ("missed", "after_hours"):
        before = rows.view_of(call)
        call.outcome = "voicemail"
        await rows.tell(db, call, before)


def _implied(told: ToldRecording) -> str:
    return "completed" if told.url else "in_progress"


def _said(recording: Recording) -> str:
    title = TITLES[recording.kind]
    if recording.transcript:
        return f"{title}: {recording.transcript}"
    if recording.duration_seconds is None:
        return title
    minutes, seconds = divmod(recording.duration_seconds, 60)
    return f"{title}, {minutes}:{seconds:02} min"
