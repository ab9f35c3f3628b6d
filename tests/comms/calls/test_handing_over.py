"""Calls that change hands: what becomes of the contact, whoever hangs up or is taken back, in whichever order."""

from typing import Any

import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person
from tests.comms.calls.people import MEMBER, OWNER, said
from tests.comms.calls.scenes import BOB, ENDED, incoming, outgoing
from tests.conftest import Client
from tests.handlers.webhooks import rows
from tests.make.calls import CALLER, Network
from tests.make.sending import until
from tests.screens import eventually


@pytest.fixture(autouse=True)
def bob(net: Network) -> None:
    """Somebody who can be asked."""
    net.switchboard.people[BOB] = Person(after=1, keys=("1",), talks=None)


async def test_whoever_takes_the_contact_back_talks_with_them_and_the_end_of_that_is_the_calls(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"transfer-{transfer}", OWNER, BOB)
        await scene.cancel()
        await scene.together(f"back-{transfer}", OWNER, CALLER)
        await eventually(lambda: not net.switchboard.rooms.get(f"transfer-{transfer}"))
        assert not scene.contact.is_over
        net.switchboard.hang_up(scene.member)
        await until(admin, ENDED)
    assert scene.contact.is_over
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], call["answered_by"]) == ("answered", owner.user_id)
    assert "Please leave a message." not in scene.contact.heard


async def test_the_next_who_is_asked_is_not_sent_away_by_the_end_of_the_one_before(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    net.switchboard.people[MEMBER] = Person(after=1, keys=("1",), talks=None)
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        first = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"transfer-{first}", OWNER, BOB)
        await scene.cancel()
        await scene.together(f"back-{first}", OWNER, CALLER)
        second = await scene.transfer("warm", userId=str(member.user_id))
        await scene.together(f"transfer-{second}", OWNER, MEMBER)
        await net.switchboard.quiet_reports()
        await scene.complete()
        await scene.together(f"transfer-{second}", CALLER, MEMBER)
        net.switchboard.hang_up(next(one for one in net.switchboard.lines.values() if one.to == MEMBER))
        await until(admin, ENDED)
    assert scene.contact.is_over
    states = [transfer["state"] for transfer in await rows(admin, "call_transfers", line.workspace_id)]
    assert states == ["canceled", "completed"]


