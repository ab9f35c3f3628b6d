"""Words of one conversation's messages, and of mails: found among those alone, whatever becomes of them."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from comms import search
from comms.directory import Connection
from comms.search import following, keeping
from comms.search.following import keep_up
from comms.service import Service
from models.base import new_id, now
from models.communications import ConversationMessage
from tests.conftest import Client
from tests.handlers.test_contact_merges import merged, two
from tests.handlers.test_mail import took
from tests.make import communications as make
from tests.make.mail import mail

API = "/api/v1"
LONG = 1_300
"""More messages than of a conversation are read before it is asked where the words are."""


async def _found(client: Client, path: str, **query: str) -> list[str]:
    """The ids of all pages."""
    seen: list[str] = []
    cursor = None
    while True:
        asked = {"limit": "200", **query} | ({"cursor": cursor} if cursor else {})
        answer = await client.get(f"{API}{path}", params=asked)
        assert answer.status_code == 200, answer.text
        seen += [item["id"] for item in answer.json()["items"]]
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            return seen


async def _long(service: Service, workspace_id: uuid.UUID) -> tuple[uuid.UUID, list[ConversationMessage]]:
    """A conversation whose messages all have one word, some another, and one a third; and others beside it."""
    talk, other = [await make.conversation(service, workspace_id) for _ in range(2)]
    began = now() - timedelta(days=1)
    rows = [
        ConversationMessage(
            id=new_id(),
            workspace_id=workspace_id,
            conversation_id=talk.id if number < LONG else other.id,
            direction="inbound" if number % 3 else "outbound",
            content="everywhere" + " sometimes" * (number % 40 == 7) + " once" * (number in (5, LONG + 5)),
            sender_type="system",
            status="received",
            created_at=began + timedelta(seconds=number // 2),
        )
        for number in range(LONG + 50)
    ]
    async with service.database.everywhere() as db:
        db.add_all(rows)
    return talk.id, rows


@pytest.mark.parametrize("bucket", [200, 20_000])
async def test_a_long_conversation_shows_its_own_messages_in_order_however_common_the_words(
    bucket: int, service: Service, owner: Client, stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BUCKET", bucket)
    talk, rows = await _long(service, owner.workspace_id)
    await _long(service, stranger.workspace_id)
    await keep_up(service.database)
    for q in ("everywhere", "some", "once", "everywhere o", "nowhere"):
        for newest in (True, False):
            for direction in (None, "inbound"):
                meant = [
                    row
                    for row in rows
                    if row.conversation_id == talk
                    and direction in (None, row.direction)
                    and all(any(word.startswith(part) for word in row.content.split()) for part in q.split())
                ]
                meant.sort(key=lambda row: (row.created_at, row.id), reverse=newest)
                query = {"q": q, "sort": "-createdAt" if newest else "createdAt"}
                query |= {"direction": direction} if direction else {}
                told = [str(row.id) for row in meant]
                assert await _found(owner, f"/conversations/{talk}/messages", **query) == told, query
                assert await _found(owner, "/conversation-messages", conversationId=str(talk), **query) == told, query
    assert await _found(stranger, "/conversation-messages", conversationId=str(talk), q="everywhere") == []


@pytest.mark.parametrize(
    ("q", "word", "most"),
    [
        ("some", "sometimes", LONG),
        ("sometimes every", "sometimes", LONG),
        ("sometimes everywhere o", "none", LONG),
        ("everywhere onc", "once", 2 * LONG),  # the word that all have is looked up first
    ],
)
async def test_words_that_are_rare_in_a_long_conversation_are_looked_up_among_its_own_messages_alone(
    q: str, word: str, most: int, service: Service, owner: Client, admin: Any
) -> None:
    talk, rows = await _long(service, owner.workspace_id)
    await keep_up(service.database)
    await admin.execute(
        """
        INSERT INTO search_documents (workspace_id, subject_id, kind, bucket, at, words)
        SELECT $1, gen_random_uuid(), 'message', 0, now(),
            string_agg(search_tag($1, 'message', 0) || word, ' ')::tsvector
        FROM generate_series(1, 700) AS n, unnest(ARRAY['everywhere', 'sometimes', 'once']) AS word GROUP BY n
        """,
        owner.workspace_id,
    )
    meant = [row.id for row in rows if row.conversation_id == talk and word in row.content]
    read = """
        SELECT sum(pg_stat_get_xact_tuples_fetched(c.oid)) FROM pg_class c
        WHERE c.oid = 'search_documents'::regclass
            OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'search_documents'::regclass)
        """

    async def shown(more: Any, _place: Any) -> list[Any]:
        return (await db.scalars(select(ConversationMessage.id).where(*more))).all()

    async with service.database.workspace(owner.workspace_id) as db:
        before = await db.scalar(text(read))
        found = await search.first_rows(
            db, q, ConversationMessage, 50, search.ByCreation(newest=True), shown, within=talk, filtered=False
        )
        assert set(found) == set(meant)
        assert await db.scalar(text(read)) - before < most


async def test_words_that_a_bucket_is_full_of_show_every_row_once_and_in_order(
    service: Service, owner: Client, stranger: Client
) -> None:
    _, rows = await _long(service, owner.workspace_id)
    await _long(service, stranger.workspace_id)
    await keep_up(service.database)
    told = [str(row.id) for row in sorted(rows, key=lambda row: (row.created_at, row.id))]
    assert await _found(owner, "/search", q="everywhere", limit="10") == told[::-1]
    assert await _found(owner, "/conversation-messages", q="everywhere", limit="10") == told[::-1]
    assert await _found(owner, "/conversation-messages", q="everywhere", limit="10", sort="createdAt") == told


async def test_words_kept_while_a_merge_moved_their_message_are_found_where_it_is(
    service: Service, owner: Client, admin: Any
) -> None:
    kept, gone = await two(owner)
    talks, said = [], []
    for contact in (kept, gone):
        body: dict[str, str] = {"channel": "sms", "contactId": contact}
        talks.append((await owner.post(f"{API}/conversations", json=body)).json()["id"])
        body = {"conversationId": talks[-1], "direction": "outbound", "content": "A needle"}
        said.append((await owner.post(f"{API}/conversation-messages", json=body)).json()["id"])
    await keep_up(service.database)
    await merged(owner, kept, gone)
    path = f"/conversations/{talks[0]}/messages"
    assert await _found(owner, path, q="needle") == said[::-1]
    # As whoever has read the message before the merge, and keeps its words after it.
    late = "UPDATE search_documents SET conversation_id = $1 WHERE subject_id = $2"
    await admin.execute(late, uuid.UUID(talks[1]), uuid.UUID(said[1]))
    assert await _found(owner, path, q="needle") == said[:1]
    await keep_up(service.database)
    assert await _found(owner, path, q="needle") == said[::-1]


async def _three(anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any) -> list[str]:
    """The ids of three mails, as they came in."""
    for subject in ("Needle one", "Needle two", "Hay"):
        await took(anonymous, admin, mail(mailbox, subject=subject, text="Needles and pins"))
    return [str(row["id"]) for row in await admin.fetch("SELECT id FROM mails ORDER BY created_at, id")]


async def test_mails_are_found_in_their_own_order_page_by_page(
    anonymous: httpx.AsyncClient,
    mailbox: Connection,
    service: Service,
    admin: Any,
    owner: Client,
    stranger: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "BUCKET", 2)
    one, two, hay = await _three(anonymous, mailbox, admin)
    await keep_up(service.database)
    assert await _found(owner, "/mails", q="needle", limit="1") == [hay, two, one]
    assert await _found(owner, "/mails", q="needle", limit="1", sort="createdAt") == [one, two, hay]
    assert await _found(owner, "/mails", q="pins needle t", limit="1") == [two]
    assert await _found(stranger, "/mails", q="needle") == []


async def test_a_mail_is_found_by_the_words_it_has_now_and_not_when_it_is_gone(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, owner: Client
) -> None:
    one, two, _ = await _three(anonymous, mailbox, admin)
    await keep_up(service.database)
    of = "SELECT message_id FROM mails WHERE id = $1"
    changed = await admin.fetchval(of, uuid.UUID(one))
    await admin.execute("UPDATE conversation_messages SET content = 'Thread' WHERE id = $1", changed)
    async with service.database.workspace(owner.workspace_id) as db:
        await keeping.index(db, owner.workspace_id, "message", [changed])
    assert await _found(owner, "/mails", q="thread") == [one]
    assert two in await _found(owner, "/mails", q="pins")
    assert one not in await _found(owner, "/mails", q="pins")
    await admin.execute("DELETE FROM mails WHERE id = $1", uuid.UUID(two))
    kinds = "SELECT count(*) FROM search_documents WHERE kind = 'mail' AND subject_id = $1"
    assert await admin.fetchval(kinds, uuid.UUID(two)) == 0
    assert await admin.fetchval(kinds, uuid.UUID(one)) == 1


async def test_mails_older_than_their_index_are_taken_in_by_the_worker(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, owner: Client
) -> None:
    mails = await _three(anonymous, mailbox, admin)
    await keep_up(service.database)
    # As the migration leaves it.
    await admin.execute("DELETE FROM search_documents WHERE kind = 'mail'")
    await admin.execute("UPDATE search_progress SET backfill = 'mail', backfill_after = NULL")
    assert await _found(owner, "/mails", q="needles") == []
    await keep_up(service.database)
    assert sorted(await _found(owner, "/mails", q="needles")) == sorted(mails)
