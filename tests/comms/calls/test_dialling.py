"""Lines that we dial, while a provider does not answer as it should: nobody is rung twice, nor long afterwards."""

import asyncio
from typing import Any

import pytest

from comms.calls import dialling
from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person, Telling
from tests.comms.calls.people import OWNER
from tests.comms.calls.scenes import ENDED, outgoing
from tests.conftest import Client
from tests.handlers.webhooks import rows
from tests.make.calls import CALLER, Network, dialler
from tests.make.sending import until
from tests.screens import eventually

NOBODY = "http://127.0.0.1:9"


async def leg_of(admin: Any, line: Connection, owner: Client) -> Any:
    """The owner's line of a call that they make, to be dialled by hand: nobody does the jobs."""
    answer = await owner.post("/api/v1/calls", json={"to": CALLER})
    assert answer.status_code == 202, answer.text
    [leg] = await rows(admin, "call_legs", line.workspace_id)
    return leg["id"]


@pytest.mark.parametrize("is_reached", [True, False])
async def test_a_call_that_could_not_be_made_in_a_minute_is_not_made_later(
    net: Network, line: Connection, service: Service, owner: Client, admin: Any, *, is_reached: bool
) -> None:
    leg_id = await leg_of(admin, line, owner)
    net.api.faults.extend(["busy"] * 3)
    refuses = net.dialler if is_reached else dialler(service, NOBODY)
    for _ in range(3):
        await refuses.dial(line.workspace_id, leg_id)
    [call] = await rows(admin, "calls", line.workspace_id)
    assert call["ended_at"] is None
    await admin.execute("UPDATE call_legs SET created_at = created_at - interval '5 hours'")
    net.api.faults.clear()
    await net.dialler.dial(line.workspace_id, leg_id)
    assert not net.switchboard.lines
    [leg], [call] = await rows(admin, "call_legs", line.workspace_id), await rows(admin, "calls", line.workspace_id)
    assert (leg["status"], leg["error_code"], call["status"]) == ("failed", "unreachable", "canceled")


async def test_a_provider_that_wants_to_be_left_alone_for_hours_does_not_keep_a_call_for_hours(
    net: Network, line: Connection, owner: Client, admin: Any
) -> None:
    leg_id = await leg_of(admin, line, owner)
    await admin.execute("DELETE FROM jobs.pgqueuer")
    net.api.faults.append("busy")
    net.api.retry_after = 7200
    await net.dialler.dial(line.workspace_id, leg_id)
    [due] = await admin.fetch("SELECT execute_after - now() AS left FROM jobs.pgqueuer WHERE entrypoint = 'calls.dial'")
    assert due["left"].total_seconds() < 90


async def test_a_line_whose_answer_was_lost_is_looked_for_even_if_nobody_could_look_at_once(
    net: Network, line: Connection, service: Service, owner: Client, admin: Any
) -> None:
    leg_id = await leg_of(admin, line, owner)
    net.switchboard.people[OWNER] = Person(answers=False)
    net.switchboard.telling = Telling(lost=True)
    net.api.faults.append("lost")
    await net.dialler.dial(line.workspace_id, leg_id)
    await dialler(service, NOBODY).dial(line.workspace_id, leg_id)
    await net.dialler.dial(line.workspace_id, leg_id)
    [rung] = net.switchboard.lines.values()
    [leg] = await rows(admin, "call_legs", line.workspace_id)
    assert (rung.to, leg["provider_call_id"]) == (OWNER, rung.sid)


async def test_nobody_is_dialled_again_while_an_earlier_try_may_be_under_way(
    net: Network, line: Connection, owner: Client, admin: Any
) -> None:
    leg_id = await leg_of(admin, line, owner)
    net.api.faults.append("never")
    slow = asyncio.create_task(net.dialler.dial(line.workspace_id, leg_id))
    await eventually(lambda: net.api.creates == 1)
    await net.dialler.dial(line.workspace_id, leg_id)
    assert net.api.creates == 1
    await slow
    await asyncio.sleep(1)
    await net.dialler.dial(line.workspace_id, leg_id)
    assert net.api.creates == 2
    [leg] = await rows(admin, "call_legs", line.workspace_id)
    assert leg["provider_call_id"] in net.switchboard.lines


def test_a_request_about_a_line_is_over_well_before_what_it_asked_for_counts_as_never_taken() -> None:
    wait = dialling.TIMEOUT
    encrypted = 2 * wait.connect  # TCP, and then TLS, may take so long each
    assert encrypted + wait.write + wait.read <= dialling.SETTLED_SECONDS - 5


async def test_a_provider_that_is_busy_when_a_lost_try_has_settled_is_asked_again_at_once_when_it_is_not(
    net: Network, line: Connection, owner: Client, admin: Any
) -> None:
    leg_id = await leg_of(admin, line, owner)
    net.api.faults.extend(["never", "busy"])
    await net.dialler.dial(line.workspace_id, leg_id)
    await asyncio.sleep(1)
    await net.dialler.dial(line.workspace_id, leg_id)
    assert net.api.creates == 2
    await net.dialler.dial(line.workspace_id, leg_id)
    assert net.api.creates == 3
    [leg] = await rows(admin, "call_legs", line.workspace_id)
    assert leg["provider_call_id"] in net.switchboard.lines


async def test_whoever_hangs_up_does_not_wait_for_a_provider_that_was_busy_for_a_moment(
    net: Network, line: Connection, owner: Client, admin: Any
) -> None:
    async with net.working():
        scene = await outgoing(net, owner, admin)
        net.api.change_faults.extend(["busy"] * 4)
        assert (await owner.post(f"/api/v1/calls/{scene.call_id}/hang-up")).status_code == 204
        await until(admin, ENDED, within=4)
    assert scene.contact.is_over
    assert scene.member.is_over
