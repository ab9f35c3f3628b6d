"""Search by words: over everything, and within lists."""

import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from comms import search
from comms.search import following
from comms.search.following import keep_up
from comms.service import Service
from models.base import now
from models.communications import ConversationMessage, Mail
from models.search import SearchDocument
from tests.conftest import Client
from tests.handlers.test_resources import counted, named
from tests.make import communications as make

API = "/api/v1"


async def said(client: Client, conversation_id: str, content: str, **more: Any) -> str:
    """The id of a message recorded over the API."""
    body = {"conversationId": conversation_id, "direction": "outbound", "content": content, **more}
    answer = await client.post(f"{API}/conversation-messages", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def begun(client: Client, **values: Any) -> str:
    answer = await client.post(f"{API}/conversations", json={"channel": "email", **values})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def met(client: Client, **values: Any) -> str:
    answer = await client.post(f"{API}/contacts", json=values)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def results(client: httpx.AsyncClient, q: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}/search", params={"q": q, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def ids(client: Client, path: str, **query: Any) -> set[str]:
    answer = await client.get(f"{API}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return {item["id"] for item in answer.json()["items"]}


async def test_what_is_written_is_found_at_once_with_its_place_marked(owner: Client) -> None:
    talk = await begun(owner, subject="Rückfrage zur Rechnung")
    message = await said(owner, talk, "Ihre Rechnung <42> & mehr")
    contact = await met(owner, firstName="José", company="Rechnungswesen GmbH")
    found = await results(owner, "rechnung")
    assert {(item["type"], item["id"], item["conversationId"]) for item in found} == {
        ("message", message, talk),
        ("conversation", talk, talk),
        ("contact", contact, None),
    }
    (shown,) = [item["highlights"] for item in found if item["type"] == "message"]
    assert shown == [{"field": "content", "html": "Ihre <mark>Rechnung</mark> &lt;42&gt; &amp; mehr"}]
    assert [item["id"] for item in await results(owner, "jose rechn", types="contact,message")] == [contact]
    assert await results(owner, "jose rechn", types="message") == []


async def test_a_contact_is_found_by_any_of_its_addresses(owner: Client) -> None:
    contact = await met(owner, firstName="Jane", email="jane.doe@example.com", phone="+14155550199")
    other = {"contactId": contact, "kind": "phone", "value": "+442071838750"}
    assert (await owner.post(f"{API}/contact-points", json=other)).status_code == 201
    for q in ("(415) 555-0199", "0199", "jane.doe@exa", "doe", "020 7183 8750", "+44 20 7183", "example jane"):
        assert [item["id"] for item in await results(owner, q)] == [contact], q
        assert await ids(owner, "/contacts", q=q) == {contact}, q
    for q in ("415 555-0198", "oe", "jane.roe"):
        assert await results(owner, q) == []
    (found,) = await results(owner, "0207183")
    assert "<mark>+442071838750</mark>" in found["highlights"][0]["html"]


@pytest.mark.parametrize("few", [0, 1_000])
async def test_an_address_is_found_by_its_own_words_and_not_by_its_contacts_name(
    few: int, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comms.search.lists.FEW", few)
    jane = {"firstName": "Jane", "lastName": "Needle", "phone": "+1 415 555 0123", "email": "Doe.J@Work.example"}
    contact = (await owner.post(f"{API}/contacts", json=jane)).json()["id"]
    points = (await owner.get(f"{API}/contact-points", params={"contactId": contact})).json()["items"]
    phone, mail = (next(point["id"] for point in points if point["kind"] == kind) for kind in ("phone", "email"))
    for q in ("0123", "(415) 555-01", "14155550123"):
        assert await ids(owner, "/contact-points", q=q) == {phone}, q
    for q in ("doe", "WORK exam", "doe.j@work.example"):
        assert await ids(owner, "/contact-points", q=q) == {mail}, q
    for q in ("needle", "jane", "doe 0123", "nothing"):
        assert await ids(owner, "/contact-points", q=q) == set(), q


async def test_words_that_are_changed_or_deleted_are_not_found_any_more(owner: Client) -> None:
    talk = await begun(owner, subject="Needle")
    message = await said(owner, talk, "needle")
    contact = await met(owner, lastName="Needle")
    assert len(await results(owner, "needle")) == 3
    await owner.patch(f"{API}/contacts/{contact}", json={"lastName": "Pin"})
    assert {item["id"] for item in await results(owner, "needle")} == {talk, message}
    assert [item["id"] for item in await results(owner, "pin")] == [contact]
    await owner.patch(f"{API}/conversations/{talk}", json={"subject": "Thimble"})
    assert {item["id"] for item in await results(owner, "needle")} == {message}
    assert [item["id"] for item in await results(owner, "thimble")] == [talk]
    assert (await owner.delete(f"{API}/conversations/{talk}")).status_code == 204
    assert (await owner.delete(f"{API}/contacts/{contact}")).status_code == 204
    assert await results(owner, "needle") == await results(owner, "pin") == []


async def test_another_workspace_finds_nothing_of_it(owner: Client, stranger: Client, admin: Any) -> None:
    await met(owner, lastName="Needle")
    theirs = await met(stranger, lastName="Needle")
    assert [item["id"] for item in await results(stranger, "needle")] == [theirs]
    assert await ids(stranger, "/contacts", q="needle") == {theirs}
    # Not even where two workspaces' marks are the same.
    await admin.execute("UPDATE search_documents SET words = (SELECT words FROM search_documents LIMIT 1)")
    assert len(await results(owner, "needle")) + len(await results(stranger, "needle")) == 1


@pytest.mark.parametrize("q", ["%", "&", "'; DROP TABLE contacts; --", "a:*|b", "!needle", "\\", "<->", ":*"])
async def test_nothing_in_the_words_is_syntax(q: str, owner: Client) -> None:
    contact = await met(owner, lastName="Needle")
    found = [item["id"] for item in await results(owner, q)]
    assert found == ([contact] if "needle" in q else [])
    await ids(owner, "/contacts", q=q)


async def test_what_comes_in_by_webhook_is_found_as_soon_as_the_worker_has_read_the_log(
    service: Service, owner: Client
) -> None:
    sent = await make.sent(service, owner.workspace_id, "SM1")  # past the API, and without an event
    assert await results(owner, "7pm") == []
    await keep_up(service.database)
    assert [item["id"] for item in await results(owner, "7pm")] == [str(sent.id)]
    assert await ids(owner, "/conversation-messages", q="see you") == {str(sent.id)}
    await keep_up(service.database)
    async with service.database.everywhere() as db:
        assert await following.behind(db) == []


async def test_a_deleted_row_is_forgotten_by_the_worker_too(service: Service, owner: Client, admin: Any) -> None:
    await keep_up(service.database)
    contact = await met(owner, lastName="Needle")
    await admin.execute("DELETE FROM contacts")  # as a story of many rows would
    assert await results(owner, "needle") == []
    assert await admin.fetchval("SELECT count(*) FROM search_documents") == 1
    await keep_up(service.database)  # hears of its creation, and does not find it
    assert await admin.fetchval("SELECT count(*) FROM search_documents") == 0
    assert await ids(owner, "/contacts", q="needle") == set(), contact


async def test_pages_go_through_all_buckets_and_meet_everything_once(
    service: Service, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _many(service, owner, 60)
    monkeypatch.setattr(following, "BUCKET", 20)
    await keep_up(service.database, most=10)
    await _many(service, owner, 5)  # not yet taken in
    seen: list[str] = []
    cursor = None
    for _ in range(100):
        query = {"q": "needle", "limit": "7"} | ({"cursor": cursor} if cursor else {})
        page = (await owner.get(f"{API}/search", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 60
    assert await _buckets(service) >= {0, 1, 2}
    times = [item["at"] for item in await results(owner, "needle", limit=100)]
    assert times == sorted(times, reverse=True)


async def test_a_page_holds_as_many_as_any_lists_and_goes_on_for_the_same_question_only(
    service: Service, owner: Client
) -> None:
    await _many(service, owner, 55)
    await keep_up(service.database)
    page = (await owner.get(f"{API}/search", params={"q": "needle"})).json()
    assert len(page["items"]) == 50
    cursor = page["nextCursor"]
    same = (await owner.get(f"{API}/search", params={"q": "needle", "cursor": cursor})).json()
    assert len(same["items"]) == 5
    for other in ({"q": "needl"}, {"q": "needle", "types": "message"}):
        answer = await owner.get(f"{API}/search", params={**other, "cursor": cursor})
        assert (answer.status_code, named(answer)) == (400, {"cursor"}), other


_SCANS = """
SELECT indexrelid::regclass::text, pg_stat_get_xact_numscans(indexrelid)
FROM pg_index WHERE indrelid = 'search_documents'::regclass
"""
# Of workspaces that have next to nothing: a page of the one index is full by them, and none of the other.
_SMALL = """
WITH few AS (
    INSERT INTO workspaces (id, name, slug, created_at, updated_at)
    SELECT id, id, id, now(), now() FROM unnest($1::uuid[]) AS id RETURNING id
)
INSERT INTO search_documents (workspace_id, subject_id, kind, bucket, at, words)
SELECT id, id, 'message', 0, now(), to_tsvector('simple', 'other') FROM few
"""


async def _buckets(service: Service) -> set[int]:
    async with service.database.everywhere() as db:
        return set(await db.scalars(select(SearchDocument.bucket)))


async def _many(service: Service, owner: Client, count: int) -> None:
    talk = await make.conversation(service, owner.workspace_id)
    async with service.database.everywhere() as db:
        for number in range(count):
            db.add(
                ConversationMessage(
                    workspace_id=owner.workspace_id,
                    conversation_id=talk.id,
                    direction="inbound" if number % 2 else "outbound",
                    content=f"a needle, number {number}",
                    sender_type="system",
                    status="received",
                    created_at=now(),
                )
            )


@pytest.mark.parametrize("few", [1, 1_000])
async def test_a_list_of_words_is_the_same_whether_few_or_many_are_meant(
    few: int, service: Service, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _many(service, owner, 30)
    await keep_up(service.database)
    monkeypatch.setattr("comms.search.lists.FEW", few)
    path = f"{API}/conversation-messages"
    seen: list[str] = []
    cursor = None
    while True:
        query = {"q": "needle", "limit": "4", "direction": "inbound"} | ({"cursor": cursor} if cursor else {})
        answer = await owner.get(path, params=query)
        assert answer.status_code == 200, answer.text
        seen += [item["id"] for item in answer.json()["items"]]
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 15
    assert len(await ids(owner, "/conversation-messages", q="numb 7")) == 0
    assert len(await ids(owner, "/conversation-messages", q="needle number 7")) == 1


@pytest.mark.parametrize("others", [0, 150])
async def test_words_are_looked_up_in_their_own_index_and_no_other_is_read_whole(
    others: int, service: Service, owner: Client, admin: Any
) -> None:
    await admin.execute("TRUNCATE search_documents")
    await admin.execute(_SMALL, [uuid.uuid4() for _ in range(others)])
    await _many(service, owner, 20)
    await keep_up(service.database)
    await admin.execute("ANALYZE search_documents")
    question = search.read("needle num")
    assert question is not None

    async def none(*_asked: Any) -> list[Any]:
        return []

    async with service.database.workspace(owner.workspace_id) as db:
        before = set((await db.execute(text(_SCANS))).all())
        found, _ = await search.find(db, question, ["message", "contact"], 50, asker=uuid.uuid4())
        assert len(found) == 20
        order, talk = search.ByCreation(newest=True), uuid.uuid4()
        for table, within in ((ConversationMessage, None), (ConversationMessage, talk), (Mail, None)):
            assert await search.first_rows(db, "needle num", table, 50, order, none, within=within) == []
        scanned = set((await db.execute(text(_SCANS))).all()) - before
    assert {name for name, _ in scanned} == {
        "ix_search_documents_words",
        "ix_search_documents_bucket",
        "ix_search_documents_conversation",
    }


async def test_a_search_takes_as_many_queries_however_much_is_found(service: Service, owner: Client) -> None:
    await met(owner, lastName="Needle")
    await _many(service, owner, 11)
    await keep_up(service.database)
    counts = set()
    for limit in (1, 2, 50):
        with counted() as statements:
            assert len(await results(owner, "needle", types="message", limit=limit)) == min(limit, 11)
            counts.add(statements())
    with counted() as statements:
        assert len(await results(owner, "needle")) == 12
        counts.add(statements())
    assert len(counts) == 1
    assert counts != {0}


async def test_nobody_searches_without_a_token_and_a_viewer_may(anonymous: httpx.AsyncClient, viewer: Client) -> None:
    assert (await anonymous.get(f"{API}/search", params={"q": "x"})).status_code == 401
    assert await results(viewer, "x") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("q=", "q"),
        ("q=" + "x" * 501, "q"),
        ("q=a%00b", "q"),
        ("q=a&types=deal", "types"),
        ("q=a&types=", "types"),
        ("q=a&limit=0", "limit"),
        ("q=a&limit=201", "limit"),
        ("q=a&cursor=x", "cursor"),
        ("q=a&cursor=WzEsMiwzXQ", "cursor"),
        ("q=a&sort=at", "sort"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_by_name(query: str, field: str, owner: Client) -> None:
    answer = await owner.get(f"{API}/search?{query}")
    assert answer.status_code == 400, answer.text
    assert named(answer) == {field}


async def test_an_alphabetical_list_minds_no_case_and_puts_the_nameless_last(owner: Client) -> None:
    names = ["bell", "Abel", None, "Zoe", "abba", None, "zack"]
    made = {await met(owner, lastName=name, source=str(uuid.uuid4())): name for name in names}
    for sort in ("lastName", "-lastName"):
        seen: list[str] = []
        cursor = None
        while True:
            query = {"limit": "2", "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = (await owner.get(f"{API}/contacts", params=query)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        listed = [made[identity] for identity in seen]
        expected = ["abba", "Abel", "bell", "zack", "Zoe", None, None]
        assert listed == (expected if sort == "lastName" else expected[::-1])
