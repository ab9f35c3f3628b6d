"""A contact and a member are taken apart and brought together by a provider who may not do it, or not at once."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from comms.calls import rows as call_rows
from comms.calls import transfers
from comms.calls.progress import REDIRECT
from comms.calls.transfers import BEARABLE
from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person
from models.base import now
from tests.comms.calls.people import OWNER, said
from tests.comms.calls.scenes import BOB, ENDED, incoming, outgoing
from tests.conftest import Client
from tests.handlers.webhooks import rows
from tests.make.calls import CALLER, Network
from tests.make.sending import until
from tests.screens import eventually

NO_WORK = f"NOT EXISTS (SELECT FROM jobs.pgqueuer WHERE entrypoint = '{REDIRECT}')"
WHY = f"Not handed over to {BOB}: the provider did not put the call through"


@pytest.fixture(autouse=True)
def bob(net: Network) -> None:
    """Somebody who can be asked."""
    net.switchboard.people[BOB] = Person(after=1, keys=("1",), talks=None)


@pytest.mark.parametrize("is_ours", [False, True])
async def test_nobody_is_rung_for_a_word_before_the_two_are_parted(
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
        net.api.faults.append("refused")
        net.api.change_faults.extend(["busy"] * 4)
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await eventually(lambda: len(net.api.change_faults) < 3)
        assert scene.is_talk
        assert net.api.faults
        await scene.together(f"back-{transfer}", OWNER, CALLER)
        assert not net.api.faults
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)


@pytest.mark.parametrize("kind", ["blind", "warm"])
async def test_two_whom_the_provider_does_not_part_talk_on_and_read_why(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any, kind: str
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        net.api.change_faults.append("refused")
        await scene.transfer(kind, phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'canceled')")
        assert scene.is_talk
        assert not any(one.to == BOB for one in net.switchboard.lines.values())
        assert WHY in await said(admin, line)
        net.switchboard.hang_up(scene.member)
        await until(admin, ENDED)
    assert "Please leave a message." not in scene.contact.heard


@pytest.mark.parametrize("kind", ["blind", "warm"])
async def test_a_provider_that_is_busy_for_longer_than_anybody_can_bear_parts_nobody(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any, kind: str
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        net.api.change_faults.extend(["busy"] * 1000)
        transfer = await scene.transfer(kind, phoneNumber=BOB)
        await eventually(lambda: len(net.api.change_faults) < 998)
        [row] = await rows(admin, "call_transfers", line.workspace_id)
        assert row["state"] == "ringing"
        roles = ("caller",) if kind == "blind" else ("agent",)
        [leg_id] = [leg["id"] for leg in await rows(admin, "call_legs", line.workspace_id) if leg["role"] in roles]
        [call] = await rows(admin, "calls", line.workspace_id)
        place = "voice-transfer" if kind == "blind" else "voice-room"
        since = now() - BEARABLE - timedelta(seconds=1)
        await net.dialler.redirect(line.workspace_id, leg_id, place, row["id"], turn=call["turn"], since=since)
        assert scene.is_talk
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'canceled')")
        await until(admin, NO_WORK)
        assert (str(row["id"]), WHY in await said(admin, line)) == (transfer, True)
        assert scene.is_talk


async def test_a_contact_whom_the_provider_does_not_take_to_who_has_them_goes_there_when_the_music_is_over(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await until(admin, "EXISTS (SELECT FROM call_transfers WHERE state = 'consulting')")
        await scene.together(f"transfer-{transfer}", OWNER, BOB)
        net.api.change_faults.extend(["busy"] * 1000)
        await scene.complete()
        await scene.together(f"transfer-{transfer}", OWNER, BOB, CALLER)
        net.api.change_faults.clear()
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)


async def test_a_contact_whom_nobody_can_have_back_goes_on_in_the_flow(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        scene.contact.person.message = "Hello?"
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"transfer-{transfer}", OWNER, BOB)
        net.api.change_faults.extend(["busy"] * 1000)
        await scene.cancel()
        await eventually(lambda: len(net.api.change_faults) < 998)
        assert "Please leave a message." not in scene.contact.heard
        await admin.execute("UPDATE call_transfers SET ended_at = ended_at - interval '1 minute'")
        await until(admin, ENDED)
    assert "Please leave a message." in scene.contact.heard


async def test_whoever_hangs_up_before_they_have_the_contact_back_leaves_them_to_the_flow(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin)
        scene.contact.person.message = "Hello?"
        transfer = await scene.transfer("warm", phoneNumber=BOB)
        await scene.together(f"transfer-{transfer}", OWNER, BOB)
        net.api.change_faults.extend(["busy"] * 10)
        await scene.cancel()
        net.switchboard.hang_up(scene.member)
        await until(admin, ENDED)
    assert "Please leave a message." in scene.contact.heard


async def test_two_who_are_on_their_way_apart_when_it_is_broken_off_meet_again(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    scene = await incoming(net, service, owner, member, admin)
    transfer = await scene.transfer("warm", phoneNumber=BOB)
    [leg_id] = [leg["id"] for leg in await rows(admin, "call_legs", line.workspace_id) if leg["role"] == "agent"]
    async with service.database.workspace(line.workspace_id) as db:
        call = await call_rows.held(db, scene.call_id)
        assert call is not None
        assert await transfers.leaves(db, call, uuid.UUID(transfer), "voice-room", call.turn)
    await scene.cancel()
    net.switchboard.go(scene.member, f"{net.at('voice-room')}?transfer={transfer}&leg={leg_id}")
    async with net.working():
        await scene.together(f"back-{transfer}", OWNER, CALLER)
        await until(admin, NO_WORK)
        assert not any(one.to == BOB for one in net.switchboard.lines.values())
        net.switchboard.hang_up(scene.member)
        await until(admin, ENDED)
    assert "Please leave a message." not in scene.contact.heard
