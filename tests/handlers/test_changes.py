"""Every change says what was before it and is after it, and no row changes without being told of."""

from typing import Any

import httpx

from comms.service import Service
from tests.conftest import PUBLIC_URL, Client
from tests.handlers.test_contact_files import imported
from tests.make import chat

API = "/api/v1"


async def log(client: Client) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = {"limit": 200} | ({} if cursor is None else {"cursor": cursor})
        page = (await client.get(f"{API}/events", params=asked)).json()
        told += page["items"]
        if (cursor := page["nextCursor"]) is None:
            return sorted(told, key=lambda event: int(event["seq"]))


async def replayed(client: Client, noun: str) -> list[dict[str, Any]]:
    """What somebody knows who has only heard the events."""
    rows: dict[str, dict[str, Any]] = {}
    for event in await log(client):
        if event["subjectType"] == noun:
            rows[event["subjectId"]] = event["data"]
            if event["event"].endswith(".deleted"):
                del rows[event["subjectId"]]
    return sorted(rows.values(), key=lambda row: str(row["id"]))


async def listed(client: Client, path: str) -> list[dict[str, Any]]:
    items = (await client.get(f"{API}/{path}", params={"limit": 200})).json()["items"]
    return sorted(items, key=lambda row: str(row["id"]))


async def last(client: Client, name: str) -> dict[str, Any]:
    return [event for event in await log(client) if event["event"] == name][-1]


async def test_who_replays_the_events_knows_every_address(service: Service, owner: Client) -> None:
    jane = (await owner.post(f"{API}/contacts", json={"phone": "+14155550123", "email": "j@x.example"})).json()
    await owner.patch(f"{API}/contacts/{jane['id']}", json={"phone": "+14155550124", "email": None})
    point = {"contactId": jane["id"], "kind": "phone", "value": "+14155550125"}
    further = (await owner.post(f"{API}/contact-points", json=point)).json()
    await owner.put(f"{API}/contact-points/{further['id']}/primary")
    await owner.patch(f"{API}/contacts/{jane['id']}", json={"phone": "+14155550124"})
    batch = {"items": [{"phone": "+14155550130", "email": "a@x.example"}, {"phone": "+14155550130"}]}
    [ann, _] = (await owner.post(f"{API}/contacts/batch", json=batch)).json()["results"]
    await imported(
        owner,
        service,
        "phone,email,company\n+14155550140,k@x.example,K\n+14155550124,new@x.example,N\n",
        updateExisting=True,
    )
    assert await replayed(owner, "contact_point") == await listed(owner, "contact-points")
    merge = await owner.post(f"{API}/contacts/{jane['id']}/merge", json={"contactId": ann["item"]["id"]})
    assert await replayed(owner, "contact_point") == await listed(owner, "contact-points")
    parted = await owner.delete(f"{API}/contacts/{jane['id']}/merges/{merge.json()['id']}")
    assert parted.status_code in (200, 204), parted.text
    assert await replayed(owner, "contact_point") == await listed(owner, "contact-points")


async def test_a_change_of_state_says_what_it_was(owner: Client) -> None:
    contact = (await owner.post(f"{API}/contacts", json={"firstName": "Ada"})).json()
    asked = {"contactId": contact["id"], "channel": "sms"}
    talk = (await owner.post(f"{API}/conversations", json=asked)).json()
    path = f"{API}/conversations/{talk['id']}"
    await owner.put(f"{path}/assignment", json={"userId": str(owner.user_id)})
    assigned = await last(owner, "conversation.assigned")
    assert assigned["changes"] == {
        "assignedTo": {"before": None, "after": str(owner.user_id)},
        "fence": {"before": 0, "after": 1},
        "waitingSince": {"before": talk["waitingSince"], "after": None},
        "ownershipReason": {"before": None, "after": "assigned by hand"},
    }
    await owner.post(f"{path}/closure")
    closed = await last(owner, "conversation.closed")
    assert closed["changes"] == {"status": {"before": "active", "after": "closed"}}
    await owner.delete(f"{path}/closure")
    reopened = await last(owner, "conversation.reopened")
    assert reopened["changes"] == {"status": {"before": "closed", "after": "active"}}


