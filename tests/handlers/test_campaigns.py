"""Marketing channels, campaigns and their recipients."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from comms import campaigns, channels
from comms.service import Service
from models.base import now
from models.marketing import CampaignRecipient, MarketingChannel
from tests.conftest import Client

API = "/api/v1"
LATER = (now() + timedelta(days=1)).isoformat()


async def made(client: Client, table: str, **values: Any) -> dict[str, Any]:
    answer = await client.post(f"{API}/{table}", json=values)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def contacts(client: Client, count: int) -> list[str]:
    return [(await made(client, "contacts", firstName=f"c{number}"))["id"] for number in range(count)]


async def campaign(client: Client, *contact_ids: str, **values: Any) -> str:
    """The address of a campaign with these recipients."""
    address = f"{API}/campaigns/{(await made(client, 'campaigns', name='C', **values))['id']}"
    if contact_ids:
        answer = await client.post(f"{address}/recipients", json={"contactIds": contact_ids})
        assert answer.status_code == 201, answer.text
    return address


async def status(client: Client, address: str) -> str:
    return str((await client.get(address)).json()["status"])


async def told(client: Client, subject: str) -> list[str]:
    items = (await client.get(f"{API}/events", params={"subjectId": subject})).json()["items"]
    return [item["event"] for item in items]


def named(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {error["field"] for error in answer.json()["errors"]}


async def test_credentials_go_in_sealed_and_never_come_out(service: Service, owner: Client, admin: Any) -> None:
    config = {"listId": "l1", "credentials": {"accessKey": "sesame-open", "accountId": "account no. 77"}}
    channel = await made(owner, "marketing-channels", name="News", type="email", config=config)
    assert (channel["config"], channel["credentialNames"]) == ({"listId": "l1"}, ["accessKey", "accountId"])
    address = f"{API}/marketing-channels/{channel['id']}"
    shown = [await owner.get(path) for path in (address, f"{API}/marketing-channels", f"{API}/events")]
    assert all("sesame" not in answer.text and "account no. 77" not in answer.text for answer in shown)
    assert "sesame" not in str(await admin.fetch("SELECT * FROM marketing_channels"))
    assert (await owner.patch(address, json={"config": {"listId": "l2"}})).json()["credentialNames"] != []

    async def kept() -> dict[str, str]:
        async with service.database.everywhere() as db:
            row = (await db.scalars(select(MarketingChannel))).one()
            return channels.credentials_of(row, service.vault)

    assert await kept() == config["credentials"]
    assert (await owner.patch(address, json={"config": {"credentials": None}})).json()["credentialNames"] == []
    assert await kept() == {}


async def test_credentials_that_take_the_place_of_others_are_told_of_without_being_shown(owner: Client) -> None:
    channel = await made(owner, "marketing-channels", name="News", type="email", config={"credentials": {"key": "one"}})
    address = f"{API}/marketing-channels/{channel['id']}"
    for config in ({"credentials": {"key": "two"}}, {}):
        assert (await owner.patch(address, json={"config": config})).json()["credentialNames"] == ["key"]
    items = (await owner.get(f"{API}/events", params={"subjectId": channel["id"]})).json()["items"]
    assert [item["changes"] for item in items] == [None, {"credentials": {"before": None, "after": None}}]


async def test_a_secret_beside_the_credentials_is_refused(owner: Client) -> None:
    config = {"apiKey": "x", "settings": [{"clientSecret": "y"}], "credentials": {"token": 7, "empty": ""}}
    answer = await owner.post(f"{API}/marketing-channels", json={"name": "N", "type": "ads", "config": config})
    assert named(answer) == {
        "config.apiKey",
        "config.settings.0.clientSecret",
        "config.credentials.token",
        "config.credentials.empty",
    }


async def test_a_campaign_goes_from_draft_to_completed(owner: Client) -> None:
    address = await campaign(owner, *await contacts(owner, 1))
    steps = [
        ("POST", "schedule", {"scheduledAt": LATER}, "scheduled"),
        ("DELETE", "schedule", None, "draft"),
        ("POST", "start", None, "active"),
        ("POST", "pause", None, "paused"),
        ("DELETE", "pause", None, "active"),
        ("POST", "completion", None, "completed"),
    ]
    for method, noun, body, after in steps:
        answer = await owner.request(method, f"{address}/{noun}", json=body)
        assert answer.is_success, answer.text
        assert answer.json()["status"] == after
    over = (await owner.get(address)).json()
    assert over["sentAt"] <= over["completedAt"]
    for method, noun, body, _ in steps:
        refused = await owner.request(method, f"{address}/{noun}", json=body)
        assert refused.status_code == 409
        assert "completed" in refused.json()["detail"]
    assert await told(owner, over["id"]) == [
        "campaign.created",
        "campaign.recipients_added",
        "campaign.scheduled",
        "campaign.unscheduled",
        "campaign.started",
        "campaign.paused",
        "campaign.resumed",
        "campaign.completed",
    ]


async def test_an_illegal_step_names_those_that_are_allowed(owner: Client) -> None:
    address = await campaign(owner)
    refused = await owner.post(f"{address}/pause")
    assert refused.status_code == 409
    assert "scheduled or started" in refused.json()["detail"]


async def test_a_campaign_is_scheduled_in_the_future_with_an_offset(owner: Client) -> None:
    address = await campaign(owner)
    for at in ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00", "tomorrow", None):
        assert named(await owner.post(f"{address}/schedule", json={"scheduledAt": at})) == {"scheduledAt"}
    for _ in range(2):
        scheduled = await owner.post(f"{address}/schedule", json={"scheduledAt": LATER})
        assert scheduled.status_code == 201
    assert await told(owner, scheduled.json()["id"]) == ["campaign.created", "campaign.scheduled"]


async def test_only_a_draft_or_paused_campaign_is_changed_and_only_a_draft_deleted(owner: Client) -> None:
    address = await campaign(owner, *await contacts(owner, 1))
    assert (await owner.patch(address, json={"subject": "Hi"})).status_code == 200
    assert named(await owner.patch(address, json={"status": "active", "metrics": {}, "sentAt": LATER})) == {
        "status",
        "metrics",
        "sentAt",
    }
    await owner.post(f"{address}/start")
    assert (await owner.patch(address, json={"subject": "Ho"})).status_code == 409
    await owner.post(f"{address}/pause")
    assert (await owner.patch(address, json={"subject": "Ho"})).status_code == 200
    assert (await owner.delete(address)).status_code == 409
    assert (await owner.delete(await campaign(owner, *await contacts(owner, 1)))).status_code == 204


async def test_each_contact_is_a_recipient_once_however_often_it_is_added(owner: Client) -> None:
    people = await contacts(owner, 3)
    address = await campaign(owner)
    answers = await asyncio.gather(
        *(owner.post(f"{address}/recipients", json={"contactIds": people}) for _ in range(3))
    )
    assert sorted(answer.json()["added"] for answer in answers) == [0, 0, 3]
    again = (await owner.post(f"{address}/recipients", json={"contactIds": [people[0], people[0]]})).json()
    assert again == {"added": 0, "alreadyThere": 1, "recipientCount": 3}
    listed = (await owner.get(f"{address}/recipients", params={"limit": 2})).json()
    rest = (await owner.get(f"{address}/recipients", params={"limit": 2, "cursor": listed["nextCursor"]})).json()
    rows = listed["items"] + rest["items"]
    assert {row["contactId"] for row in rows} == set(people)
    assert {row["status"] for row in rows} == {"pending"}
    for row in rows:
        identity = uuid.UUID(row["id"])
        assert (identity.version, identity.variant) == (7, uuid.RFC_4122)
        assert abs((identity.int >> 80) / 1000 - now().timestamp()) < 60


async def test_a_segments_contacts_become_recipients(owner: Client) -> None:
    await contacts(owner, 2)
    await made(owner, "contacts", firstName="other")
    rules = [{"field": "firstName", "operator": "starts_with", "value": "c"}]
    segment = await made(owner, "segments", name="S", rules=rules)
    address = await campaign(owner)
    answer = await owner.post(f"{address}/recipients", json={"segmentId": segment["id"]})
    assert answer.json() == {"added": 2, "alreadyThere": 0, "recipientCount": 2}
    await owner.patch(f"{API}/segments/{segment['id']}", json={"isActive": False})
    assert (await owner.post(f"{address}/recipients", json={"segmentId": segment["id"]})).status_code == 409


async def test_recipients_of_nowhere_are_named(owner: Client, stranger: Client) -> None:
    address = await campaign(owner)
    ours, theirs = (await contacts(owner, 1))[0], (await contacts(stranger, 1))[0]
    assert named(await owner.post(f"{address}/recipients", json={"contactIds": [ours, theirs]})) == {"contactIds[1]"}
    assert named(await owner.post(f"{address}/recipients", json={"segmentId": ours})) == {"segmentId"}
    for body in ({}, {"contactIds": [ours], "segmentId": ours}, {"contactIds": []}):
        assert named(await owner.post(f"{address}/recipients", json=body)) == {"contactIds"}
    assert (await stranger.get(f"{address}/recipients")).status_code == 404


async def test_a_campaign_that_has_begun_takes_no_recipients_and_none_begins_without(owner: Client) -> None:
    first, second = await contacts(owner, 2)
    address = await campaign(owner)
    assert (await owner.post(f"{address}/start")).status_code == 409
    await owner.post(f"{address}/recipients", json={"contactIds": [first]})
    await owner.delete(f"{API}/contacts/{first}")
    assert (await owner.post(f"{address}/start")).status_code == 409
    await owner.post(f"{address}/recipients", json={"contactIds": [second]})
    assert (await owner.post(f"{address}/start")).json()["recipientCount"] == 1
    assert (await owner.post(f"{address}/recipients", json={"contactIds": [second]})).status_code == 409


async def test_of_many_who_start_a_campaign_at_once_one_does(owner: Client) -> None:
    (contact,) = await contacts(owner, 1)
    for _ in range(3):
        address = await campaign(owner, contact)
        answers = await asyncio.gather(*(owner.post(f"{address}/start") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_scheduled_campaigns_begin_when_their_time_has_come(service: Service, owner: Client, admin: Any) -> None:
    (contact,) = await contacts(owner, 1)
    ready, empty, waiting = await campaign(owner, contact), await campaign(owner), await campaign(owner, contact)
    for address in (ready, empty, waiting):
        await owner.post(f"{address}/schedule", json={"scheduledAt": LATER})
    due = [uuid.UUID(address.rpartition("/")[2]) for address in (ready, empty)]
    await admin.execute("UPDATE campaigns SET scheduled_at = now() - interval '1 minute' WHERE id = ANY($1)", due)
    begun = await asyncio.gather(*(campaigns.start_due(service.database) for _ in range(2)))
    assert sum(begun) == 1
    assert [await status(owner, address) for address in (ready, empty, waiting)] == ["active", "draft", "scheduled"]
    assert (await told(owner, str(due[0])))[-1] == "campaign.started"
    assert (await told(owner, str(due[1])))[-1] == "campaign.unscheduled"


@pytest.mark.parametrize(
    ("reports", "last"),
    [
        (["sent", "delivered", "opened"], "opened"),
        (["opened", "delivered", "sent"], "opened"),
        (["sent", "sent"], "sent"),
        (["failed", "delivered"], "delivered"),
        (["clicked", "bounced"], "clicked"),
        (["clicked", "unsubscribed", "opened"], "unsubscribed"),
    ],
)
async def test_a_recipient_only_goes_forward(service: Service, owner: Client, reports: list[str], last: str) -> None:
    await campaign(owner, *await contacts(owner, 1))
    at = now()
    async with service.database.workspace(owner.workspace_id) as db:
        recipient = (await db.scalars(select(CampaignRecipient))).one()
        for place, report in enumerate(reports):
            later = at + timedelta(minutes=place)
            await campaigns.note(db, owner.workspace_id, recipient.id, report, later)
            assert not await campaigns.note(db, owner.workspace_id, recipient.id, report, later)
    row = (await owner.get(f"{API}/campaign-recipients/{recipient.id}")).json()
    assert row["status"] == last
    for place, report in enumerate(reports):
        if report in ("sent", "delivered", "opened", "clicked") and report not in reports[:place]:
            assert row[f"{report}At"] == (at + timedelta(minutes=place)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("reports", [["sent", "delivered", "bounced"], ["sent", "bounced", "delivered"]])
async def test_what_was_returned_was_not_delivered_whoever_said_so(
    service: Service, owner: Client, reports: list[str]
) -> None:
    await campaign(owner, *await contacts(owner, 1))
    async with service.database.workspace(owner.workspace_id) as db:
        recipient = (await db.scalars(select(CampaignRecipient))).one()
        for report in reports:
            await campaigns.note(db, owner.workspace_id, recipient.id, report, now())
    row = (await owner.get(f"{API}/campaign-recipients/{recipient.id}")).json()
    assert (row["status"], row["deliveredAt"]) == ("bounced", None)
    assert row["sentAt"] is not None
