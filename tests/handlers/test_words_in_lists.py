"""Whatever way a list looks for words in, it shows the rows that a plain look at them all shows, in the same order."""

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from comms.search import following
from comms.search.following import keep_up
from comms.service import Service
from models.base import now
from models.communications import Conversation, ConversationMessage
from tests.conftest import Client
from tests.handlers.test_resources import counted
from tests.make import communications as make

API = "/api/v1"
VOCABULARY = ("alpha", "alarm", "beta", "gamma", "gate", "delta", "rare")
OFTEN = (9, 3, 5, 4, 2, 2, 0.3)
QUESTIONS = ("alpha", "al", "beta gam", "beta g", "rare", "nowhere")
LIMIT = 11


async def _told(service: Service, workspace_id: uuid.UUID, count: int = 90) -> list[ConversationMessage]:
    """Messages of two conversations with words drawn by lot, made in another order than they are taken in."""
    draw = random.Random(38)
    talks = [await make.conversation(service, workspace_id) for _ in range(2)]
    started = now()
    rows = [
        ConversationMessage(
            workspace_id=workspace_id,
            conversation_id=draw.choice(talks).id,
            direction=draw.choice(("inbound", "outbound")),
            content=" ".join(draw.choices(VOCABULARY, OFTEN, k=3)),
            sender_type="system",
            status="received",
            created_at=started - timedelta(minutes=draw.randrange(count // 2)),  # many in the same instant
        )
        for _ in range(count)
    ]
    async with service.database.everywhere() as db:
        db.add_all(rows)
    return rows


def _has(row: ConversationMessage, q: str) -> bool:
    *whole, begun = q.split()
    words = row.content.split()
    return set(whole) <= set(words) and any(word.startswith(begun) for word in words)


async def _pages(client: Client, path: str, query: dict[str, str]) -> Iterator[str]:
    seen: list[str] = []
    cursor = None
    while True:
        asked = query | {"limit": str(LIMIT)} | ({"cursor": cursor} if cursor else {})
        answer = await client.get(f"{API}{path}", params=asked)
        assert answer.status_code == 200, answer.text
        items, cursor = answer.json()["items"], answer.json()["nextCursor"]
        seen += [item["id"] for item in items]
        assert len(items) == LIMIT or cursor is None
        if cursor is None:
            return iter(seen)


@pytest.mark.parametrize(
    ("ahead", "few"),
    [
        pytest.param(5, 5_000, id="few are looked up"),
        pytest.param(1, 20, id="the first, then all or each is asked"),
        pytest.param(0, 0, id="each is asked"),
    ],
)
async def test_a_list_of_words_is_that_of_a_plain_look_at_all_rows(
    ahead: int, few: int, service: Service, owner: Client, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BUCKET", 25)
    monkeypatch.setattr("comms.search.lists.AHEAD", ahead)
    monkeypatch.setattr("comms.search.lists.FEW", few)
    rows = await _told(service, owner.workspace_id)
    await keep_up(service.database, most=10)
    # What is gone from the tables and not yet from the index takes nobody's place; what has no words is in neither.
    gone = {row.id for row in rows[::9]}
    await admin.execute("DELETE FROM conversation_messages WHERE id = ANY($1)", list(gone))
    left = [row for row in rows if row.id not in gone]
    talk, middle = rows[0].conversation_id, sorted(row.created_at for row in rows)[len(rows) // 2]
    lists: list[tuple[str, dict[str, str], Any]] = [
        ("/conversation-messages", {}, lambda row: True),
        ("/conversation-messages", {"direction": "inbound"}, lambda row: row.direction == "inbound"),
        ("/conversation-messages", {"createdBefore": _told_as(middle)}, lambda row: row.created_at < middle),
        ("/conversation-messages", {"createdAfter": _told_as(middle)}, lambda row: row.created_at >= middle),
        (f"/conversations/{talk}/messages", {}, lambda row: row.conversation_id == talk),
    ]
    draw = random.Random(few)
    for length in (1, few + 1):  # of the conversation, as far as is known
        await admin.execute("UPDATE conversations SET message_count = $1", length)
        for number, (path, query, is_listed) in enumerate(lists if length == 1 else lists[-1:]):
            for q in QUESTIONS[number % 2 :: 2] if length == 1 else QUESTIONS:
                sort = draw.choice(("-createdAt", "createdAt"))
                meant = [row for row in left if is_listed(row) and _has(row, q)]
                meant.sort(key=lambda row: (row.created_at, row.id), reverse=sort.startswith("-"))
                found = await _pages(owner, path, query | {"q": q, "sort": sort})
                assert list(found) == [str(row.id) for row in meant], (path, query, q, sort)


def _told_as(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def test_of_a_long_conversation_each_message_is_asked_for_words_that_are_everywhere(
    service: Service, owner: Client, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comms.search.lists.FEW", 0)
    rows = await _told(service, owner.workspace_id, 20)
    await keep_up(service.database)
    await admin.execute(
        """
        INSERT INTO search_documents (workspace_id, subject_id, kind, bucket, at, words)
        SELECT $1, gen_random_uuid(), 'message', 0, now(), (search_tag($1, 'message', 0) || 'alpha')::tsvector
        FROM generate_series(1, 700)
        """,
        owner.workspace_id,
    )
    talk = rows[0].conversation_id
    meant = [row for row in rows if row.conversation_id == talk and _has(row, "alpha")]
    meant.sort(key=lambda row: (row.created_at, row.id), reverse=True)
    found = await _pages(owner, f"/conversations/{talk}/messages", {"q": "alpha"})
    assert list(found) == [str(row.id) for row in meant]
    assert len(meant) > 1


async def test_words_take_one_statement_more_and_three_where_filters_leave_out_most(
    service: Service, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comms.search.lists.FEW", 40)
    rows = await _told(service, owner.workspace_id)
    await keep_up(service.database)
    async with service.database.everywhere() as db:
        talk = await db.get_one(Conversation, (owner.workspace_id, rows[0].conversation_id))
        talk.message_count = len(rows)
        last = min((row for row in rows if _has(row, "alpha")), key=lambda row: (row.created_at, row.id))
        (await db.get_one(ConversationMessage, (owner.workspace_id, last.id))).status = "failed"
    path, within = "/conversation-messages", f"/conversations/{talk.id}/messages"

    async def taken(path: str, **query: str) -> int:
        with counted() as statements:
            assert (await owner.get(f"{API}{path}", params={"limit": "3", **query})).status_code == 200
            return statements()

    await taken(path)  # who asks is remembered
    plain = await taken(path)
    there = QUESTIONS[:-1]  # what belongs to no rows at all is not asked for
    for q in there:
        assert await taken(path, q=q) == plain + 1, q
        assert await taken(path, q=q, sort="createdAt") == plain + 1, q
    assert await taken(path, q="alpha", status="failed") == plain + 3
    alone = await taken(within)
    assert {await taken(within, q=q) - alone for q in there} == {1}
