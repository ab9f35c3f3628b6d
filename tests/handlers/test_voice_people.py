"""Who is rung for a call, and what becomes of it when they do not do what they might: by the webhooks of each step."""

import io
import wave
from typing import Any

import httpx
import pytest

from comms.calls import queueing
from comms.directory import Connection
from comms.service import Service
from comms.simulators import wire
from tests.comms.calls.flows import document
from tests.conftest import Client
from tests.handlers.voice import spoken, verbs
from tests.handlers.webhooks import post, rows
from tests.make import calls
from tests.screens import serving, watching

OWNER = "+14155550111"


class Ringing:
    """The owner's phone rings for a caller."""

    def __init__(self, line: Connection, anonymous: httpx.AsyncClient, admin: Any) -> None:
        self.line = line
        self.caller, self.member = wire.sid("CA"), wire.sid("CA")
        self._anonymous = anonymous
        self._admin = admin

    async def calls(self, **more: str) -> httpx.Response:
        return await post(self._anonymous, spoken(self.line, "voice", sid=self.caller, **more))

    async def caller_is_asked(self, kind: str, **more: Any) -> httpx.Response:
        said = {"CallStatus": "in-progress"} | more
        return await post(self._anonymous, spoken(self.line, kind, sid=self.caller, **said))

    async def member_is(self, kind: str, **more: str) -> httpx.Response:
        """What the provider asks or tells of the owner's line."""
        [offer] = [row for row in await self.offers() if row["state"] in ("offered", "accepted")]
        [leg] = [leg for leg in await rows(self._admin, "call_legs", self.line.workspace_id) if leg["offer_id"]]
        said = {"CallStatus": "in-progress", "Direction": "outbound-dial"} | more
        query = {"leg": leg["id"], "token": offer["token"]}
        return await post(self._anonymous, spoken(self.line, kind, sid=self.member, query=query, **said))

    async def told_of(self, leg_id: Any, **said: str) -> None:
        request = spoken(self.line, "voice-status", sid=self.member, query={"leg": leg_id}, **said)
        assert (await post(self._anonymous, request)).status_code == 204

    async def offers(self) -> list[dict[str, Any]]:
        return await rows(self._admin, "call_offers", self.line.workspace_id)


@pytest.fixture
async def ringing(
    line: Connection, service: Service, owner: Client, anonymous: httpx.AsyncClient, admin: Any
) -> Ringing:
    await calls.phone(service, line.workspace_id, owner.user_id, OWNER)
    await calls.flow(service, line, document(hello={"type": "ring", "users": [str(owner.user_id)], "next": "message"}))
    return Ringing(line, anonymous, admin)


@pytest.fixture
async def queued(ringing: Ringing, service: Service, owner: Client, admin: Any) -> Ringing:
    """The caller waits in a queue, and the owner's phone rings for them."""
    queue = {"type": "queue", "users": [str(owner.user_id)], "next": "message"}
    await calls.flow(service, ringing.line, document(hello=queue))
    await ringing.calls()
    [call] = await rows(admin, "calls", ringing.line.workspace_id)
    await queueing.ring(service.database, ringing.line.workspace_id, call["id"])
    return ringing


async def test_an_offer_is_on_the_screen_from_the_first_ring_to_the_key(
    ringing: Ringing, app: Any, owner: Client
) -> None:
    async with serving(app) as url, watching(url, owner.token) as screen:
        await ringing.calls()
        await ringing.member_is("voice-accepted", Digits="1")
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["event"] != "call_offer.accepted":
            seen.append(await screen.next("event"))
    offered = next(frame["data"] for frame in seen if frame["event"] == "call_offer.created")
    assert (offered["state"], offered["userIds"]) == ("offered", [str(owner.user_id)])
    assert {"seconds", "expiresAt", "round"} <= offered.keys()
    assert "token" not in offered
    assert seen[-1]["data"]["acceptedBy"] == str(owner.user_id)


async def test_whoever_has_picked_up_in_time_may_think_before_they_press_the_key(
    ringing: Ringing, service: Service, admin: Any
) -> None:
    await ringing.calls()
    await admin.execute("UPDATE call_offers SET expires_at = now() + interval '1 second'")
    assert verbs(await ringing.member_is("voice-accept")) == ["Gather", "Hangup"]
    await admin.execute("UPDATE call_offers SET expires_at = expires_at - interval '5 seconds'")
    await queueing.expire_offers(service.database)
    assert verbs(await ringing.member_is("voice-accepted", Digits="1")) == []
    [_, leg] = await rows(admin, "call_legs", ringing.line.workspace_id)
    assert leg["status"] == "in_progress"  # although no report has come


