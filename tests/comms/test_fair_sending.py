"""One workspace's storm, or its provider that does not answer, does not keep another's messages from leaving."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from comms import workspaces
from comms.directory import Connection
from comms.outbox import Intent, put_all
from comms.outbox.fairness import shares
from comms.service import Service
from tests.make import communications as make
from tests.make.sending import HURRY, Outside, outside, until

ONE, TWO, THREE = (uuid.UUID(int=number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("waiting", "under_way", "allowed"),
    [
        ([ONE], {}, {ONE: 48}),  # never all: whoever comes next finds a place
        ([ONE, TWO], {}, {ONE: 28, TWO: 27}),
        ([ONE, TWO], {ONE: 48}, {TWO: 12}),
        ([ONE, TWO, THREE], {ONE: 48, TWO: 12}, {THREE: 3}),
        ([ONE], {ONE: 48}, {}),
        ([ONE], {TWO: 63}, {ONE: 1}),
        ([ONE, TWO], {THREE: 63}, {ONE: 1}),  # who has waited longest
        ([ONE], {TWO: 64}, {}),
        ([], {}, {}),
    ],
)
def test_nobody_has_more_than_three_times_what_is_left(
    waiting: list[uuid.UUID], under_way: dict[uuid.UUID, int], allowed: dict[uuid.UUID, int]
) -> None:
    assert shares(waiting, under_way, 64) == allowed


def test_however_many_are_waiting_each_has_its_turn() -> None:
    many = [uuid.UUID(int=number) for number in range(100)]
    assert shares(many, {}, 64) == dict.fromkeys(many[:64], 1)


@pytest.fixture
async def neighbours(
    service: Service, app: Any, line: Connection, admin: Any
) -> AsyncIterator[tuple[Outside, Outside]]:
    """Two workspaces, each with its own account."""
    async with service.database.everywhere() as db:
        workspace, _ = await workspaces.found(db, name="Rival", slug="rival", email="owner@rival.example")
    await make.number(service, workspace.id, "+14155550111")
    secret = {"accountSid": "AC" + "b" * 32, "authToken": "another-token"}
    other_line = await make.connection(service, workspace.id, secret=secret)
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as storm, outside(service, app, other_line) as quiet:
        yield storm, quiet


async def test_a_storm_to_a_silent_provider_delays_nobody_else(neighbours: tuple[Outside, Outside], admin: Any) -> None:
    storm, quiet = neighbours
    storm.exchange.share_of_faults = {"never": 1.0}
    talks = [await storm.talk(f"+1415556{number:04}") for number in range(40)]
    async with storm.service.database.alone() as db:
        said = [
            Intent(workspace_id=talk.workspace_id, conversation_id=talk.id, content="Sale!", sender_type="user")
            for talk in talks
        ]
        await put_all(db, said)
    by_storm, by_quiet = storm.sender()._transports["twilio"], quiet.sender()._transports["twilio"]

    class Each:
        """Each account at its own exchange."""

        async def send(self, outgoing: Any, connection: Connection) -> Any:
            return await (by_storm if connection.id == storm.line.id else by_quiet).send(outgoing, connection)

        async def find(self, outgoing: Any, connection: Connection) -> Any:
            await asyncio.sleep(60)

        async def close(self) -> None:
            await by_storm.close()
            await by_quiet.close()

    # The storm's requests last for as long as the test does.
    patient = msgspec.structs.replace(HURRY, at_once=8, send=20.0, lease=45.0)
    sender = storm.sender(patient, twilio=Each())
    by_storm._timeout = by_quiet._timeout = by_quiet._timeout.__class__(20.0)
    await sender.start()
    try:
        await until(admin, "(SELECT count(*) FROM outgoing_messages WHERE state = 'sending') = 6")
        said_there = await quiet.say(await quiet.talk())
        left = f"(SELECT provider_message_id IS NOT NULL FROM conversation_messages WHERE id = '{said_there.id}')"
        await until(admin, left, within=2)
        assert Counter(sender._under_way.values())[storm.line.workspace_id] == 6
    finally:
        await sender.stop(0)


async def test_a_reply_does_not_wait_behind_a_campaign_from_the_same_number(
    neighbours: tuple[Outside, Outside], admin: Any
) -> None:
    world, _ = neighbours
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 2")
    talks = [await world.talk(f"+1415556{number:04}") for number in range(24)]
    for talk in talks[:-4]:
        await world.say(talk, "Sale!")
    async with world.sending():
        await until(admin, "(SELECT bool_and(slot_at IS NOT NULL) FROM outgoing_messages)")
        for talk in talks[-4:]:
            await world.say(talk, "Yes, of course", is_reply=True)
        await until(admin, "NOT EXISTS (SELECT FROM outgoing_messages WHERE is_reply)", within=4)
        assert await admin.fetchval("SELECT count(*) FROM outgoing_messages") > 8
    replies = [one.at for one in world.exchange.sent if one.body == "Yes, of course"]
    assert (replies[-1] - replies[0]).total_seconds() > 1.2  # at the number's pace, too
    behind = await admin.fetchval(
        "SELECT paced_until - max(slot_at) FROM workspace_phone_numbers,"
        " outgoing_messages o WHERE phone_number_id = workspace_phone_numbers.id GROUP BY paced_until"
    )
    assert behind.total_seconds() > 2  # whatever comes next is that much later


async def test_a_provider_that_falls_silent_for_all_at_once_is_asked_about_all(
    neighbours: tuple[Outside, Outside], admin: Any
) -> None:
    world, _ = neighbours
    world.exchange.post = None
    world.exchange.faults.extend(["lost"] * 40)
    for number in range(40):
        await world.say(await world.talk(f"+1415556{number:04}"))
    async with world.sending(msgspec.structs.replace(HURRY, lease=5.0, send=1.0, settled=3.0)):
        await until(admin, "NOT EXISTS (SELECT FROM outgoing_messages)")
    assert world.exchange.creates == 40
    assert not await admin.fetchval("SELECT count(*) FROM conversation_messages WHERE provider_message_id IS NULL")
