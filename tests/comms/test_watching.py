"""Conversations in which neither side answers are noticed: only people and agents answer for us."""

from datetime import timedelta
from typing import Any

import pytest

from comms import conversations
from comms.ownership import watching
from comms.service import Service
from models.base import now
from models.communications import Conversation
from tests.conftest import Client
from tests.make import ownership as make

API = "/api/v1"


async def settle(client: Client, **settled: Any) -> None:
    body = {"settings": {"watchdog": {"unansweredSeconds": 3600, "silentSeconds": 3600, **settled}}}
    answer = await client.patch(f"{API}/workspaces/{client.workspace_id}", json=body)
    assert answer.status_code == 200, answer.text


async def says(service: Service, admin: Any, talk: Conversation, who: str, minutes_ago: int, by: Client) -> None:
    """Somebody has said something so long ago."""
    kept = await make.say(service, talk, sender_type="system", to=make.CUSTOMER)
    inbound = "'inbound'" if who == "contact" else "'outbound'"
    user = f"'{by.user_id}'::uuid" if who == "user" else "NULL::uuid"
    await admin.execute(
        f"UPDATE conversation_messages SET (direction, sender_type, sender_user_id, created_at) ="
        f" ({inbound}, $2, {user}, now() - make_interval(mins => $3)) WHERE id = $1",
        kept.id,
        who,
        minutes_ago,
    )
    await admin.execute(
        "UPDATE conversations c SET last_message_at = (SELECT max(created_at) FROM conversation_messages m"
        " WHERE m.conversation_id = c.id)"
    )


async def told(admin: Any, talk: Conversation) -> list[str]:
    rows = await admin.fetch("SELECT event FROM events WHERE subject_id = $1 ORDER BY seq", talk.id)
    return [row["event"].removeprefix("conversation.") for row in rows]


CONTACT, WE, AUTOMATIC = "contact", "user", "system"


@pytest.mark.parametrize(
    ("said", "noticed"),
    [
        ([(CONTACT, 90)], "unanswered"),
        ([(CONTACT, 90), (AUTOMATIC, 89)], "unanswered"),  # "we have your message"
        ([(CONTACT, 90), (AUTOMATIC, 5)], "unanswered"),  # a campaign's
        ([(CONTACT, 90), ("agent", 89)], "fell_silent"),
        ([(CONTACT, 90), (WE, 80), (AUTOMATIC, 5)], "fell_silent"),
        ([(AUTOMATIC, 90)], None),  # nobody has asked anything
        ([(CONTACT, 90), (WE, 30)], None),
        ([(CONTACT, 90), (CONTACT, 30)], "unanswered"),  # who asks again has waited since they asked first
        ([(CONTACT, ago) for ago in range(600, 0, -50)], "unanswered"),
        ([(CONTACT, 300), (WE, 290), (CONTACT, 30)], None),
        ([(CONTACT, 300), (WE, 290), (CONTACT, 90), (AUTOMATIC, 80), (CONTACT, 30)], "unanswered"),
        ([(CONTACT, 65 * 60)], "unanswered"),  # over a long weekend nobody looked
        ([(CONTACT, 60 * 24 * 30), (CONTACT, 5)], "unanswered"),
        ([(CONTACT, 60 * 24 * 30), (AUTOMATIC, 70)], None),  # older than the watch
    ],
)
async def test_silence_is_noticed_once_whatever_we_say_by_ourselves(
    service: Service, owner: Client, talk: Conversation, admin: Any, said: list[tuple[str, int]], noticed: str | None
) -> None:
    await settle(owner)
    for who, minutes_ago in said:
        await says(service, admin, talk, who, minutes_ago, owner)
    looks = [await watching.watch(service.database) for _ in range(2)]
    assert looks == [0 if noticed is None else 1, 0]
    assert await told(admin, talk) == ([] if noticed is None else [noticed])
    if noticed == "unanswered":  # it is no new silence until we have answered
        for who in (AUTOMATIC, CONTACT):
            await says(service, admin, talk, who, 0, owner)
            assert await watching.watch(service.database) == 0


async def test_who_was_put_off_over_the_weekend_is_noticed_once_they_are_back(
    service: Service, owner: Client, talk: Conversation, admin: Any
) -> None:
    await settle(owner)
    await says(service, admin, talk, CONTACT, 65 * 60, owner)
    looks = []
    for until in ("now() + interval '1 hour'", "NULL"):
        await admin.execute(f"UPDATE conversations SET snoozed_until = {until}")
        looks.append(await watching.watch(service.database))
    assert looks == [0, 1]