async def test_the_conversation_says_who_took_the_call(ringing: Ringing, owner: Client, admin: Any) -> None:
    await ringing.calls()
    for _ in range(2):
        await ringing.member_is("voice-accepted", Digits="1")
    said = [row["content"] for row in await rows(admin, "conversation_messages", ringing.line.workspace_id)]
    assert said[0] == "Incoming call"
    assert [line for line in said if line.endswith("has taken the call")] == said[1:]
    assert len(said) == 2


async def test_a_caller_whose_agent_has_hung_up_before_they_could_speak_waits_as_before(
    queued: Ringing, admin: Any
) -> None:
    assert verbs(await queued.member_is("voice-accepted", Digits="1", Direction="outbound-api")) == ["Dial", "Hangup"]
    assert verbs(await queued.caller_is_asked("voice-hold")) == ["Pause"]  # about to be put through
    gone = {"CallStatus": "completed", "Direction": "outbound-api", "SequenceNumber": "3"}
    assert (await queued.member_is("voice-status", **gone)).status_code == 204
    assert verbs(await queued.caller_is_asked("voice-hold"))[0] == "Say"
    [call] = await rows(admin, "calls", queued.line.workspace_id)
    assert (call["queue"], call["answered_at"]) == ("hello", None)


async def test_in_a_queue_the_next_in_order_is_rung_as_soon_as_one_declines(
    ringing: Ringing, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    await calls.phone(service, ringing.line.workspace_id, member.user_id, "+14155550112")
    users = [str(owner.user_id), str(member.user_id)]
    queue = {"type": "queue", "users": users, "order": "in_order", "next": "message"}
    await calls.flow(service, ringing.line, document(hello=queue))
    await ringing.calls()
    [call] = await rows(admin, "calls", ringing.line.workspace_id)
    await queueing.ring(service.database, ringing.line.workspace_id, call["id"])
    declined = {"CallStatus": "busy", "Direction": "outbound-api", "SequenceNumber": "2"}
    for _ in range(2):
        [*_, leg] = await rows(admin, "call_legs", ringing.line.workspace_id)
        ringing.member = wire.sid("CA")
        await ringing.told_of(leg["id"], **declined)
        await queueing.ring(service.database, ringing.line.workspace_id, call["id"])
    offers = await ringing.offers()
    assert [(offer["state"], offer["user_ids"]) for offer in offers] == [
        ("expired", [owner.user_id]),
        ("offered", [member.user_id]),  # and the first is not dialled again at once
    ]


@pytest.mark.parametrize(
    ("sender", "shown"), [("+14155550123", None), ("anonymous", "+14155550100"), ("+266696687", "+14155550100")]
)
async def test_phones_show_our_number_for_a_caller_who_withholds_theirs(
    ringing: Ringing, sender: str, shown: str | None
) -> None:
    answer = await ringing.calls(From=sender)
    assert ("callerId" in answer.text, shown is None or f'callerId="{shown}"' in answer.text) == (
        shown is not None,
        True,
    )


async def test_the_music_of_a_queue_is_there_for_a_provider_to_fetch(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/sounds/hold.wav")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (8_000, 1)
        assert sound.getnframes() == 8_000 * 12


async def test_a_transcript_that_comes_before_its_recording_is_its(ringing: Ringing, admin: Any) -> None:
    await ringing.calls()
    transcript = {"RecordingSid": "RE1", "TranscriptionStatus": "completed", "TranscriptionText": "Call me."}
    answer = await ringing.caller_is_asked("voice-transcription", TranscriptionSid="TR1", **transcript)
    assert answer.status_code == 204
    sound = {"RecordingSid": "RE1", "RecordingUrl": "https://api.twilio.com/x/RE1", "RecordingDuration": "7"}
    for _ in range(2):
        await ringing.caller_is_asked(
            "voice-recording", RecordingStatus="completed", RecordingSource="RecordVerb", **sound
        )
    said = [row["content"] for row in await rows(admin, "conversation_messages", ringing.line.workspace_id)]
    assert said == ["Incoming call", "Voicemail: Call me."]


async def test_a_recording_on_a_foreign_host_is_refused_and_the_message_kept(
    ringing: Ringing, service: Service, admin: Any
) -> None:
    await ringing.calls()
    sound = {"RecordingSid": "RE1", "RecordingUrl": "https://evil.example/RE1", "RecordingDuration": "7"}
    told = await ringing.caller_is_asked("voice-recording", RecordingStatus="completed", **sound)
    assert told.status_code == 204
    [attachment] = await rows(admin, "message_attachments", ringing.line.workspace_id)
    await service.media.fetch(ringing.line.workspace_id, attachment["id"])
    [attachment] = await rows(admin, "message_attachments", ringing.line.workspace_id)
    assert attachment["state"] == "refused"
    said = [row["content"] for row in await rows(admin, "conversation_messages", ringing.line.workspace_id)]
    assert said[-1] == "Recording of the call, 0:07 min"