async def test_a_reader_a_note_and_a_person_say_what_they_were(owner: Client) -> None:
    contact = (await owner.post(f"{API}/contacts", json={"firstName": "Ada"})).json()
    asked = {"contactId": contact["id"], "channel": "sms"}
    talk = (await owner.post(f"{API}/conversations", json=asked)).json()
    path = f"{API}/conversations/{talk['id']}"
    note = (await owner.post(f"{path}/notes", json={"content": "One"})).json()
    for at in ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"):
        read = await owner.put(f"{path}/read-state", json={"at": at})
        assert read.status_code < 300, read.text
    reader = await last(owner, "conversation_participant.updated")
    assert set(reader["changes"]) == {"lastReadAt"}
    edited = await owner.patch(f"{path}/notes/{note['id']}", json={"content": "Two"})
    assert edited.status_code == 200, edited.text
    told = (await last(owner, "message.updated"))["changes"]
    assert told["content"] == {"before": "One", "after": "Two"}
    await owner.patch(f"{API}/me", json={"firstName": "Olive"})
    assert (await last(owner, "user.updated"))["changes"] == {"firstName": {"before": None, "after": "Olive"}}


async def test_a_connections_events_show_it_as_it_is_shown(owner: Client) -> None:
    secret = {"accountSid": "AC" + "0" * 32, "authToken": "0" * 32}
    body = {"provider": "twilio", "name": "Line", "secret": secret}
    made = (await owner.post(f"{API}/workspace-api-keys", json=body)).json()
    assert made["webhookUrls"]
    await owner.patch(f"{API}/workspace-api-keys/{made['id']}", json={"name": "Main"})
    shown = (await owner.get(f"{API}/workspace-api-keys/{made['id']}")).json()
    [created, updated] = [event for event in await log(owner) if event["subjectId"] == made["id"]]
    assert (created["data"], updated["data"]) == (made, shown)
    assert updated["changes"] == {"name": {"before": "Line", "after": "Main"}}


async def test_who_says_more_in_a_chat_is_told_of_once(app: Any, owner: Client) -> None:
    made = await chat.widget(owner)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as client:
        visitor = chat.Visitor("", made["key"], client)
        begun = await visitor.begin(visitor={"email": "ada@example.com"})
        for word in ("Hello", "Anybody there?", "Well then"):
            await visitor.says(word)
    told = [event for event in await log(owner) if event["event"] == "visitor.updated"]
    assert [set(event["changes"]) for event in told] == [{"email"}, {"contactId", "conversationId"}]
    shown = (await owner.get(f"{API}/visitors/{begun['visitorId']}")).json()
    assert told[-1]["data"] == shown


async def test_who_gains_nothing_by_a_merge_has_not_changed(owner: Client) -> None:
    jane, other = [(await owner.post(f"{API}/contacts", json={"firstName": name})).json() for name in ("Jane", "Jan")]
    merge = await owner.post(f"{API}/contacts/{jane['id']}/merge", json={"contactId": other["id"]})
    parted = await owner.delete(f"{API}/contacts/{jane['id']}/merges/{merge.json()['id']}")
    assert parted.is_success, parted.text
    assert (await owner.get(f"{API}/contacts/{jane['id']}")).json() == jane
    told = [event["event"] for event in await log(owner) if event["subjectId"] == jane["id"]]
    assert told == ["contact.created"]


async def test_recipients_that_were_added_are_told_beside_those_there_were(owner: Client) -> None:
    people = [(await owner.post(f"{API}/contacts", json={"firstName": name})).json()["id"] for name in ("A", "B", "C")]
    campaign = f"{API}/campaigns/{(await owner.post(f'{API}/campaigns', json={'name': 'Spring'})).json()['id']}"
    await owner.post(f"{campaign}/recipients", json={"contactIds": people[:2]})
    await owner.delete(f"{API}/contacts/{people[0]}")
    added = await owner.post(f"{campaign}/recipients", json={"contactIds": people[2:]})
    assert added.json() == {"added": 1, "alreadyThere": 0, "recipientCount": 2}
    assert (await last(owner, "campaign.recipients_added"))["changes"] == {"recipientCount": {"before": 1, "after": 2}}
