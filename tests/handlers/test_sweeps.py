"""What providers did not manage to tell us is fetched from their own log, once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import msgspec
import pytest

from comms.calls import texts
from comms.cli import doctor
from comms.directory import Connection
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.service import Service
from comms.settings import ProviderSettings, Settings
from comms.simulators import attached
from comms.simulators import twilio as simulated
from comms.simulators.exchange import Exchange, Taken
from models.base import now
from models.communications import ConversationMessage, WorkspacePhoneNumber
from tests.conftest import Client
from tests.handlers.sweeping import API, Twilio, ago, lost, messages, receive
from tests.handlers.webhooks import CUSTOMER, post, rows, text
from tests.make import communications as make
from tests.make.communications import OUR_NUMBER, SIGNALWIRE, TWILIO
from tests.screens import serving

PROJECT = SIGNALWIRE | {"apiToken": "PTtest", "spaceUrl": "acme"}


@pytest.fixture
async def exchange() -> Exchange:
    """Twilio, with our number."""
    return Exchange(msgspec.convert(TWILIO, TwilioCredentials), numbers=[OUR_NUMBER])


@pytest.fixture
async def calls() -> list[dict[str, Any]]:
    """The log of calls, newest first."""
    return []


@pytest.fixture
async def signalwire() -> Exchange:
    """SignalWire, with a number of the same digits."""
    return Exchange(msgspec.convert(PROJECT, SignalWireCredentials), numbers=[OUR_NUMBER])


@pytest.fixture
async def twilio(exchange: Exchange, signalwire: Exchange, calls: list[dict[str, Any]]) -> Twilio:
    return Twilio([route for one in (exchange, signalwire) for route in (*one.routes, *attached.routes(one, calls))])


@pytest.fixture
async def settings(settings: Settings, twilio: Twilio) -> AsyncIterator[Settings]:
    """The providers are simulators."""
    async with serving(twilio) as url:
        address = url.replace("ws://", "http://").removesuffix("/ws")
        yield msgspec.structs.replace(settings, providers=ProviderSettings(address, address))


@pytest.fixture
async def number(service: Service, line: Connection, admin: Any) -> str:
    """Where our number, which has been ours for two days, is compared."""
    await admin.execute("UPDATE workspace_phone_numbers SET created_at = now() - interval '2 days'")
    return f"{API}/workspace-phone-numbers/{await admin.fetchval('SELECT id FROM workspace_phone_numbers')}/sweep"


async def test_ten_messages_whose_webhooks_never_came_are_here_as_if_they_had(
    owner: Client, exchange: Exchange, twilio: Twilio, number: str, admin: Any
) -> None:
    sids = lost(exchange, 10)
    assert (await owner.get(number)).status_code == 404
    swept = await owner.post(number)
    assert swept.status_code == 200, swept.text
    shown = swept.json()
    assert (shown["missing"], shown["backFilled"], shown["error"]) == (0, 10, None)
    assert shown["checkedAt"] is not None
    found = await messages(owner)
    assert [message["providerMessageId"] for message in found] == sids
    assert [message["content"] for message in found] == [f"{minutes} minutes ago" for minutes in range(10, 0, -1)]
    assert {message["conversationId"] for message in found} == {found[0]["conversationId"]}
    assert found[0]["metadata"]["backFilled"] is True
    assert found[0]["createdAt"] < found[9]["createdAt"]
    receipts = await rows(admin, "webhook_receipts", owner.workspace_id)
    assert len(receipts) == 10
    assert all("/2010-04-01/Accounts/" in row["url"] and "comms sweep" in row["headers"] for row in receipts)
    told = [row["event"] for row in await rows(admin, "events", owner.workspace_id)]
    assert told.count("message.received") == 10
    assert told.count("number_sweep.completed") == 1

    again = (await owner.post(number)).json()
    assert (again["missing"], again["backFilled"], again["compared"]) == (0, 10, 10)
    metrics = (await owner.get("/metrics")).text
    assert f'comms_number_missing{{number_id="{shown["phoneNumberId"]}"}} 0.0' in metrics


async def test_a_webhook_that_comes_late_or_at_the_same_time_makes_no_second_message(
    owner: Client, anonymous: httpx.AsyncClient, exchange: Exchange, number: str, line: Connection, admin: Any
) -> None:
    sids = lost(exchange, 20)
    hooks = [post(anonymous, text(line, sid=sid)) for sid in sids]
    sweeps = [owner.post(number) for _ in range(3)]
    answers = await asyncio.gather(*hooks[:10], *sweeps, *hooks[10:])
    assert {answer.status_code for answer in answers} == {200}
    await asyncio.gather(*(post(anonymous, text(line, sid=sid)) for sid in sids))
    assert sorted(message["providerMessageId"] for message in await messages(owner)) == sorted(sids)
    told = [row["event"] for row in await rows(admin, "events", owner.workspace_id)]
    assert told.count("message.received") == 20
    assert (await owner.get(number)).json()["missing"] == 0


async def test_a_log_of_many_pages_is_read_to_where_it_was_compared_last(
    owner: Client, exchange: Exchange, twilio: Twilio, number: str
) -> None:
    receive(exchange, "of somebody before us", 9 * 24 * 60)
    lost(exchange, 230)
    assert (await owner.post(number)).json()["backFilled"] == 230
    twilio.asked.clear()
    lost(exchange, 1)
    assert (await owner.post(number)).json()["backFilled"] == 231
    assert len(twilio.asked) == 6  # one page each way, by text, by WhatsApp and by telephone


async def test_pictures_come_with_a_message_that_is_filled_in(owner: Client, exchange: Exchange, number: str) -> None:
    receive(exchange, "", 1, media=("image/png", "image/jpeg"))
    await owner.post(number)
    (message,) = await messages(owner)
    assert [item["declaredType"] for item in message["attachments"]] == ["image/png", "image/jpeg"]


async def test_a_stop_that_was_missed_is_heeded(owner: Client, exchange: Exchange, number: str) -> None:
    lost(exchange, 1, body="STOP")
    await owner.post(number)
    (stands,) = (await owner.get(f"{API}/consents")).json()["items"]
    assert (stands["state"], stands["address"]) == ("opted_out", CUSTOMER)


async def test_what_a_sweep_finds_is_heeded_for_the_whole_messaging_service(
    service: Service, owner: Client, exchange: Exchange, number: str, admin: Any
) -> None:
    # The provider's log names the service of what went out only; of what came in, the number's last webhook did.
    await admin.execute("UPDATE workspace_phone_numbers SET messaging_service_sid = 'MG1'")
    lost(exchange, 1, body="STOP")
    await make.sent(service, owner.workspace_id, "SM1", status="sent")
    refused = Taken("SM1", OUR_NUMBER, "+14155550155", "Hi", ago(1), status="failed", error_code=21610)
    refused.service = "MG1"
    exchange.taken.append(refused)
    await owner.post(number)
    stands = (await owner.get(f"{API}/consents")).json()["items"]
    assert sorted((one["address"], one["sender"], one["source"]) for one in stands) == [
        (CUSTOMER, "MG1", "keyword"), ("+14155550155", "MG1", "carrier")
    ]  # fmt: skip


async def test_reports_that_never_came_are_read_from_the_log(
    service: Service, owner: Client, exchange: Exchange, number: str
) -> None:
    await make.sent(service, owner.workspace_id, "SM1", status="sent")
    await make.sent(service, owner.workspace_id, "SM2", status="delivered")
    for sid, status, code in (("SM1", "undelivered", 30003), ("SM2", "sent", None)):
        exchange.taken.append(
            Taken(sid, OUR_NUMBER, CUSTOMER, "See you", ago(1), status=status, error_code=code),
        )
    await owner.post(number)
    statuses = {one["providerMessageId"]: (one["status"], one["errorCode"]) for one in await messages(owner)}
    assert statuses == {"SM1": ("undelivered", "30003"), "SM2": ("delivered", None)}


def called(calls: list[dict[str, Any]], sid: str, minutes: float, status: str = "no-answer", **more: Any) -> None:
    """A call to our number is in the log."""
    at = {"start_time": format_datetime(ago(minutes)), "end_time": format_datetime(ago(minutes - 1))}
    there = {"sid": sid, "account_sid": TWILIO["accountSid"], "from": CUSTOMER, "to": OUR_NUMBER, "status": status}
    calls.insert(0, there | at | {"direction": "inbound", "duration": "60", "parent_call_sid": None} | more)


def rings(line: Connection, sid: str) -> Any:
    """Somebody calls our number, and we are told."""
    fields = {"CallSid": sid, "AccountSid": TWILIO["accountSid"], "From": CUSTOMER, "To": OUR_NUMBER}
    there = fields | {"CallStatus": "ringing", "Direction": "inbound"}
    url = text(line, body="").url.replace("/messages", "/voice")
    return simulated.signed(url, line.credentials, there)  # type: ignore[arg-type]  # it is Twilio's


async def test_a_call_we_never_heard_of_was_missed_and_one_that_is_over_does_not_go_on(
    owner: Client, anonymous: httpx.AsyncClient, line: Connection, number: str, calls: list[dict[str, Any]]
) -> None:
    await post(anonymous, rings(line, "CA1"))
    called(calls, "CA1", 30, "completed")
    called(calls, "CA2", 20)
    called(calls, "CA3", 10, "in-progress")
    for _ in range(2):
        shown = (await owner.post(number)).json()
        assert (shown["missing"], shown["backFilled"], shown["error"]) == (0, 2, None)
    found = (await owner.get(f"{API}/call-legs")).json()["items"]
    statuses = {leg["providerCallId"]: leg["status"] for leg in found}
    assert statuses == {"CA1": "completed", "CA2": "no_answer"}
    # What nobody had heard of stands where it belongs in time, in the list of calls and in its conversation.
    missed = (await owner.get(f"{API}/calls", params={"outcome": "missed", "sort": "createdAt"})).json()["items"][0]
    (note,) = [one for one in await messages(owner) if one["providerMessageId"] == "CA2"]
    over = next(one for one in await messages(owner) if one["content"] == "Missed call")
    for began in (missed["createdAt"], note["createdAt"]):
        assert timedelta(minutes=19) < now() - datetime.fromisoformat(began) < timedelta(minutes=22)
    assert over["createdAt"] == missed["endedAt"] < (now() - timedelta(minutes=18)).isoformat()


async def test_signalwires_log_is_read_alike(
    service: Service, owner: Client, signalwire: Exchange, calls: list[dict[str, Any]], admin: Any
) -> None:
    await make.connection(service, owner.workspace_id, "signalwire", PROJECT)
    number = await make.number(service, owner.workspace_id, provider="signalwire")
    await admin.execute("UPDATE workspace_phone_numbers SET created_at = now() - interval '2 days'")
    receive(signalwire, "", 3, media=("image/png",))
    sids = lost(signalwire, 2)
    receive(signalwire, "STOP", 0.5)
    ours: ConversationMessage = await make.sent(
        service, owner.workspace_id, "8f0c", status="sent", provider="signalwire"
    )
    signalwire.taken.append(
        Taken("8f0c", OUR_NUMBER, CUSTOMER, "See you", ago(5), status="undelivered", error_code=30005)
    )
    called(calls, "0f6a", 20, account_sid=PROJECT["projectId"])
    for _ in range(2):
        shown = (await owner.post(f"{API}/workspace-phone-numbers/{number.id}/sweep")).json()
        assert (shown["missing"], shown["backFilled"], shown["error"]) == (0, 6, None)
    inbound = [one for one in await messages(owner, direction="inbound") if one["content"] != "Missed call"]
    inbound = [one for one in inbound if one["providerMessageId"] != "0f6a"]
    assert [one["content"] for one in inbound] == ["", "2 minutes ago", "1 minutes ago", "STOP"]
    assert [one["providerMessageId"] for one in inbound][1:3] == sids
    assert [item["declaredType"] for item in inbound[0]["attachments"]] == ["image/png"]
    (failed,) = [one for one in await messages(owner, direction="outbound") if one["id"] == str(ours.id)]
    assert (failed["status"], failed["errorCode"]) == ("undelivered", "30005")
    (leg,) = (await owner.get(f"{API}/call-legs")).json()["items"]
    assert (leg["providerCallId"], leg["status"]) == ("0f6a", "no_answer")
    (stands,) = (await owner.get(f"{API}/consents")).json()["items"]
    assert (stands["state"], stands["address"]) == ("opted_out", CUSTOMER)


async def test_what_was_deleted_here_does_not_come_back(
    owner: Client, exchange: Exchange, number: str, admin: Any
) -> None:
    lost(exchange, 2)
    await owner.post(number)
    first, second = await messages(owner)
    assert (await owner.delete(f"{API}/conversation-messages/{first['id']}")).status_code == 204
    assert (await owner.delete(f"{API}/conversations/{second['conversationId']}")).status_code == 204
    shown = (await owner.post(number)).json()
    assert (shown["missing"], shown["backFilled"]) == (0, 2)
    assert (await owner.get(f"{API}/conversations")).json()["items"] == []


async def test_what_ends_long_after_it_began_is_heard_of_however_late(
    service: Service,
    owner: Client,
    anonymous: httpx.AsyncClient,
    line: Connection,
    exchange: Exchange,
    number: str,
    calls: list[dict[str, Any]],
    admin: Any,
) -> None:
    # Both are older than what is compared again, and were heard of in their time; their last reports never came.
    await post(anonymous, rings(line, "CA1"))
    for sid in ("SM1", "SM2", "SM3"):
        await make.sent(service, owner.workspace_id, sid, status="sent")
    await admin.execute(
        "UPDATE conversation_messages SET phone_number_id = (SELECT id FROM workspace_phone_numbers),"
        " created_at = now() - interval '5 hours'"
    )
    await admin.execute("UPDATE call_legs SET created_at = now() - interval '5 hours'")
    assert (await owner.post(number)).json()["missing"] == 0
    exchange.taken.append(Taken("SM1", OUR_NUMBER, CUSTOMER, "See you", ago(300), status="delivered"))
    exchange.taken.append(Taken("SM2", OUR_NUMBER, CUSTOMER, "See you", ago(300), status="sent"))
    called(calls, "CA1", 300, "completed")
    await admin.execute("UPDATE number_sweeps SET swept_until = now()")
    for _ in range(2):
        shown = (await owner.post(number)).json()
        assert (shown["missing"], shown["backFilled"], shown["error"]) == (0, 2, None)
    statuses = {one["providerMessageId"]: one["status"] for one in await messages(owner, direction="outbound")}
    assert statuses == {"SM1": "delivered", "SM2": "sent", "SM3": "sent"}
    (leg,) = (await owner.get(f"{API}/call-legs")).json()["items"]
    assert leg["status"] == "completed"


async def test_who_called_hours_ago_is_not_texted_back(
    service: Service, owner: Client, number: str, calls: list[dict[str, Any]], admin: Any
) -> None:
    flow = {"start": "end", "steps": {"end": {"type": "hangup"}}, "missedCallText": "Sorry we missed you."}
    await admin.execute("UPDATE workspace_phone_numbers SET voice_flow = $1", msgspec.json.encode(flow).decode())
    called(calls, "CA1", 60 * 5)
    called(calls, "CA2", 20)
    assert (await owner.post(number)).json()["backFilled"] == 2
    for row in await admin.fetch("SELECT workspace_id, id FROM calls"):
        await texts.text_back(service.database, row["workspace_id"], row["id"])
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages WHERE content LIKE 'Sorry%'") == 1


async def test_a_number_that_was_never_compared_is_in_the_metrics(owner: Client, number: str, admin: Any) -> None:
    number_id = await admin.fetchval("SELECT id FROM workspace_phone_numbers")
    there = (await owner.get("/metrics")).text
    assert f'comms_number_checked_timestamp_seconds{{number_id="{number_id}"}} 0.0' in there
    assert f'comms_number_missing{{number_id="{number_id}"}}' not in there


@pytest.mark.parametrize(
    ("down", "says"), [((401, 20003), "credentials"), ((429, 20429), "no more"), ((500, 20500), "500")]
)
async def test_a_provider_that_cannot_be_asked_is_said_so_and_asked_again(
    owner: Client, exchange: Exchange, twilio: Twilio, number: str, down: tuple[int, int], says: str
) -> None:
    lost(exchange, 3)
    twilio.down = down
    shown = (await owner.post(number)).json()
    assert shown["checkedAt"] is None
    assert says in shown["error"]
    twilio.down = None
    shown = (await owner.post(number)).json()
    assert (shown["error"], shown["missing"], shown["backFilled"]) == (None, 0, 3)


async def test_a_worker_compares_every_number_now_and_then_and_each_but_once(
    service: Service, owner: Client, exchange: Exchange, twilio: Twilio, number: str, admin: Any
) -> None:
    lost(exchange, 5)
    await make.number(service, owner.workspace_id, "+14155550101", status="suspended")
    await service.sweeps.sweep_due()
    assert twilio.asked == []  # whoever sets a number up is given a moment
    await admin.execute("UPDATE number_sweeps SET next_sweep_at = now()")
    await asyncio.gather(*(service.sweeps.sweep_due() for _ in range(4)))
    assert len(twilio.asked) == 6
    # What is younger than a minute may still be on its way.
    assert (await owner.get(number)).json()["backFilled"] in (4, 5)
    await service.sweeps.sweep_due()
    assert len(twilio.asked) == 6


async def test_many_numbers_are_compared_in_their_time_and_what_they_lack_is_said(
    service: Service, owner: Client, exchange: Exchange, number: str, admin: Any
) -> None:
    for digits in range(40):
        await make.number(service, owner.workspace_id, f"+1415555{2000 + digits}", capabilities={"voice": False})
    await service.sweeps.sweep_due()
    await admin.execute("UPDATE number_sweeps SET next_sweep_at = now()")
    await service.sweeps.sweep_due()
    assert await admin.fetchval("SELECT count(*) FROM number_sweeps WHERE checked_at IS NOT NULL") == 41
    assert [finding async for finding in doctor._standing(service.database)] == []
    await admin.execute(
        "UPDATE number_sweeps SET missing = 2, error = 'Nobody answers.' WHERE phone_number_id ="
        " (SELECT id FROM workspace_phone_numbers WHERE phone_number = $1)", OUR_NUMBER
    )  # fmt: skip
    assert [finding async for finding in doctor._standing(service.database)] == [
        (False, f"{OUR_NUMBER}: 2 of the provider's messages and calls are not here"),
        (False, f"{OUR_NUMBER} could not be compared with its provider's log: Nobody answers."),
    ]


async def test_only_an_active_number_of_ones_own_is_compared(
    service: Service, owner: Client, viewer: Client, stranger: Client, number: str
) -> None:
    assert (await stranger.post(number)).status_code == 404
    assert (await stranger.get(number)).status_code == 404
    assert (await viewer.post(number)).status_code == 403
    gone: WorkspacePhoneNumber = await make.number(service, owner.workspace_id, "+14155550101", status="released")
    assert (await owner.post(f"{API}/workspace-phone-numbers/{gone.id}/sweep")).status_code == 409
    assert (await owner.post(f"{API}/workspace-phone-numbers/{uuid.uuid4()}/sweep")).status_code == 404
