"""An endpoint that is changed while it is told something: what was so before harms nothing that is so now."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from comms.hooks import endings, settling
from comms.hooks.leasing import DOWN_AFTER
from comms.service import Service
from models.base import new_id
from tests.conftest import Client
from tests.make.hooks import HURRY, NOTHING_WAITS, Endpoint, Sink, endpoint, happens, in_line, is_signed, move, posting
from tests.make.poisoning import poisoned
from tests.make.sending import until

API = "/api/v1"
GoesOff = Callable[[Service, Any, Client, Endpoint], Awaitable[None]]


@pytest.mark.parametrize(("status", "attempts"), [(410, 0), (500, 0), (500, len(settling.BACK_OFF_SECONDS))])
async def test_what_the_old_address_answers_late_is_not_held_against_the_new_one(
    service: Service, owner: Client, sink: Sink, admin: Any, status: int, attempts: int
) -> None:
    mine = await endpoint(service, owner, sink, "/old")
    await happens(service, owner.workspace_id, [new_id()])
    await in_line(service)
    await admin.execute("UPDATE webhook_lines SET attempts = $1", attempts)
    await admin.execute(
        "UPDATE webhook_endpoints SET failures = $1, failing_since = now() - interval '6 days'", DOWN_AFTER - 1
    )
    sink.answers["/old"] = [(status, {"retry-after": "600"}, b"")]
    sink.meanwhile = lambda: move(service, owner, sink, mine.id, "/new")
    async with posting(service, sink):
        await until(admin, NOTHING_WAITS)
    assert (sink.said("/old"), sink.said("/new")) == ([1], [1])
    assert await endings.end_those(service.database) == 0
    row = await admin.fetchrow("SELECT is_active, failures, failing_since, paused_until FROM webhook_endpoints")
    assert tuple(row) == (True, 0, None, None)
    tries = await admin.fetch("SELECT status FROM webhook_attempts ORDER BY created_at")
    assert [row["status"] for row in tries] == [status, 200], "the log has both"


async def by_hand(service: Service, admin: Any, owner: Client, mine: Endpoint) -> None:
    answer = await owner.patch(f"{API}/webhook-endpoints/{mine.id}", json={"isActive": False})
    assert answer.status_code == 200, answer.text


async def since_it_has_gone(service: Service, admin: Any, owner: Client, mine: Endpoint) -> None:
    url = await admin.fetchval("SELECT url FROM webhook_endpoints")
    await endings.end(service.database, owner.workspace_id, mine.id, url, endings.GONE)


async def since_it_is_silent(service: Service, admin: Any, owner: Client, mine: Endpoint) -> None:
    await admin.execute(
        "UPDATE webhook_endpoints SET failures = $1, failing_since = now() - interval '6 days'", DOWN_AFTER
    )
    assert await endings.end_those(service.database) == 1


async def leaves(admin: Any, owner: Client) -> None:
    """Whoever is behind the endpoint is no member any more."""
    member = await admin.fetchval("SELECT m.id FROM workspace_members m JOIN webhook_endpoints e"
                                  " ON e.workspace_id = m.workspace_id AND e.on_behalf_of = m.user_id")  # fmt: skip
    answer = await owner.post(f"{API}/workspace-members/{member}/deactivation")
    assert answer.status_code < 300, answer.text


async def since_they_left(service: Service, admin: Any, owner: Client, mine: Endpoint) -> None:
    await leaves(admin, owner)
    assert await endings.end_those(service.database) == 1


@pytest.mark.parametrize("goes_off", [by_hand, since_it_has_gone, since_it_is_silent, since_they_left])
async def test_what_happened_before_it_went_off_is_told_though_the_log_was_not_read_yet(
    service: Service, owner: Client, admin_member: Client, sink: Sink, admin: Any, goes_off: GoesOff
) -> None:
    mine = await endpoint(service, admin_member, sink, events=["contact."], role="admin")
    before, meanwhile, after = [[new_id() for _ in range(3)] for _ in range(3)]
    await happens(service, owner.workspace_id, before)
    await goes_off(service, admin, owner, mine)
    assert not await admin.fetchval("SELECT is_active FROM webhook_endpoints")
    await happens(service, owner.workspace_id, meanwhile)
    answer = await owner.patch(f"{API}/webhook-endpoints/{mine.id}", json={"isActive": True})
    assert answer.status_code == 200, answer.text
    await happens(service, owner.workspace_id, after)
    await in_line(service)
    waiting = await admin.fetch("SELECT line_id FROM webhook_deliveries ORDER BY place")
    assert [row["line_id"] for row in waiting] == [*before, *after]


async def test_a_member_leaves_though_the_log_cannot_be_read_and_what_happened_until_then_is_told_later(
    service: Service, owner: Client, admin_member: Client, sink: Sink, admin: Any
) -> None:
    await endpoint(service, admin_member, sink, events=["contact."], role="admin")
    before, since = [[new_id() for _ in range(3)] for _ in range(2)]
    await happens(service, owner.workspace_id, before)
    async with poisoned(admin, "webhook_progress", owner):
        await leaves(admin, owner)
        await happens(service, owner.workspace_id, since)
    await in_line(service)
    waiting = await admin.fetch("SELECT line_id FROM webhook_deliveries ORDER BY place")
    assert [row["line_id"] for row in waiting] == before
    assert await endings.end_those(service.database) == 1


async def test_a_workspace_whose_log_cannot_be_read_keeps_no_other_from_losing_its_silent_endpoints(
    service: Service, owner: Client, stranger: Client, sink: Sink, admin: Any
) -> None:
    clients = {one.workspace_id: one for one in (owner, stranger)}
    for one in clients.values():
        await endpoint(service, one, sink)
        await happens(service, one.workspace_id, [new_id()])
    await admin.execute(
        "UPDATE webhook_endpoints SET failures = $1, failing_since = now() - interval '6 days'", DOWN_AFTER
    )
    first = min(clients)
    async with poisoned(admin, "webhook_progress", clients[first]):
        assert await endings.end_those(service.database) == 1
    on = "SELECT workspace_id FROM webhook_endpoints WHERE is_active"
    assert [row["workspace_id"] for row in await admin.fetch(on)] == [first]
    assert await endings.end_those(service.database) == 1, "it has its turn again"


async def test_a_secret_that_is_deleted_signs_nothing_more_though_its_line_is_being_told(
    service: Service, owner: Client, sink: Sink, admin: Any
) -> None:
    mine = await endpoint(service, owner, sink, events=["contact."])
    made = await owner.post(f"{API}/webhook-signing-secrets", json={"endpointId": str(mine.id)})
    old = await admin.fetchval("SELECT id FROM webhook_signing_secrets WHERE id <> $1", made.json()["id"])

    async def forget() -> None:
        assert (await owner.delete(f"{API}/webhook-signing-secrets/{old}")).status_code == 204

    await happens(service, owner.workspace_id, [new_id()] * 3)
    sink.meanwhile = forget
    async with posting(service, sink, pace=msgspec.structs.replace(HURRY, spend=0.001)):
        await until(admin, f"EXISTS (SELECT FROM webhook_deliveries) AND {NOTHING_WAITS}")
    assert len(sink.heard) == 3
    assert [is_signed(heard, mine.secret) for heard in sink.heard] == [True, False, False]
    assert all(is_signed(heard, made.json()["secret"]) for heard in sink.heard)
    assert HURRY.spend <= 2.0, "so long at most what was so when a line was taken is thought to be so"


@pytest.mark.parametrize(("status", "state"), [(500, "failed"), (200, "delivered")])
async def test_what_is_called_off_while_it_is_told_holds_nothing_up(
    service: Service, owner: Client, sink: Sink, admin: Any, status: int, state: str
) -> None:
    await endpoint(service, owner, sink)
    thing = new_id()
    await happens(service, owner.workspace_id, [thing])
    async with posting(service, sink):
        await until(admin, f"EXISTS (SELECT FROM webhook_deliveries) AND {NOTHING_WAITS}")
    address = f"{API}/webhook-deliveries/{await admin.fetchval('SELECT id FROM webhook_deliveries')}/replay"
    again = (await owner.post(address)).json()["id"]
    await happens(service, owner.workspace_id, [thing])
    await in_line(service)
    await admin.execute("UPDATE webhook_lines SET attempts = 3")
    sink.answers["/events"] = [(status, {}, b"")]

    async def call_off() -> None:
        assert (await owner.delete(address)).status_code == 204

    sink.meanwhile = call_off
    async with posting(service, sink):
        await until(admin, NOTHING_WAITS)
    assert sink.said() == [1, 1, 2]
    assert await admin.fetchval("SELECT state FROM webhook_deliveries WHERE id = $1", uuid.UUID(again)) == state
