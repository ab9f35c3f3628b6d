"""What happened with a contact, in one list."""

import uuid
from typing import Any

from comms.service import Service
from models.business import Customer
from models.finance import Invoice
from tests.conftest import Client
from tests.handlers.test_resources import counted
from tests.make import rows

API = "/api/v1"


async def contact(client: Client) -> str:
    row_id: str = (await client.post(f"{API}/contacts", json={"firstName": "Jane"})).json()["id"]
    return row_id


async def timeline(client: Client, contact_id: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"{API}/contacts/{contact_id}/timeline", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def a_life(client: Client, service: Service, contact_id: str) -> list[tuple[str, str]]:
    """Something of every sort, oldest first."""
    happened = []
    talk = (await client.post(f"{API}/conversations", json={"channel": "sms", "contactId": contact_id})).json()["id"]

    async def message() -> None:
        body = {"conversationId": talk, "direction": "outbound", "content": "hello"}
        said = await client.post(f"{API}/conversation-messages", json=body)
        happened.append(("message", said.json()["id"]))

    async def made(sort: str, path: str, **body: Any) -> None:
        answer = await client.post(API + path, json={"contactId": contact_id} | body)
        assert answer.status_code == 201, answer.text
        happened.append((sort, answer.json()["id"]))

    await message()
    await made("interaction", "/crm-interactions", type="note", content="likes tea")
    await message()
    await made("deal", "/deals", name="Teapots")
    who = {"workspace_id": client.workspace_id, "user_id": client.user_id}
    customer = await rows.row(service, Customer, **who, contact_id=uuid.UUID(contact_id))
    invoice = await rows.row(service, Invoice, **who, customer_id=customer.id)
    happened.append(("invoice", str(invoice.id)))
    other = (await client.post(f"{API}/contacts", json={"firstName": "J."})).json()["id"]
    merge = await client.post(f"{API}/contacts/{contact_id}/merge", json={"contactId": other})
    happened.append(("merge", merge.json()["id"]))
    await made("interaction", "/crm-interactions", type="meeting", scheduledAt="2099-01-01T10:00:00Z")
    return happened


async def test_everything_is_there_in_the_order_it_happened(owner: Client, service: Service) -> None:
    jane = await contact(owner)
    happened = await a_life(owner, service, jane)
    items = (await timeline(owner, jane))["items"]
    assert [(item["type"], item["data"]["id"]) for item in items] == happened[::-1]
    assert [item["at"] for item in items] == sorted((item["at"] for item in items), reverse=True)
    paths = {"message": "conversation-messages", "interaction": "crm-interactions", "deal": "deals"}
    for item in items:
        if item["type"] in paths:
            shown = await owner.get(f"{API}/{paths[item['type']]}/{item['data']['id']}")
            assert shown.json() == item["data"]


async def test_pages_hold_everything_once_while_more_happens(owner: Client, service: Service) -> None:
    jane = await contact(owner)
    happened = await a_life(owner, service, jane)
    seen: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = await timeline(owner, jane, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [(item["type"], item["data"]["id"]) for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        await owner.post(f"{API}/deals", json={"name": "Later", "contactId": jane})
    assert seen == happened[::-1]


async def test_types_narrow_it_and_what_makes_no_sense_is_named(owner: Client, service: Service) -> None:
    jane = await contact(owner)
    await a_life(owner, service, jane)
    page = await timeline(owner, jane, types="deal,interaction", limit=2)
    assert {item["type"] for item in page["items"]} == {"deal", "interaction"}
    for query in (
        {"types": "deal,gossip"},
        {"types": "deal", "cursor": page["nextCursor"]},
        {"types": "deal,interaction", "cursor": page["nextCursor"][:-3] + "abc"},
        {"limit": "0"},
        {"since": "1"},
    ):
        answer = await owner.get(f"{API}/contacts/{jane}/timeline", params=query)
        assert answer.status_code == 400, query
    assert (await owner.get(f"{API}/contacts/{uuid.uuid4()}/timeline")).status_code == 404


async def test_other_contacts_and_workspaces_are_not_in_it(owner: Client, stranger: Client, service: Service) -> None:
    jane = await contact(owner)
    await a_life(owner, service, jane)
    assert (await timeline(owner, await contact(owner)))["items"] == []
    assert (await stranger.get(f"{API}/contacts/{jane}/timeline")).status_code == 404


async def test_invoices_are_shown_to_those_who_may_read_billing(
    owner: Client, member: Client, service: Service, admin: Any
) -> None:
    jane = await contact(owner)
    await a_life(owner, service, jane)
    assert "invoice" in {item["type"] for item in (await timeline(member, jane))["items"]}
    await admin.execute(
        'UPDATE workspace_members SET permissions = \'{"billing": "none"}\' WHERE user_id = $1', member.user_id
    )
    sorts = {item["type"] for item in (await timeline(member, jane))["items"]}
    assert sorts == {"message", "interaction", "deal", "merge"}


async def test_a_contact_with_many_conversations_has_one_order_and_few_queries(
    owner: Client, admin: Any, service: Service
) -> None:
    jane = await contact(owner)
    await admin.execute(
        """
        INSERT INTO conversations (workspace_id, id, contact_id, channel, status, created_at, updated_at)
        SELECT $1, gen_random_uuid(), $2, 'sms', 'closed', now(), now() FROM generate_series(1, 120)
        """,
        owner.workspace_id,
        uuid.UUID(jane),
    )
    await admin.execute(
        """
        INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, sender_type, status,
            created_at, updated_at)
        SELECT $1, gen_random_uuid(), c.id, 'inbound', 'x', 'contact', 'received',
            now() - random() * interval '9 days', now()
        FROM conversations c, generate_series(1, 4)
        """,
        owner.workspace_id,
    )
    expected = [
        str(row["id"])
        for row in await admin.fetch("SELECT id FROM conversation_messages ORDER BY created_at DESC, id DESC")
    ]
    seen: list[str] = []
    cursor = None
    counts = set()
    while cursor is not None or not seen:
        with counted() as statements:
            page = await timeline(owner, jane, limit=100, **({"cursor": cursor} if cursor else {}))
            counts.add(statements())
        seen += [item["data"]["id"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert seen == expected
    assert len(counts) == 1