async def test_whoever_hangs_up_on_the_one_they_ask_leaves_them_the_contact(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
        await scene.together(f"transfer-{transfer}", OWNER, BOB)
        net.switchboard.hang_up(scene.member)
        await scene.together(f"transfer-{transfer}", CALLER, BOB)
        net.switchboard.hang_up(scene.contact)
        await until(admin, "NOT EXISTS (SELECT FROM call_legs WHERE ended_at IS NULL)")
    [row] = await rows(admin, "call_transfers", line.workspace_id)
    assert row["state"] == "completed"


async def test_whoever_hangs_up_before_anybody_is_reached_leaves_the_contact_to_the_flow(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    net.switchboard.people[BOB] = Person(after=30, answers=False)
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        scene.contact.person.message = "Hello?"
        await scene.transfer("warm", phoneNumber=BOB)
        await eventually(lambda: any(one.to == BOB for one in net.switchboard.lines.values()))
        net.switchboard.hang_up(scene.member)
        await until(admin, ENDED)
    assert "Please leave a message." in scene.contact.heard


async def test_a_number_that_cannot_be_reached_gives_the_contact_back(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        net.api.faults.append("refused")
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"back-{transfer}", OWNER, CALLER)
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)


@pytest.mark.parametrize("is_ours", [False, True])
async def test_who_is_not_taken_elsewhere_talks_on_and_can_be_handed_over_again(
    net: Network,
    line: Connection,
    service: Service,
    owner: Client,
    member: Client,
    admin: Any,
    *,
    is_ours: bool,
) -> None:
    async with net.working():
        if is_ours:
            scene = await outgoing(net, owner, admin)
        else:
            scene = await incoming(net, service, owner, member, admin)
        net.api.change_faults.append("refused")
        first = await scene.transfer("blind", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'canceled')")
        assert scene.is_talk
        second = await scene.transfer("blind", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'completed')")
    found = [row for row in await rows(admin, "events", line.workspace_id) if row["event"].startswith("call_transfer.")]
    told = [(str(row["subject_id"]), row["event"].removeprefix("call_transfer.")) for row in found]
    assert told == [(first, "created"), (first, "canceled"), (second, "created"), (second, "completed")]


async def test_a_contact_whom_nobody_could_take_elsewhere_yet_is_taken_back(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        net.api.change_faults.append("busy")
        await scene.transfer("blind", phoneNumber=BOB)
        await eventually(lambda: not net.api.change_faults)
        await scene.cancel()
        await until(admin, "NOT EXISTS (SELECT FROM jobs.pgqueuer WHERE entrypoint = 'calls.redirect')")
        assert scene.is_talk
        await scene.transfer("blind", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'completed')")
        again = await owner.delete(f"/api/v1/calls/{scene.call_id}/transfer")
        assert again.status_code == 409


async def test_a_call_out_of_the_queue_is_over_when_whoever_it_was_left_to_hangs_up(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin, queue=True)
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
        await scene.together(f"transfer-{transfer}", OWNER, BOB)
        await scene.complete()
        await scene.together(f"transfer-{transfer}", CALLER, BOB)
        net.switchboard.hang_up(next(one for one in net.switchboard.lines.values() if one.to == BOB))
        await until(admin, ENDED)
    assert "Please leave a message." not in scene.contact.heard
    assert scene.contact.is_over


@pytest.mark.parametrize("kind", ["blind", "warm"])
async def test_a_call_that_we_made_is_handed_over_and_goes_on(
    net: Network, line: Connection, owner: Client, admin: Any, kind: str
) -> None:
    async with net.working():
        scene = await outgoing(net, owner, admin)
        transfer = await scene.transfer(kind, phoneNumber=BOB)
        if kind == "warm":
            await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
            await scene.together(f"transfer-{transfer}", OWNER, BOB)
            await scene.complete()
            await scene.together(f"transfer-{transfer}", CALLER, BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'completed')")
        await eventually(lambda: scene.member.is_over)
        await net.switchboard.quiet_reports()
        assert not scene.contact.is_over
        [call] = await rows(admin, "calls", line.workspace_id)
        assert call["ended_at"] is None
        net.switchboard.hang_up(scene.contact)
        await until(admin, "NOT EXISTS (SELECT FROM call_legs WHERE ended_at IS NULL)")
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["outcome"], (await said(admin, line))[-1].startswith("Call answered")) == ("answered", True)


@pytest.mark.parametrize("is_ours", [False, True])
async def test_whoever_a_call_was_handed_to_at_once_may_ask_somebody_else(
    net: Network,
    line: Connection,
    service: Service,
    owner: Client,
    member: Client,
    admin: Any,
    *,
    is_ours: bool,
) -> None:
    net.switchboard.people[MEMBER] = Person(after=1, keys=("1",), talks=None)
    async with net.working():
        scene = await (outgoing(net, owner, admin) if is_ours else incoming(net, service, owner, member, admin))
        await member.put("/api/v1/me/phone", json={"phone": MEMBER})
        await scene.transfer("blind", userId=str(member.user_id))
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'completed')")
        await eventually(lambda: scene.member.is_over)
        await net.switchboard.quiet_reports()
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
        await scene.together(f"transfer-{transfer}", MEMBER, BOB)
        await scene.complete()
        await scene.together(f"transfer-{transfer}", CALLER, BOB)
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)
    assert [row["state"] for row in await rows(admin, "call_transfers", line.workspace_id)] == ["completed"] * 2
