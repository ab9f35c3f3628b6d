"""Phones that are rung for nobody: numbers of our own, which would call themselves, and those that talk already."""

from typing import Any

import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person
from tests.comms.calls.flows import document
from tests.comms.calls.people import OWNER, office
from tests.comms.calls.scenes import BOB, ENDED, incoming
from tests.conftest import Client
from tests.make import calls as make
from tests.make import communications
from tests.make.calls import CALLER, Network
from tests.make.communications import OUR_NUMBER
from tests.make.sending import until

OUR_OTHER_NUMBER = "+14155550188"


async def test_a_number_of_ours_is_nobodys_phone(line: Connection, owner: Client, member: Client) -> None:
    everybody = (await owner.get("/api/v1/workspace-members")).json()["items"]
    [theirs] = [one["id"] for one in everybody if one["userId"] == str(member.user_id)]
    for refused in (
        await member.put("/api/v1/me/phone", json={"phone": OUR_NUMBER}),
        await owner.patch(f"/api/v1/workspace-members/{theirs}", json={"phone": OUR_NUMBER}),
    ):
        assert refused.status_code == 400
        assert [error["field"] for error in refused.json()["errors"]] == ["phone"]
    assert (await owner.get(f"/api/v1/workspace-members/{theirs}")).json()["phone"] is None
    assert (await member.put("/api/v1/me/phone", json={"phone": OUR_OTHER_NUMBER})).status_code == 200
    assert (await owner.patch(f"/api/v1/workspace-members/{theirs}", json={"phone": None})).status_code == 200


async def test_a_member_whose_phone_became_a_number_of_ours_is_not_rung(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    await make.phone(service, line.workspace_id, owner.user_id, OUR_NUMBER)
    team = {"type": "ring", "users": [str(owner.user_id)], "next": "message"}
    await make.flow(service, line, office(owner, member, team=team))
    caller = await net.call(Person(keys=("1",), message="Hello?"))
    assert "Please leave a message." in caller.heard
    assert [one.to for one in net.switchboard.lines.values()] == [OUR_NUMBER]
    placed = await owner.post("/api/v1/calls", json={"to": CALLER})
    assert placed.status_code == 409
    assert "number of this workspace" in placed.json()["detail"]


async def test_a_flow_does_not_ring_a_number_of_ours(line: Connection, owner: Client) -> None:
    [number] = (await owner.get("/api/v1/workspace-phone-numbers")).json()["items"]
    flow = document(hello={"type": "ring", "numbers": ["+14155550155", OUR_NUMBER], "next": "message"})
    refused = await owner.patch(f"/api/v1/workspace-phone-numbers/{number['id']}", json={"voiceFlow": flow})
    assert refused.status_code == 400
    assert [error["field"] for error in refused.json()["errors"]] == ["voiceFlow.steps.hello.numbers[1]"]


async def test_a_number_that_became_ours_after_a_flow_named_it_is_not_rung(
    net: Network, line: Connection, service: Service, owner: Client, member: Client
) -> None:
    team = {"type": "ring", "numbers": [OWNER, OUR_OTHER_NUMBER], "next": "message"}
    await make.flow(service, line, office(owner, member, team=team))
    await communications.number(service, line.workspace_id, OUR_OTHER_NUMBER)
    net.switchboard.people[OWNER] = Person(after=1, keys=("1",))
    await net.call(Person(keys=("1",), message="Hello?"))
    assert [one.to for one in net.switchboard.lines.values()] == [OUR_NUMBER, OWNER]


async def test_another_number_of_ours_is_not_called(
    net: Network, line: Connection, service: Service, owner: Client
) -> None:
    await communications.number(service, line.workspace_id, OUR_OTHER_NUMBER)
    refused = await owner.post("/api/v1/calls", json={"to": OUR_OTHER_NUMBER})
    assert refused.status_code == 400
    assert [error["field"] for error in refused.json()["errors"]] == ["to"]


@pytest.mark.parametrize("kind", ["blind", "warm"])
@pytest.mark.parametrize("to", [CALLER, OWNER, OUR_NUMBER, OUR_OTHER_NUMBER])
async def test_a_call_is_not_handed_to_whoever_is_in_it_already_nor_to_us(
    net: Network, service: Service, owner: Client, member: Client, admin: Any, kind: str, to: str
) -> None:
    await communications.number(service, net.line.workspace_id, OUR_OTHER_NUMBER)
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        refused = await owner.post(f"/api/v1/calls/{scene.call_id}/transfer", json={"kind": kind, "phoneNumber": to})
        assert refused.status_code == 400
        assert [error["field"] for error in refused.json()["errors"]] == ["phoneNumber"]
        assert scene.is_talk
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)


async def test_who_was_just_asked_can_be_asked_again_once_their_line_has_ended(
    net: Network, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    net.switchboard.people[BOB] = Person(after=1, keys=("1",), talks=None)
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        first = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"transfer-{first}", OWNER, BOB)
    await scene.cancel()  # and nobody has ended the line of who was asked yet
    again = {"kind": "warm", "phoneNumber": BOB}
    early = await owner.post(f"/api/v1/calls/{scene.call_id}/transfer", json=again)
    assert early.status_code == 409
    assert "try again" in early.json()["detail"]
    async with net.working():
        await scene.together(f"back-{first}", OWNER, CALLER)
        await until(admin, "NOT EXISTS (SELECT FROM call_legs WHERE role = 'consulted' AND ended_at IS NULL)")
        second = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"transfer-{second}", OWNER, BOB)
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)


@pytest.mark.parametrize("kind", ["blind", "warm"])
async def test_a_call_is_not_handed_to_whoever_it_was_left_to(
    net: Network, service: Service, owner: Client, member: Client, admin: Any, kind: str
) -> None:
    net.switchboard.people[BOB] = Person(after=1, keys=("1",), talks=None)
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        transfer = await scene.transfer(kind, phoneNumber=BOB)
        if kind == "warm":
            await scene.together(f"transfer-{transfer}", OWNER, BOB)
            await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
            await scene.complete()
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'completed')")
        again = {"kind": "blind", "phoneNumber": BOB}
        refused = await owner.post(f"/api/v1/calls/{scene.call_id}/transfer", json=again)
        assert refused.status_code == 400
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)
