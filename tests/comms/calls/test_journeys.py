"""Whole calls, from the first ring to the last word, as the people on both ends hear them."""

from typing import Any

import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person, Telling
from tests.comms.calls.people import MEMBER, OWNER, office, said
from tests.conftest import Client
from tests.handlers.webhooks import rows
from tests.make import calls as make
from tests.make.calls import CALLER, Network
from tests.make.sending import until
from tests.screens import eventually

BOTH = pytest.mark.parametrize("provider", ["twilio", "signalwire"])


@BOTH
async def test_a_missed_call_is_answered_by_a_text(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    await make.flow(service, line, office(owner, member))
    net.switchboard.people = {}
    async with net.working():
        await net.call(Person(keys=("1",), hangs_up=10))
        await until(admin, "EXISTS (SELECT FROM calls WHERE text_back_id IS NOT NULL)", within=20)
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["status"]) == ("missed", "completed")
    assert await said(admin, line) == ["Incoming call", "Missed call"]
    assert await said(admin, line, "sms") == ["Sorry we missed you. What can we do for you?"]
    [text] = await admin.fetch("SELECT * FROM conversation_messages WHERE id = $1", call["text_back_id"])
    assert text["to_address"] == CALLER


@BOTH
async def test_a_message_is_left_and_written_down(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    await make.flow(service, line, office(owner, member))
    caller = await net.call(Person(message="Please call me back about the dog."))
    assert caller.heard[:3] == ["For sales press 1.", "For sales press 1.", "Please leave a message."]
    [call] = await rows(admin, "calls", line.workspace_id)
    assert call["outcome"] == "voicemail"
    [recording] = await rows(admin, "recordings", line.workspace_id)
    assert (recording["kind"], recording["state"]) == ("voicemail", "completed")
    assert recording["transcript"] == "Please call me back about the dog."
    assert "Voicemail: Please call me back about the dog." in await said(admin, line)
    assert len(await rows(admin, "message_attachments", line.workspace_id)) == 1


async def test_a_team_is_rung_and_the_first_who_presses_the_key_has_the_call(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    await make.flow(service, line, office(owner, member))
    net.switchboard.people[MEMBER] = Person(answers=False)
    await net.call(Person(keys=("1",)))
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["answered_by"]) == ("answered", owner.user_id)
    [offer] = await rows(admin, "call_offers", line.workspace_id)
    assert (offer["state"], offer["accepted_by"]) == ("accepted", owner.user_id)
    legs = await rows(admin, "call_legs", line.workspace_id)
    [other] = [leg for leg in legs if leg["user_id"] == member.user_id]
    assert (other["status"] in ("canceled", "no_answer"), other["answered_at"]) == (True, None)
    assert all(leg["ended_at"] for leg in legs)
    assert (await said(admin, line))[-1].startswith("Call answered")


async def test_a_mailbox_never_answers_for_us(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    team = {"type": "ring", "numbers": ["+14155550120"], "users": [str(member.user_id)], "next": "message"}
    await make.flow(service, line, office(owner, member, team=team))
    await net.call(Person(keys=("1",)))
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["answered_by"]) == ("answered", member.user_id)


@BOTH
async def test_from_the_menu_to_the_team_to_the_queue(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    await make.flow(service, line, office(owner, member))
    net.switchboard.people[OWNER] = Person(answers=False)
    net.switchboard.people[MEMBER] = Person(answers=False)
    async with net.working():
        caller = net.ring(Person(keys=("1",), talks=None))
        await until(admin, "EXISTS (SELECT FROM calls WHERE queue = 'queue')")
        await eventually(lambda: bool(net.switchboard.queue_sids))
        net.switchboard.people[MEMBER] = Person(after=1, keys=("1",), talks=5)
        await until(admin, "EXISTS (SELECT FROM calls WHERE answered_at IS NOT NULL)")
        await until(admin, "EXISTS (SELECT FROM calls WHERE ended_at IS NOT NULL)")
        await eventually(lambda: not net.switchboard.queue_sids)  # a provider keeps each that is not removed
    assert "You are next in line." in caller.heard
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["answered_by"], call["queue"]) == ("answered", member.user_id, None)
    offers = await rows(admin, "call_offers", line.workspace_id)
    assert [offer["origin"] for offer in offers][:2] == ["ring", "queue"]
    assert offers[-1]["state"] == "accepted"


async def test_reports_doubled_and_out_of_order_tell_the_same_story(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    net.switchboard.telling = Telling(doubled=True, shuffled=True)
    await make.flow(service, line, office(owner, member))
    await net.call(Person(keys=("1",)))
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["status"], call["outcome"]) == ("completed", "answered")
    reports = await rows(admin, "call_reports", line.workspace_id)
    keys = {(report["provider_call_id"], report["reported"], report["sequence"]) for report in reports}
    assert len(keys) == len(reports)
    ended = [row for row in await rows(admin, "events", line.workspace_id) if row["event"] == "call.ended"]
    assert len(ended) == 1


async def test_a_call_that_somebody_has_taken_is_in_progress(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    flow = office(owner, member, team={"type": "ring", "users": [str(owner.user_id)], "next": "message"})
    await make.flow(service, line, flow | {"start": "team"})
    net.switchboard.people[OWNER] = Person(after=1, keys=("1",), talks=None)
    caller = net.ring(Person(talks=None))
    await eventually(lambda: caller.bridge is not None)
    [call] = await rows(admin, "calls", line.workspace_id)
    [leg] = [leg for leg in await rows(admin, "call_legs", line.workspace_id) if leg["role"] == "caller"]
    assert (call["status"], leg["status"]) == ("in_progress", "in_progress")
    net.switchboard.hang_up(caller)
    await until(admin, "NOT EXISTS (SELECT FROM calls WHERE ended_at IS NULL)")


@BOTH
async def test_a_call_is_handed_over_after_a_word(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    team = {"type": "ring", "users": [str(owner.user_id)], "next": "message"}
    await make.flow(service, line, office(owner, member, team=team))
    net.switchboard.people[OWNER] = Person(after=1, keys=("1",), talks=None)
    net.switchboard.people[MEMBER] = Person(after=1, keys=("1",), talks=None)
    async with net.working():
        caller = net.ring(Person(keys=("1",), talks=None))
        await until(admin, "EXISTS (SELECT FROM calls WHERE answered_at IS NOT NULL)")
        [call] = await rows(admin, "calls", line.workspace_id)
        await until(admin, "EXISTS (SELECT FROM call_legs WHERE role = 'agent' AND status = 'in_progress')")
        path = f"/api/v1/calls/{call['id']}"
        answer = await owner.post(f"{path}/transfer", json={"kind": "warm", "userId": str(member.user_id)})
        assert answer.status_code == 201, answer.text
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
        again = await owner.post(f"{path}/transfer", json={"kind": "blind", "phoneNumber": "+14155550155"})
        assert again.status_code == 409
        room = f"transfer-{answer.json()['id']}"
        await eventually(lambda: len(net.switchboard.rooms.get(room, [])) == 2)
        assert caller.heard[-1].startswith("♪")
        done = await owner.post(f"{path}/transfer-completion")
        assert done.status_code == 201, done.text
        await eventually(lambda: {one.to for one in net.switchboard.rooms[room]} == {caller.to, MEMBER})
        assert not caller.is_over
        net.switchboard.hang_up(caller)
        await until(admin, "NOT EXISTS (SELECT FROM call_legs WHERE ended_at IS NULL)")
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["answered_by"]) == ("answered", member.user_id)


async def test_the_members_phone_rings_first_and_then_the_contacts(
    net: Network, line: Connection, service: Service, owner: Client, admin: Any
) -> None:
    net.switchboard.people[CALLER] = Person(after=1, talks=4)
    async with net.working():
        answer = await owner.post("/api/v1/calls", json={"to": CALLER})
        assert answer.status_code == 202, answer.text
        await until(admin, "EXISTS (SELECT FROM calls WHERE ended_at IS NOT NULL)")
        await net.switchboard.quiet()
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["direction"], call["outcome"], call["placed_by"]) == ("outbound", "answered", owner.user_id)
    assert [found.to for found in net.switchboard.lines.values()] == [OWNER, CALLER]
    assert (await said(admin, line))[0] == "Outgoing call"


# Who is asked first has dialled already, or is asked again: never is anybody rung twice.
ASKED = {"lost": 1, "broken": 1, "overloaded": 1, "never": 2, "busy": 2, "failing": 2}


@pytest.mark.parametrize(("fault", "creates"), ASKED.items())
async def test_a_call_whose_answer_was_lost_or_that_was_not_taken_is_made_once(
    net: Network, line: Connection, owner: Client, admin: Any, fault: Any, creates: int
) -> None:
    net.switchboard.people[CALLER] = Person(after=1, talks=4)
    net.api.faults.append(fault)
    async with net.working():
        assert (await owner.post("/api/v1/calls", json={"to": CALLER})).status_code == 202
        await until(admin, "EXISTS (SELECT FROM calls WHERE ended_at IS NOT NULL)", within=20)
        await net.switchboard.quiet()
    assert [found.to for found in net.switchboard.lines.values()] == [OWNER, CALLER]
    assert net.api.creates == creates
