"""What is recorded of calls: who is told before, what a pause does, and what comes in whichever order."""

from typing import Any

import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person
from tests.comms.calls.people import OWNER
from tests.comms.calls.scenes import ENDED, incoming
from tests.conftest import Client
from tests.handlers.webhooks import rows
from tests.make.calls import CALLER, Network
from tests.make.sending import until

NOTICE = "This call may be recorded."


async def test_whoever_is_called_is_told_before_anything_is_recorded(net: Network, owner: Client, admin: Any) -> None:
    net.switchboard.people[CALLER] = Person(after=1, talks=4)
    async with net.working():
        placed = await owner.post("/api/v1/calls", json={"to": CALLER, "record": True})
        assert placed.status_code == 202, placed.text
        await until(admin, ENDED)
        await until(admin, "EXISTS (SELECT FROM recordings WHERE state = 'completed')")
    heard = {line.to: line.heard for line in net.switchboard.lines.values()}
    assert NOTICE in heard[CALLER]
    assert NOTICE not in heard[OWNER]


@pytest.mark.parametrize("queue", [False, True])
@pytest.mark.parametrize("provider", ["twilio", "signalwire"])
async def test_a_pause_reaches_the_line_that_records(
    net: Network,
    line: Connection,
    service: Service,
    owner: Client,
    member: Client,
    admin: Any,
    *,
    queue: bool,
    provider: str,
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin, queue=queue, record=True)
        assert NOTICE in scene.contact.heard
        await until(admin, "EXISTS (SELECT FROM recordings WHERE state = 'in_progress')")
        path = f"/api/v1/calls/{scene.call_id}/recording-pause"
        paused = await owner.post(path)
        assert (paused.status_code, paused.json()["state"]) == (201, "paused"), paused.text
        assert (await owner.delete(path)).json()["state"] == "in_progress"
        [(_, first), (_, second)] = net.api.paused
        assert (first, second) == ("paused", "in-progress")
        net.switchboard.hang_up(scene.contact)
        await until(admin, "EXISTS (SELECT FROM recordings WHERE state = 'completed')")


async def test_a_pause_that_the_provider_does_not_know_is_not_one(
    net: Network, line: Connection, service: Service, owner: Client, member: Client, admin: Any
) -> None:
    async with net.working():
        scene = await incoming(net, service, owner, member, admin, record=True)
        await until(admin, "EXISTS (SELECT FROM recordings WHERE state = 'in_progress')")
        net.switchboard.recordings.clear()
        refused = await owner.post(f"/api/v1/calls/{scene.call_id}/recording-pause")
        assert refused.status_code == 409, refused.text
        net.switchboard.hang_up(scene.contact)
        await until(admin, ENDED)
    [recording] = await rows(admin, "recordings", line.workspace_id)
    assert recording["state"] != "paused"
