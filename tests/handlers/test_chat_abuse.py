"""What a widget's address is asked that no page would ask: refused, counted, and no burden on anybody else."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.chat import saying, visitors
from comms.chat.protocol import Said
from comms.service import Service
from tests.conftest import PUBLIC_URL, Client
from tests.make.chat import API, SECRET, Visitor, conversation_of, proof, refused, widget


@pytest.fixture
async def visitor(app: Any, owner: Client) -> AsyncIterator[Visitor]:
    shop = await widget(owner)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as client:
        yield Visitor("", shop["key"], client)


@pytest.mark.parametrize("path", ["/chat//{key}/sessions", "/chat/{key}//sessions", "//chat/{key}/sessions/"])
async def test_no_spelling_of_the_address_lets_a_foreign_page_in(visitor: Visitor, owner: Client, path: str) -> None:
    before = await refused(owner, "origin")
    answer = await visitor.client.post(
        PUBLIC_URL + path.format(key=visitor.key), json={}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code in (403, 404), answer.text
    assert await refused(owner, "origin") == before + (answer.status_code == 403)
    assert (await owner.get(f"{API}/visitors")).json()["items"] == []


@pytest.mark.parametrize("key", ["%00", "cw_%00", "x" * 3_000])
@pytest.mark.parametrize("origin", [None, "https://evil.example"])
async def test_a_key_that_cannot_be_one_is_no_widgets(visitor: Visitor, key: str, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = await visitor.client.get(f"/chat/{key}", headers=headers)
    assert answer.status_code == 404


async def test_answers_to_questions_do_not_grow_for_ever(visitor: Visitor, owner: Client) -> None:
    await visitor.begin()
    answers = [
        await visitor.ask("PATCH", "/visitor", json={"fields": {f"q{round_}_{n}": "yes" for n in range(20)}})
        for round_ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert answers[-1].json()["errors"][0]["field"] == "fields"
    [seen] = (await owner.get(f"{API}/visitors")).json()["items"]
    assert len(seen["fields"]) == 40
    again = await visitor.ask("PATCH", "/visitor", json={"fields": {"q0_0": "no"}})
    assert again.status_code == 200
    long = await visitor.ask("PATCH", "/visitor", json={"fields": {"q" * 200: "yes"}})
    assert long.status_code == 400


async def test_nobody_is_mailed_transcripts_without_end_by_strangers(visitor: Visitor, owner: Client) -> None:
    """Whoever says that an address is theirs has a mail sent there, with their words in it."""
    statuses = []
    for number in range(6):
        stranger = Visitor("", visitor.key, visitor.client)
        await stranger.begin(visitor={"email": "Victim@example.com"})
        await stranger.says(f"Buy my things {number}")
        statuses.append((await stranger.ask("POST", "/transcripts")).status_code)
    assert statuses[-1] == 429
    assert statuses[0] != 429


async def test_an_address_brings_so_many_files_and_no_more(visitor: Visitor) -> None:
    statuses = []
    for _ in range(4):
        other = Visitor("", visitor.key, visitor.client)
        await other.begin()
        for _ in range(10):
            statuses.append((await other.ask("POST", "/uploads", content=uuid.uuid4().hex.encode())).status_code)
    assert set(statuses[:30]) == {201}
    assert set(statuses[30:]) == {429}


async def test_who_comes_back_waits_for_their_conversation_before_they_hold_anything(
    visitor: Visitor, owner: Client, service: Service, admin: Any
) -> None:
    """As everybody does who writes in it: in the other order two of them would wait for each other."""
    [shop] = (await owner.get(f"{API}/chat-widgets")).json()["items"]
    assert (await owner.put(f"{API}/chat-widgets/{shop['id']}/secret", json={"secret": SECRET})).status_code == 200
    begun = await visitor.begin(identity=proof(userId="4711"), visitor={"name": "Ada"})
    caller = await visitors.identify(service.database, service.desk.tokens, visitor.token)
    await saying.say(service.database, caller, Said("1", "Hello"), is_open=True)
    conversation = await conversation_of(owner)
    assert conversation["contactId"] is None
    again = Visitor("", visitor.key, visitor.client)
    async with admin.transaction():
        await admin.execute("SELECT FROM conversations WHERE id = $1 FOR UPDATE", uuid.UUID(conversation["id"]))
        coming = asyncio.create_task(again.begin(identity=proof(userId="4711"), visitor={"email": "ada@example.com"}))
        await asyncio.sleep(0.3)
        held = "SELECT FROM visitors WHERE id = $1 FOR NO KEY UPDATE NOWAIT"
        await admin.execute(held, uuid.UUID(begun["visitorId"]))
    assert (await coming)["visitorId"] == begun["visitorId"]
    assert (await conversation_of(owner))["contactId"] is not None
