"""Whoever is in the way of a unique constraint is named, to those who may see it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from comms.service import Service
from handlers.resource import RESOURCES, Resource
from tests.conftest import Client
from tests.handlers.test_resources import API, body_of, verbs_of

CONFLICTING = {
    "/agent-packs": "id",
    "/agent-shared-memory": "id",
    "/agent-team-members": "id",
    "/agent-templates": "id",
    "/contact-points": "contactId",
    "/conversation-participants": "id",
    "/workspace-phone-numbers": "id",
}
"""Where a second row like the first is refused for certain, and what of the first is told."""


@pytest.mark.parametrize(
    "resource", [one for one in RESOURCES if "create" in verbs_of(one) or one.path in CONFLICTING], ids=lambda r: r.path
)
async def test_who_asks_for_the_same_twice_is_told_what_is_there(
    resource: Resource, service: Service, owner: Client
) -> None:
    body = await body_of(service, resource, owner)
    first = await owner.post(API + resource.path, json=body)
    again = await owner.post(API + resource.path, json=body)
    assert again.status_code in ((409,) if resource.path in CONFLICTING else (201, 409)), again.text
    if again.status_code == 409:
        assert again.json()["conflictingId"] == first.json()[CONFLICTING.get(resource.path, "id")]


async def in_a_message(owner: Client) -> Any:
    conversation = (await owner.post(f"{API}/conversations", json={"channel": "sms"})).json()["id"]
    body = {"direction": "outbound", "provider": "twilio", "providerMessageId": "SM1"}
    return [
        await owner.post(f"{API}/conversations/{conversation}/messages", json=body),
        await owner.post(f"{API}/conversation-messages", json=body | {"conversationId": conversation}),
        await owner.post(f"{API}/conversations/{conversation}/messages", json=body),
    ]


async def in_a_conversation(owner: Client) -> Any:
    conversation = (await owner.post(f"{API}/conversations", json={"channel": "sms"})).json()["id"]
    path = f"{API}/conversations/{conversation}/participants"
    return [await owner.post(path, json={"userId": str(owner.user_id)}) for _ in range(2)]


async def of_a_contact(owner: Client) -> Any:
    contact = (await owner.post(f"{API}/contacts", json={})).json()["id"]
    body = {"channel": "sms", "contactId": contact}
    return [await owner.post(f"{API}/conversations", json=body) for _ in range(2)]


async def in_a_channel(owner: Client) -> Any:
    channel = (await owner.post(f"{API}/team-channels", json={"name": "x", "isPrivate": True})).json()["id"]
    path = f"{API}/team-channels/{channel}/members"
    there = (await owner.get(path)).json()["items"][0]
    return [there, await owner.post(path, json={})]


async def under_a_key(owner: Client) -> Any:
    path = f"{API}/agent-shared-memory"
    rows = [(await owner.post(path, json={"key": key, "value": 1})).json() for key in ("a", "b")]
    return [rows[0], await owner.patch(f"{path}/{rows[1]['id']}", json={"key": "a"})]


async def in_the_workspace(owner: Client) -> Any:
    there = (await owner.get(f"{API}/workspace-members")).json()["items"][0]
    return [there, await owner.post(f"{API}/workspace-members", json={"email": "owner@acme.example"})]


async def at_one_address(owner: Client) -> Any:
    path = f"{API}/workspace-mail-addresses"
    one, other = [
        (await owner.post(path, json={"address": f"{name}@acme.example"})).json() for name in ("Support", "sales")
    ]
    batch = await owner.post(f"{path}/batch", json={"items": [{"address": "SUPPORT@acme.example"}]})
    assert batch.json()["results"][0]["problem"]["conflictingId"] == one["id"]
    elsewhere = await owner.post(path, json={"address": "a@b.example", "inboundAddress": "support@acme.example"})
    assert elsewhere.json()["errors"] == [{"field": "inboundAddress", "reason": "is taken"}]
    kept = await owner.patch(f"{path}/{one['id']}", json={"address": "support@acme.example"})
    assert kept.status_code == 200, kept.text
    return [
        one,
        await owner.post(path, json={"address": "support@ACME.example"}),
        elsewhere,
        await owner.patch(f"{path}/{other['id']}", json={"address": "sUPPORT@acme.example"}),
    ]


@pytest.mark.parametrize(
    "story",
    [at_one_address, in_a_message, in_a_conversation, of_a_contact, in_a_channel, under_a_key, in_the_workspace],
)
async def test_what_is_there_already_is_named(owner: Client, story: Callable[[Client], Awaitable[Any]]) -> None:
    first, *refused = await story(owner)
    there = first if isinstance(first, dict) else first.json()
    for answer in refused:
        assert (answer.status_code, answer.json().get("conflictingId")) == (409, there["id"]), answer.text


async def test_what_is_not_the_askers_to_see_is_not_named(owner: Client, stranger: Client) -> None:
    for path in ("/agent-templates", "/agent-packs"):
        body = {"name": "x", "slug": "ours", "description": "x"}
        first = await owner.post(API + path, json=body)
        assert first.status_code == 201, first.text
        again = await stranger.post(API + path, json=body)
        assert again.status_code == 409
        assert "conflictingId" not in again.json()
