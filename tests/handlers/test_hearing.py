"""Whoever may not read an area does not hear of it, in the log and on the socket alike."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from comms.events import Fact, encode, tell
from comms.service import Service
from models.base import new_id, now
from tests.conftest import Client
from tests.screens import application, eventually, serving, watching

API = "/api/v1"


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with serving(application(service.database, service.hub)) as url:
        yield url


async def happens(service: Service, client: Client, event: str, **data: Any) -> None:
    """Something is told, of a table that may have no API here."""
    noun = event.partition(".")[0]
    fact = Fact(client.workspace_id, event, noun, new_id(), encode(data), now())
    async with service.database.alone() as db:
        told = await tell(db, [fact])
    service.hub.told(told)


async def permit(admin: Any, client: Client, **permissions: str) -> None:
    await admin.execute(
        "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2",
        encode(permissions).decode(),
        client.user_id,
    )


async def heard(client: Client) -> list[str]:
    return [item["event"] for item in (await client.get(f"{API}/events")).json()["items"]]


async def test_without_billing_nobody_hears_of_invoices(
    service: Service, owner: Client, member: Client, admin: Any, url: str
) -> None:
    await permit(admin, member, billing="none")
    async with watching(url, owner.token) as theirs, watching(url, member.token) as ours:
        for event in ("invoice.created", "expense.approved", "contact.created"):
            await happens(service, owner, event)
        assert [(await theirs.next("event"))["event"] for _ in range(3)] == [
            "invoice.created",
            "expense.approved",
            "contact.created",
        ]
        assert (await ours.next("event"))["event"] == "contact.created"
    assert await heard(owner) == ["invoice.created", "expense.approved", "contact.created"]
    assert await heard(member) == ["contact.created"]
    # Who comes back is told no more than who stayed.
    async with watching(url, member.token, after=0) as again:
        assert (await again.next("event"))["event"] == "contact.created"


@pytest.mark.parametrize(
    ("event", "permissions", "hears"),
    [
        ("agent.created", {}, True),
        ("agent.created", {"agents": "none"}, False),
        ("agent_workflow_execution.started", {"agents": "none"}, False),
        ("agent_pack.published", {"agents": "none"}, True),
        ("agent_template.published", {"packs": "none"}, False),
        ("workspace_member.updated", {"members": "none"}, False),
        ("workspace_member.updated", {}, True),
        ("workspace_invitation.created", {}, False),
        ("workspace_invitation.created", {"members": "write"}, True),
        ("contact.created", {"agents": "none", "packs": "none", "billing": "none", "members": "none"}, True),
    ],
)
async def test_an_event_is_heard_by_who_may_read_its_area(
    service: Service,
    owner: Client,
    member: Client,
    admin: Any,
    url: str,
    event: str,
    permissions: dict[str, str],
    hears: bool,
) -> None:
    await permit(admin, member, **permissions)
    async with watching(url, member.token) as screen:
        await happens(service, owner, event)
        await happens(service, owner, "contact.updated")
        assert (await screen.next("event"))["event"] == (event if hears else "contact.updated")
    assert (await heard(member))[0] == (event if hears else "contact.updated")
    assert (await heard(owner))[0] == event


async def test_an_expense_is_heard_by_who_submitted_it_and_who_may_approve_it(
    service: Service, owner: Client, member: Client, viewer: Client, url: str
) -> None:
    async with (
        watching(url, owner.token) as theirs,
        watching(url, member.token) as ours,
        watching(url, viewer.token) as others,
    ):
        await happens(service, owner, "expense.approved", submittedBy=member.user_id)
        await happens(service, owner, "contact.created")
        assert [(await theirs.next("event"))["event"] for _ in range(2)] == ["expense.approved", "contact.created"]
        assert [(await ours.next("event"))["event"] for _ in range(2)] == ["expense.approved", "contact.created"]
        assert (await others.next("event"))["event"] == "contact.created"
    assert await heard(member) == ["expense.approved", "contact.created"]
    assert await heard(viewer) == ["contact.created"]


async def test_what_is_taken_away_is_not_heard_on_an_open_socket(
    service: Service, owner: Client, member: Client, url: str
) -> None:
    members = (await owner.get(f"{API}/workspace-members", params={"userId": str(member.user_id)})).json()["items"]
    address = f"{API}/workspace-members/{members[0]['id']}"
    async with watching(url, member.token) as screen:
        await happens(service, owner, "invoice.created")
        assert (await screen.next("event"))["event"] == "invoice.created"
        assert (await owner.patch(address, json={"permissions": {"billing": "none"}})).status_code == 200
        assert (await screen.next("event"))["event"] == "workspace_member.updated"
        await eventually(
            lambda: all(
                ("billing", "read") in socket.listener.lacks
                for socket in service.hub._sockets
                if socket.member.user_id == member.user_id
            )
        )
        await happens(service, owner, "invoice.sent")
        await happens(service, owner, "contact.updated")
        assert (await screen.next("event"))["event"] == "contact.updated"


async def test_who_is_deactivated_is_cut_off(service: Service, owner: Client, member: Client, url: str) -> None:
    members = (await owner.get(f"{API}/workspace-members", params={"userId": str(member.user_id)})).json()["items"]
    async with watching(url, member.token) as screen:
        assert (await owner.delete(f"{API}/workspace-members/{members[0]['id']}")).status_code == 204
        assert await screen.closed() == (4401, "your access has ended")


async def test_nobody_hears_of_another_ones_session(service: Service, owner: Client, member: Client, url: str) -> None:
    async with watching(url, owner.token) as theirs, watching(url, member.token) as ours:
        await happens(service, member, "session.created", userId=str(member.user_id))
        await happens(service, member, "contact.created")
        assert (await ours.next("event"))["event"] == "session.created"
        assert (await theirs.next("event"))["event"] == "contact.created"
    assert await heard(owner) == ["contact.created"]
