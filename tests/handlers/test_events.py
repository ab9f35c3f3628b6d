"""The activity feed: what became true, found by what it is about, by whom, and when."""

import asyncio
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from comms.events import Fact, encode, record, tell
from comms.service import Service
from models.base import new_id, now
from models.crm import Contact, ContactView
from tests.conftest import Client
from tests.make import people
from tests.make.racing import done_or_waiting
from tests.make.sending import until

API = "/api/v1"
START = now() - timedelta(days=30)
ADA = new_id()


async def happen(service: Service, client: Client, *kinds: str, **more: Any) -> None:
    """Facts of these kinds, an hour after one another."""
    async with service.database.alone() as db:
        await tell(
            db,
            [
                Fact(
                    workspace_id=client.workspace_id,
                    event=kind,
                    subject_type=kind.partition(".")[0],
                    subject_id=new_id(),
                    data=encode({"number": number}),
                    at=START + timedelta(hours=number),
                    **more,
                )
                for number, kind in enumerate(kinds)
            ],
        )


async def feed(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}/events", params={name.rstrip("_"): value for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


KINDS = ("deal.created", "deal.updated", "deal_note.created", "message.received", "contact.created")


async def test_events_are_found_by_their_kinds(service: Service, owner: Client) -> None:
    await happen(service, owner, *KINDS)
    for asked, found in (
        ("deal.updated", ["deal.updated"]),
        ("deal.", ["deal.created", "deal.updated"]),
        ("deal.updated,contact.created", ["deal.updated", "contact.created"]),
        ("deal.,message.received", ["deal.created", "deal.updated", "message.received"]),
        ("deal.nothing", []),
        ("message.,message.received", ["message.received"]),
    ):
        assert [item["event"] for item in await feed(owner, event=asked)] == found, asked
    assert [item["event"] for item in await feed(owner, subjectType="deal")] == ["deal.created", "deal.updated"]
    assert await feed(owner, subjectType="deal", event="contact.") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event", "deal"),
        ("event", "deal.%"),
        ("event", "Deal.updated"),
        ("event", ""),
        ("event", "deal.,"),
        ("event", "a\x00."),
        ("subjectType", "deal'"),
        ("subjectType", "%"),
        ("actorType", "nobody's"),
        ("from", "2026-01-01T00:00:00"),
        ("until", "2026-01-01T00:00:00"),
        ("until", "tomorrow"),
        ("sort", "at"),
        ("cursor", "x"),
        ("actorId", "me"),
        ("noSuchFilter", "1"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_by_name(owner: Client, name: str, value: str) -> None:
    answer = await owner.get(f"{API}/events", params={name: value})
    assert answer.status_code == 400, answer.text
    assert {error["field"] for error in answer.json()["errors"]} == {name}


async def test_events_are_found_by_who_did_it(service: Service, owner: Client, member: Client) -> None:
    await happen(service, owner, "deal.created", actor_type="user", actor_id=owner.user_id)
    await happen(service, owner, "deal.updated", actor_type="user", actor_id=member.user_id)
    await happen(service, owner, "message.received", actor_type="contact", actor_id=ADA)
    await happen(service, owner, "deal.won")
    for query, found in (
        ({"actorId": owner.user_id}, ["deal.created"]),
        ({"actorId": owner.user_id, "actorType": "user"}, ["deal.created"]),
        ({"actorType": "user"}, ["deal.created", "deal.updated"]),
        ({"actorId": ADA}, ["message.received"]),
        ({"actorId": ADA, "actorType": "user"}, []),
        ({"actorType": "system"}, ["deal.won"]),
    ):
        assert [item["event"] for item in await feed(owner, **query)] == found, query


async def test_events_are_found_by_when_it_was(service: Service, owner: Client) -> None:
    await happen(service, owner, *KINDS)
    second, fourth = ((START + timedelta(hours=hours)).isoformat() for hours in (1, 3))
    assert [item["event"] for item in await feed(owner, from_=second, until=fourth)] == list(KINDS[1:3])
    assert [item["event"] for item in await feed(owner, from_=fourth)] == list(KINDS[3:])
    assert [item["event"] for item in await feed(owner, until=second, sort="-seq")] == list(KINDS[:1])


@pytest.mark.parametrize("sort", ["seq", "-seq"])
async def test_pages_hold_every_event_once_while_others_happen(service: Service, owner: Client, sort: str) -> None:
    await happen(service, owner, *KINDS, *KINDS)
    seen: list[int] = []
    cursor = None
    for _ in range(20):
        query = {"sort": sort, "limit": 3, "event": "deal."} | ({"cursor": cursor} if cursor else {})
        page = (await owner.get(f"{API}/events", params=query)).json()
        seen += [item["seq"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        if len(seen) == 3:
            await happen(service, owner, "deal.created")
    assert seen == sorted(set(seen), reverse=sort == "-seq")
    assert len(seen) == (5 if sort == "seq" else 4)


async def test_a_feed_is_followed_from_where_one_was(service: Service, owner: Client) -> None:
    await happen(service, owner, *KINDS)
    assert [item["seq"] for item in await feed(owner, after=3)] == [4, 5]
    assert [item["seq"] for item in await feed(owner, after=3, sort="-seq")] == [5, 4]


async def test_what_commits_late_is_not_skipped_by_who_follows_the_feed(
    service: Service, owner: Client, admin: Any
) -> None:
    """A later number is given out only once whoever has the earlier one is done."""
    await happen(service, owner, "deal.created")
    slow = await service.database.connect()
    try:
        transaction = slow.transaction()
        await transaction.start()
        about = {"subject_type": "deal", "subject_id": new_id(), "data": b"{}", "at": now()}
        [(_, seq)] = await tell(slow, [Fact(workspace_id=owner.workspace_id, event="deal.updated", **about)])
        quick = asyncio.ensure_future(happen(service, owner, "deal.deleted"))
        await until(admin, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        seen = await feed(owner)
        assert [item["event"] for item in seen] == ["deal.created"]
        await transaction.commit()
        await quick
    finally:
        slow.terminate()
    more = await feed(owner, after=seen[-1]["seq"])
    assert [(item["event"], item["seq"]) for item in more] == [("deal.updated", seq), ("deal.deleted", seq + 1)]


async def test_counters_are_locked_in_one_order_whatever_order_the_facts_have(service: Service, admin: Any) -> None:
    spaces = [await people.workspace(admin, f"space-{number}") for number in range(8)]
    first, *others = sorted(spaces)
    await admin.execute("UPDATE event_counters SET seq = seq WHERE workspace_id = $1", first)  # its row lies last now
    about: dict[str, Any] = {"event": "deal.created", "subject_type": "deal", "data": b"{}", "at": now()}

    async def everywhere() -> list[tuple[uuid.UUID, int]]:
        facts = [Fact(workspace_id=here, subject_id=new_id(), **about) for here in (*reversed(others), first)]
        async with service.database.alone() as db:
            return await tell(db, facts)

    free = "SELECT workspace_id FROM event_counters WHERE workspace_id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED"
    async with admin.transaction():
        assert await admin.fetch(free, [first])
        telling = asyncio.ensure_future(everywhere())
        await until(admin, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        assert len(await admin.fetch(free, others)) == len(others), "who waits for the first holds no other"
    assert sorted(await telling) == [(space, 1) for space in (first, *others)]


async def test_nobody_finds_what_is_for_another(
    service: Service, owner: Client, admin_member: Client, member: Client, stranger: Client
) -> None:
    async with service.database.alone() as db:
        facts = [
            Fact(
                workspace_id=owner.workspace_id,
                event=event,
                subject_type=event.partition(".")[0],
                subject_id=new_id(),
                data=encode({"userId": str(owner.user_id)}),
                at=now(),
                actor_type="user",
                actor_id=owner.user_id,
            )
            for event in ("notification.created", "access_token.created", "workspace_api_key.updated")
        ]
        await tell(db, facts)
    query = {"actorId": owner.user_id, "sort": "-seq"}
    assert len(await feed(owner, **query)) == 3
    assert len(await feed(admin_member, **query)) == 2
    assert await feed(member, **query) == []
    assert await feed(member, event="notification.") == []
    assert await feed(stranger, **query) == []


async def test_what_is_not_a_change_has_no_changes(owner: Client) -> None:
    made = (await owner.post(f"{API}/contacts", json={"firstName": "Ada", "tags": ["vip"]})).json()
    address = f"{API}/contacts/{made['id']}"
    await owner.patch(address, json={"firstName": None, "tags": ["vip", "new"], "status": "customer"})
    await owner.delete(address)
    created, updated, deleted = await feed(owner, subjectId=made["id"])
    assert created["changes"] is None
    assert deleted["changes"] is None
    assert updated["changes"] == {
        "firstName": {"before": "Ada", "after": None},
        "tags": {"before": ["vip"], "after": ["vip", "new"]},
        "status": {"before": "lead", "after": "customer"},
    }


async def test_rare_events_and_what_somebody_did_are_found_by_an_index(
    service: Service, owner: Client, admin: Any
) -> None:
    """Among many messages: the plan is asked for with the statement that the feed sends."""
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        """
        INSERT INTO events (workspace_id, seq, event, subject_type, subject_id, actor_type, actor_id, at, data)
        SELECT $1, n, 'message.received', 'message', gen_random_uuid(), 'contact', gen_random_uuid(),
            now() - interval '1 day' + n * interval '1 second', '{}' FROM generate_series(1, 20000) n
        """,
        owner.workspace_id,
    )
    await admin.execute("UPDATE event_counters SET seq = 20000 WHERE workspace_id = $1", owner.workspace_id)
    await admin.execute("SET session_replication_role = origin")
    await happen(service, owner, "deal.created", actor_type="user", actor_id=owner.user_id)
    await admin.execute("VACUUM ANALYZE events")

    for query in (
        {"event": "deal.created"},
        {"subjectType": "deal"},
        {"actorId": str(owner.user_id)},
        {"actorId": str(owner.user_id), "actorType": "user"},
    ):
        for _ in range(
            8
        ):  # after some, a prepared statement may get one plan for all values: it must still see the noun
            assert len(await feed(owner, sort="-seq", **query)) == 1
    await service.database.close()  # whose connections report what they did when they end
    for index in ("ix_events_kind", "ix_events_actor"):
        assert await admin.fetchval("SELECT pg_stat_get_numscans($1::text::regclass)", index) >= 16, index


async def test_an_event_that_does_not_begin_with_its_subject_is_a_mistake_of_ours(
    service: Service, owner: Client
) -> None:
    async with service.database.workspace(owner.workspace_id) as db:
        contact = Contact(workspace_id=owner.workspace_id, id=new_id())
        view = ContactView(id=contact.id, created_at=now(), updated_at=now())
        with pytest.raises(ValueError, match="begins with its noun"):
            record(db, "person.created", contact, view)
        record(db, "contact.created", contact, view)
        db.add(contact)
    assert [item["event"] for item in await feed(owner)] == ["contact.created"]


async def test_a_change_of_state_that_has_a_name_says_what_it_has_changed(owner: Client) -> None:
    token = (await owner.post(f"{API}/access-tokens", json={"name": "ci"})).json()
    assert (await owner.delete(f"{API}/access-tokens/{token['id']}")).status_code == 204
    revoked = (await owner.get(f"{API}/access-tokens/{token['id']}")).json()
    [told] = await feed(owner, event="access_token.revoked")
    assert told["changes"] == {"revokedAt": {"before": None, "after": revoked["revokedAt"]}}


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_told_later_is_committed_later_so_that_no_reader_passes_over_anything(
    service: Service, owner: Client, admin: Any, fails: bool
) -> None:
    async def numbers() -> list[int]:
        rows = await admin.fetch("SELECT seq FROM events WHERE workspace_id = $1 ORDER BY seq", owner.workspace_id)
        return [row["seq"] for row in rows]

    await happen(service, owner, "deal.created")
    [*_, last] = before = await numbers()
    with suppress(LookupError):
        async with service.database.alone() as db:
            seen = Fact(owner.workspace_id, "deal.updated", "deal", new_id(), b"{}", now())
            assert await tell(db, [seen]) == [(owner.workspace_id, last + 1)]
            later = asyncio.create_task(happen(service, owner, "deal.deleted"))
            await done_or_waiting(admin, later)
            assert not later.done()
            assert await numbers() == before
            if fails:
                raise LookupError
    await later
    assert await numbers() == [*before, last + 1, *([] if fails else [last + 2])]


async def test_what_nobody_is_shown_is_named_when_it_changes_and_nothing_more(owner: Client) -> None:
    hidden = {"before": None, "after": None}
    sid, token = "AC" + "0" * 32, "t" * 32
    body = {"provider": "twilio", "name": "main", "secret": {"accountSid": sid, "authToken": token}}
    connection = (await owner.post(f"{API}/workspace-api-keys", json=body)).json()
    address = f"{API}/workspace-api-keys/{connection['id']}"
    replaced = await owner.patch(address, json={"secret": {"accountSid": sid, "authToken": "s" * 28 + "tttt"}})
    assert replaced.status_code == 200, replaced.text
    assert (await owner.patch("/api/v1/me", json={"preferences": {"theme": "dark"}})).status_code == 200
    password = await owner.put("/api/v1/me/password", json={"newPassword": "correct horse battery staple"})
    assert password.status_code == 204, password.text
    for event, changed in (
        ("workspace_api_key.updated", "secret"),
        ("user.updated", "preferences"),
        ("user.password_changed", "password"),
    ):
        [told] = await feed(owner, event=event)
        assert told["changes"] == {changed: hidden}, event


async def test_what_is_told_before_it_is_written_says_what_it_has_changed_and_only_once(
    service: Service, owner: Client
) -> None:
    contact_id = (await owner.post(f"{API}/contacts", json={"firstName": "Ada"})).json()["id"]
    async with service.database.workspace(owner.workspace_id) as db:
        contact = await db.get_one(Contact, (owner.workspace_id, uuid.UUID(contact_id)))
        for name in ("Eve", "Eva"):
            contact.first_name = name
            record(db, "contact.updated", contact, msgspec.convert(contact, ContactView, from_attributes=True))
        await db.flush()
        contact.last_name = "L"
        record(db, "contact.updated", contact, msgspec.convert(contact, ContactView, from_attributes=True))
    assert [item["changes"] for item in await feed(owner, event="contact.updated")] == [
        {"firstName": {"before": "Ada", "after": "Eve"}},
        {"firstName": {"before": "Eve", "after": "Eva"}},
        {"lastName": {"before": None, "after": "L"}},
    ]
