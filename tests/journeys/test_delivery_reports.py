"""What became of the messages we sent, told out of order, twice, too early, or in the same instant."""

import asyncio
import itertools
from typing import Any

import httpx

from comms.providers.base import Request
from comms.simulators import wire
from tests.journeys.conftest import Pair
from tests.journeys.desks import Desk, listed, phone
from tests.journeys.lines import Line
from tests.journeys.waiting import until

STATUSES = ("queued", "sent", "delivered", "read")
AT_ONCE = 20
SWEPT_WITHIN = 6.5
RACES = 20


async def test_reports_in_any_order_and_doubled_end_at_the_highest_status(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient, books: Any
) -> None:
    conversation = await _conversation(pair, desk, agent)
    orders = {wire.sid("SM"): order for order in itertools.permutations(STATUSES)}
    for sid in orders:
        await _record(agent, conversation, sid)
    room = asyncio.Semaphore(AT_ONCE)
    lines = [Line(pair.ports[index % 2]) for index in range(2 * len(orders))]

    async def tell(sid: str, one: Line, other: Line) -> None:
        for status in orders[sid]:
            async with room:  # the same report twice at once, over both processes
                report = desk.report(sid, status)
                assert await asyncio.gather(one.post(report), other.post(report)) == [204, 204]

    await asyncio.gather(*(tell(sid, *lines[2 * index : 2 * index + 2]) for index, sid in enumerate(orders)))

    messages = {row["providerMessageId"]: row for row in await listed(agent, "conversation-messages")}
    reports = await listed(agent, "delivery-reports")
    for sid in orders:
        message = messages[sid]
        assert message["status"] == "read"
        assert message["isRead"]
        assert None not in (message["sentAt"], message["deliveredAt"], message["readAt"])
        mine = [row for row in reports if row["providerMessageId"] == sid]
        assert sorted(row["status"] for row in mine) == sorted(STATUSES)
        assert {row["messageId"] for row in mine} == {message["id"]}
        told = await listed(agent, "events", event="message.status_changed", subjectId=message["id"])
        ranks = [STATUSES.index(event["data"]["status"]) for event in told]
        assert ranks == sorted(set(ranks)), "a status went back, or was told twice"
    receipts = await listed(agent, "webhook-receipts", kind="message-status")
    assert len(receipts) == len(orders) * len(STATUSES)
    assert {row["state"] for row in receipts} == {"processed"}


async def test_a_report_that_comes_before_its_message_waits_for_it(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient
) -> None:
    conversation = await _conversation(pair, desk, agent)
    sid = wire.sid("SM")
    for status in ("delivered", "sent"):
        assert await Line(pair.other.port).post(desk.report(sid, status)) == 204
    assert await _parked(agent) == 2
    message = await _record(agent, conversation, sid)
    assert message["status"] == "delivered"
    assert await _parked(agent) == 0
    (sent,) = await listed(agent, "events", event="message.sent")
    assert sent["data"] == message == (await agent.get(f"/api/v1/conversation-messages/{message['id']}")).json()


async def test_a_report_that_misses_its_message_by_an_instant_is_joined_by_the_worker(
    pair: Pair, desk: Desk, agent: httpx.AsyncClient, books: Any
) -> None:
    conversation = await _conversation(pair, desk, agent)
    missed = wire.sid("SM")
    async with books.transaction():  # the message is written and cannot be committed while the report comes
        await books.execute("SELECT FROM event_counters WHERE workspace_id = $1 FOR UPDATE", desk.workspace_id)
        recording = asyncio.create_task(_record(agent, conversation, missed))
        await _waits_for_a_lock(books)
        assert await Line(pair.other.port).post(desk.report(missed, "delivered")) == 204
    messages = [await recording]
    assert messages[0]["status"] == "sent"

    lines = [await Line(port).open() for port in pair.ports]
    for index in range(RACES):  # and at about the same instant, in whatever order it comes out
        sid = wire.sid("SM")
        report = _after(index * 0.001, lines[index % 2], desk.report(sid, "delivered"))
        message, answer = await asyncio.gather(_record(agent, conversation, sid), report)
        assert answer == 204
        messages.append(message)

    async def none_waits() -> bool:
        return not await _parked(agent)

    await until(none_waits, within=SWEPT_WITHIN, every=0.2)
    shown = {row["id"]: row for row in await listed(agent, "conversation-messages", direction="outbound")}
    assert {id_: row["status"] for id_, row in shown.items()} == {row["id"]: "delivered" for row in messages}
    told = {row["subjectId"]: row["data"] for row in await listed(agent, "events") if row["subjectType"] == "message"}
    assert {id_: told[id_] for id_ in shown} == shown, "what was told last is not what is there"


async def _conversation(pair: Pair, desk: Desk, agent: httpx.AsyncClient) -> str:
    """A customer has written; the conversation's id."""
    assert await Line(pair.one.port).post(desk.text(phone(1))) == 200
    (conversation,) = await listed(agent, "conversations")
    return str(conversation["id"])


async def _record(agent: httpx.AsyncClient, conversation: str, sid: str) -> dict[str, Any]:
    """The message is known as sent under the provider's id."""
    body = {"conversationId": conversation, "direction": "outbound", "content": "See you at 7pm"}
    answer = await agent.post(
        "/api/v1/conversation-messages", json=body | {"provider": "twilio", "providerMessageId": sid}
    )
    assert answer.status_code == 201, answer.text
    message: dict[str, Any] = answer.json()
    return message


async def _after(seconds: float, line: Line, report: Request) -> int:
    await asyncio.sleep(seconds)
    return await line.post(report)


async def _parked(agent: httpx.AsyncClient) -> int:
    """How many reports have no message yet."""
    return sum(row["messageId"] is None for row in await listed(agent, "delivery-reports"))


async def _waits_for_a_lock(books: Any) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'comms_web'"
    await until(lambda: books.fetchval(waiting), within=5)
