"""What the ledger keeps, and what it decides."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from comms import consent
from comms.consent import Question, Word
from comms.service import Service
from models.core import Workspace

US, OUR, OTHER = "+14155550199", "+14155550100", "+14155550101"
NOON = datetime(2026, 11, 22, 20, tzinfo=UTC)  # noon in California
NIGHT = datetime(2026, 11, 22, 6, tzinfo=UTC)  # ten in the evening there


def word(workspace_id: uuid.UUID, says: Any = "stop", **more: Any) -> Word:
    given = {"address": US, "sender": OUR, "source": "keyword", "channel": "sms", "at": NOON, "proof": uuid.uuid4().hex}
    return msgspec.convert({"workspace_id": workspace_id, "says": says, **given, **more}, Word)


def question(workspace_id: uuid.UUID, **more: Any) -> Question:
    given = {"channel": "sms", "address": US, "sender": OUR, "is_reply": True, "at": NOON}
    return msgspec.convert({"workspace_id": workspace_id, **given, **more}, Question)


async def say(service: Service, *words: Word) -> list[consent.Noted]:
    async with service.database.everywhere() as db:
        return await consent.note(db, words)


async def ask(service: Service, *questions: Question) -> list[consent.Decision]:
    async with service.database.everywhere() as db:
        return await consent.decide(db, questions)


async def codes(service: Service, *questions: Question) -> list[str]:
    return [decision.code for decision in await ask(service, *questions)]


async def test_who_said_stop_is_refused_from_that_sender_only_until_they_say_start(
    service: Service, workspace_id: uuid.UUID
) -> None:
    here, elsewhere = question(workspace_id), question(workspace_id, sender=OTHER)
    assert await codes(service, here, elsewhere) == ["allowed", "allowed"]
    assert (await say(service, word(workspace_id)))[0].moved
    refused, allowed = await ask(service, here, elsewhere)
    assert (refused.refused, refused.allowed, allowed.allowed) == (True, False, True)
    assert refused.words == f"they do not want to hear from {OUR} since 2026-11-22 20:00 UTC: they wrote so"
    assert refused.explained(NOON)["entryId"] == str(refused.entry_id)
    await say(service, word(workspace_id, "start", at=NOON + timedelta(minutes=1)))
    assert await codes(service, here) == ["allowed"]


async def test_the_newest_of_all_that_applies_decides(service: Service, workspace_id: uuid.UUID) -> None:
    await say(service, word(workspace_id, sender="*"))
    assert await codes(service, question(workspace_id, sender=OTHER)) == ["opted_out"]
    await say(service, word(workspace_id, "start", at=NOON + timedelta(minutes=1)))
    here, elsewhere = question(workspace_id), question(workspace_id, sender=OTHER)
    assert await codes(service, here, elsewhere) == ["allowed", "opted_out"]


async def test_a_word_that_comes_late_does_not_undo_a_newer_one(service: Service, workspace_id: uuid.UUID) -> None:
    await say(service, word(workspace_id, "start"))
    late = await say(service, word(workspace_id, at=NOON - timedelta(hours=1)))
    assert late[0].entry_id is not None
    assert not late[0].moved
    assert await codes(service, question(workspace_id)) == ["allowed"]


async def test_who_says_stop_again_is_not_undone_by_a_start_in_between_that_comes_late(
    service: Service, workspace_id: uuid.UUID
) -> None:
    await say(service, word(workspace_id), word(workspace_id, sender="*"))
    again = NOON + timedelta(minutes=2)
    for noted in await say(service, word(workspace_id, at=again), word(workspace_id, sender="*", at=again)):
        assert not noted.moved
    # The sweep has found what they said between the two; it is in the ledger, and undoes neither.
    (late,) = await say(service, word(workspace_id, "start", at=NOON + timedelta(minutes=1)))
    assert late.entry_id is not None
    assert not late.moved
    (refused,) = await ask(service, question(workspace_id, sender=OUR))
    assert refused.code == "opted_out"
    # Nor does a start to one number that is older than the newest stop to all of them.
    await say(service, word(workspace_id, "start", sender=OTHER, at=NOON + timedelta(minutes=1)))
    assert await codes(service, question(workspace_id, sender=OTHER)) == ["opted_out"]
    await say(service, word(workspace_id, "start", at=again + timedelta(minutes=1)))
    assert await codes(service, question(workspace_id)) == ["allowed"]


async def test_what_is_said_twice_is_one_entry_whatever_was_said_in_between(
    service: Service, workspace_id: uuid.UUID, admin: Any
) -> None:
    carrier = word(workspace_id, source="carrier", proof="twilio:SM1:21610")
    await say(service, carrier)
    await say(service, word(workspace_id, "start", at=NOON + timedelta(minutes=1)))
    again = await say(service, msgspec.structs.replace(carrier, at=NOON + timedelta(minutes=2)))
    assert again == [consent.Noted(None, moved=False)]
    assert await codes(service, question(workspace_id)) == ["allowed"]
    assert await admin.fetchval("SELECT count(*) FROM consent_entries") == 2


async def test_many_who_say_the_same_at_once_move_it_once(
    service: Service, workspace_id: uuid.UUID, admin: Any
) -> None:
    noted = await asyncio.gather(*(say(service, word(workspace_id, proof=f"{number % 5}")) for number in range(20)))
    assert sum(one.entry_id is not None for (one,) in noted) == 5
    assert sum(one.moved for (one,) in noted) == 1
    assert await admin.fetchval("SELECT count(*) FROM events WHERE event = 'consent.withdrawn'") == 1


async def test_yes_means_start_only_to_who_has_said_stop(service: Service, workspace_id: uuid.UUID) -> None:
    yes = {"words": "YES", "only_if_stopped": True}
    assert await say(service, word(workspace_id, "start", **yes)) == [consent.Noted(None, moved=False)]
    await say(service, word(workspace_id))
    assert (await say(service, word(workspace_id, "start", at=NOON + timedelta(minutes=1), **yes)))[0].moved


async def test_yes_means_nothing_where_a_start_has_come_after_their_stop(
    service: Service, workspace_id: uuid.UUID
) -> None:
    await say(service, word(workspace_id))
    await say(service, word(workspace_id, "start", sender="*", at=NOON + timedelta(minutes=1)))
    yes = word(workspace_id, "start", at=NOON + timedelta(minutes=2), words="YES", only_if_stopped=True)
    assert await say(service, yes) == [consent.Noted(None, moved=False)]


@pytest.mark.parametrize(
    ("address", "same"),
    [("whatsapp:+14155550199", US), ("Jane@Example.COM", "jane@example.com"), ("messenger:1234567890", "1234567890")],
)
async def test_an_address_is_one_however_it_is_written(
    service: Service, workspace_id: uuid.UUID, address: str, same: str
) -> None:
    await say(service, word(workspace_id, address=address))
    assert await codes(service, question(workspace_id, address=same)) == ["opted_out"]


async def test_at_night_only_answers_leave(service: Service, workspace_id: uuid.UUID) -> None:
    async with service.database.everywhere() as db:
        (await db.get_one(Workspace, workspace_id)).settings = {"quietHours": {"start": "21:00", "end": "08:00"}}
    answer, first = question(workspace_id, at=NIGHT), question(workspace_id, at=NIGHT, is_reply=False)
    allowed, later = await ask(service, answer, first)
    assert allowed.allowed
    assert (later.allowed, later.refused) == (False, False)
    assert later.code == "quiet_hours"
    assert later.time_zone == "America/Los_Angeles"
    assert later.not_before == datetime(2026, 11, 22, 16, tzinfo=UTC)
    assert await codes(service, question(workspace_id, is_reply=False)) == ["allowed"]
    assert await codes(service, question(workspace_id, channel="email", at=NIGHT, is_reply=False)) == ["allowed"]


@pytest.mark.parametrize(("quiet", "by_hand", "automatic"), [(None, True, False), (False, True, True)])
async def test_without_a_setting_the_laws_hours_hold_what_is_automatic(
    service: Service, workspace_id: uuid.UUID, quiet: Any, by_hand: bool, automatic: bool
) -> None:
    async with service.database.everywhere() as db:
        (await db.get_one(Workspace, workspace_id)).settings = {"quietHours": quiet}
    asked = question(workspace_id, at=NIGHT, is_reply=False)
    decisions = await ask(service, asked, msgspec.structs.replace(asked, is_automatic=True))
    assert [decision.allowed for decision in decisions] == [by_hand, automatic]


async def test_many_are_decided_by_one_statement_and_each_in_its_own_workspace(
    service: Service, workspace_id: uuid.UUID, stranger: Any
) -> None:
    await say(service, word(workspace_id))
    theirs = question(stranger.workspace_id)
    many = [question(workspace_id, address=f"+1415555{number:04}") for number in range(500)]
    decided = await codes(service, *many, theirs)
    assert decided.index("opted_out") == 199
    assert decided.count("allowed") == 500
