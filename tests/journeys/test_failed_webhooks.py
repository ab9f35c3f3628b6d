"""Webhooks that cannot become a message at once: kept, visible, done again, and in nobody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from comms.simulators import wire
from tests.journeys import books as promise
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, listed, phone
from tests.journeys.lines import Line, at_once
from tests.journeys.waiting import until

STRANGE_NUMBER = "+14155550777"
RETRIED_WITHIN = 12


async def test_a_poisoned_webhook_harms_no_other_of_its_group_and_is_done_again(
    pair: Pair, desk: Desk, books: Any, agent: httpx.AsyncClient
) -> None:
    poisoned, first, second = f"poison {wire.sid('')}", wire.sid("SM"), wire.sid("SM")
    others = desk.texts(60, senders=30)
    requests = list(others.values())
    requests.insert(20, desk.text(phone(7), poisoned, sid=first))
    requests.insert(40, desk.text(phone(8), poisoned, sid=second))
    async with _poison(books, poisoned):
        assert await at_once(pair.ports, requests) == [200] * 62
        assert await promise.hold(books, desk.workspace_id, others) == set(others)
        failed = {row["identity"]: row for row in await listed(agent, "webhook-receipts", state="failed")}
        assert set(failed) == {first, second}
        for row in failed.values():
            assert row["reason"] == "RaiseError (P0001)"
            assert row["attempts"] == 1
            assert row["nextAttemptAt"] > row["createdAt"]
            assert row["messageId"] is None
        replay = await agent.post(f"/api/v1/webhook-receipts/{failed[first]['id']}/replay")
        assert (replay.status_code, replay.json()["state"], replay.json()["attempts"]) == (200, "failed", 2)

    replay = await agent.post(f"/api/v1/webhook-receipts/{failed[first]['id']}/replay")
    assert (replay.status_code, replay.json()["state"]) == (200, "processed")
    assert replay.json()["messageId"] is not None

    async def none_has_failed() -> bool:
        return not await listed(agent, "webhook-receipts", state="failed")

    await until(none_has_failed, within=RETRIED_WITHIN, every=0.2)  # the other is done again by the worker, unasked
    assert await promise.hold(books, desk.workspace_id, others) == {*others, first, second}
    assert await at_once(pair.ports, requests) == [200] * 62
    assert await promise.hold(books, desk.workspace_id, others) == {*others, first, second}


async def test_an_unknown_number_is_kept_with_its_reason_until_the_number_exists(
    pair: Pair, desk: Desk, books: Any, agent: httpx.AsyncClient
) -> None:
    sid = wire.sid("SM")
    text = desk.text(phone(1), sid=sid, recipient=STRANGE_NUMBER)
    assert await Line(pair.one.port).post(text) == 200
    assert await Line(pair.other.port).post(text) == 200
    (receipt,) = await listed(agent, "webhook-receipts", state="unmapped")
    assert STRANGE_NUMBER in receipt["reason"]
    assert await listed(agent, "conversation-messages") == []
    too_early = await agent.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")
    assert (too_early.status_code, too_early.json()["state"]) == (200, "unmapped")

    number = {"phoneNumber": STRANGE_NUMBER, "provider": "twilio", "connectionId": str(desk.connection_id)}
    assert (await agent.post("/api/v1/workspace-phone-numbers", json=number)).status_code == 201
    async with desk.client(pair.other.url) as elsewhere:
        replays = await asyncio.gather(
            *(client.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay") for client in (agent, elsewhere) * 3)
        )
    (message,) = await listed(agent, "conversation-messages")
    for replay in replays:
        assert (replay.status_code, replay.json()["state"]) == (200, "processed")
        assert replay.json()["messageId"] == message["id"]
    assert (message["fromAddress"], message["toAddress"]) == (phone(1), STRANGE_NUMBER)
    assert message["createdAt"] == receipt["createdAt"]

    before = [await listed(agent, name) for name in ("conversations", "webhook-receipts", "events")]
    again = await agent.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")
    assert (again.status_code, again.json()["messageId"]) == (200, message["id"])
    assert before == [await listed(agent, name) for name in ("conversations", "webhook-receipts", "events")]
    assert await promise.hold(books, desk.workspace_id, [sid]) == {sid}


@asynccontextmanager
async def _poison(books: Any, content: str) -> AsyncIterator[None]:
    """No message with that content can be kept, whatever the code does, until the block is left."""
    await books.execute(
        "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF NEW.content = '{content}' THEN RAISE 'poisoned'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER poison BEFORE INSERT ON conversation_messages FOR EACH ROW EXECUTE FUNCTION refuse_poison()"
    )
    try:
        yield
    finally:
        await books.execute("DROP FUNCTION refuse_poison CASCADE")