@pytest.mark.parametrize("ends", ["by its time", "by hand", "with a campaign", "with a merge"])
async def test_who_was_put_off_for_months_is_noticed_once_they_are_back(
    service: Service, owner: Client, talk: Conversation, admin: Any, ends: str
) -> None:
    await settle(owner)
    await says(service, admin, talk, CONTACT, 60 * 24 * 90, owner)
    address = f"{API}/conversations/{talk.id}/snooze"
    tomorrow = (now() + timedelta(days=1)).isoformat()
    assert (await owner.put(address, json={"until": tomorrow})).status_code == 200
    assert await watching.watch(service.database) == 0
    if ends == "by hand":
        assert (await owner.delete(address)).status_code == 200
    elif ends == "with a merge":
        gone, talk = talk, await make.talk(service, talk.workspace_id, "+14155550111")
        merged = await owner.post(f"{API}/contacts/{talk.contact_id}/merge", json={"contactId": str(gone.contact_id)})
        assert merged.status_code in (200, 201), merged.text
    else:
        await admin.execute("UPDATE conversations SET (snoozed_until, put_off_until) = (now(), now())")
        assert await conversations.wake(service.database) == 1
    if ends == "with a campaign":
        await says(service, admin, talk, AUTOMATIC, 5, owner)
    assert [await watching.watch(service.database) for _ in range(2)] == [1, 0]
    assert (await told(admin, talk))[-1] == "unanswered"


@pytest.mark.alters_the_schema  # what is read is counted in a database of its own
async def test_a_look_reads_what_is_young_or_has_just_come_back_however_much_there_is(
    service: Service, owner: Client, talk: Conversation, admin: Any
) -> None:
    await settle(owner)
    await says(service, admin, talk, CONTACT, 60 * 24 * 90, owner)
    for many, put_off in ((20_000, "NULL"), (500, "'2020-01-01'")):
        await admin.execute(_OLD.format(put_off=put_off), owner.workspace_id, many)
    await admin.execute("UPDATE conversations SET put_off_until = now() WHERE id = $1", talk.id)
    await admin.execute("ANALYZE conversations")
    before = await admin.fetchval(_READ)
    assert await watching.watch(service.database) == 1
    await service.database.close()  # whose connections report what they did when they end
    await admin.execute("SELECT pg_stat_clear_snapshot()")
    assert await admin.fetchval(_READ) - before < 100


_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'conversations'"
_OLD = """
INSERT INTO conversations (workspace_id, id, channel, last_message_at, put_off_until, created_at, updated_at)
SELECT $1, gen_random_uuid(), 'sms', now() - make_interval(days => 30 + n), {put_off}, now(), now()
FROM generate_series(1, $2::int) n
"""


async def test_what_was_said_before_the_conversation_was_closed_is_not_waited_for(
    service: Service, owner: Client, talk: Conversation, admin: Any
) -> None:
    """Thanks are answered by closing: what is asked a week later is not late at once."""
    await settle(owner)
    await says(service, admin, talk, CONTACT, 180, owner)
    address = f"{API}/conversations/{talk.id}/closure"
    assert (await owner.post(address)).status_code == 201
    assert (await owner.delete(address)).status_code in (200, 204)
    await says(service, admin, talk, CONTACT, 0, owner)
    assert await watching.watch(service.database) == 0
    await admin.execute("UPDATE conversation_messages SET created_at = now() - interval '2 hours'")
    assert await watching.watch(service.database) == 1


async def test_with_releases_what_is_not_answered_waits_for_somebody_else(
    service: Service, owner: Client, talk: Conversation, admin: Any
) -> None:
    await settle(owner, releases=True)
    await owner.put(f"{API}/conversations/{talk.id}/ownership")
    await says(service, admin, talk, CONTACT, 90, owner)
    assert await watching.watch(service.database) == 1
    row = await make.now_of(service, talk)
    assert (row.assigned_to, row.ownership_reason) == (None, "not answered for 3600 seconds")


async def test_what_cannot_be_told_stops_nobody_elses_watch(
    service: Service, owner: Client, stranger: Client, talk: Conversation, admin: Any
) -> None:
    await settle(owner)
    broken = {"watchdog": {"unansweredSeconds": "soon"}}
    await admin.execute(
        "UPDATE workspaces SET settings = $2::jsonb WHERE id = $1", stranger.workspace_id, str(broken).replace("'", '"')
    )
    bad = await make.talk(service, talk.workspace_id, "+14155550111")
    for one in (talk, bad):
        await says(service, admin, one, CONTACT, 90, owner)
    await admin.execute(
        f"ALTER TABLE conversations ADD CONSTRAINT broken CHECK (id <> '{bad.id}' OR silence_told_at IS NULL) NOT VALID"
    )
    try:
        assert await watching.watch(service.database) == 1
        assert (await told(admin, talk), await told(admin, bad)) == (["unanswered"], [])
    finally:
        await admin.execute("ALTER TABLE conversations DROP CONSTRAINT broken")
    assert await watching.watch(service.database) == 1
    assert await told(admin, bad) == ["unanswered"]
