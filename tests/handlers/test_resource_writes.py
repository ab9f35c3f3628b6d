"""What every declared resource promises of writing: versions, keys, batches, and the changes that are told."""

import asyncio
import uuid
from typing import Any

from comms.service import Service
from handlers import guards
from handlers.resource import RESOURCES, Resource
from models.base import noun_of
from models.core import Workspace
from tests.conftest import Client
from tests.handlers.test_resources import API, a_change, body_of, each, made, that

BATCHED_BY_HAND = ("/contact-points", "/conversation-messages", "/agent-team-members", "/marketing-channels")

batched = each(resource for resource in RESOURCES if "create" in resource.verbs or resource.path in BATCHED_BY_HAND)


async def told_of(client: Client, row_id: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(f"{API}/events", params={"subjectId": str(row_id)})).json()["items"]
    return items


@that("get", "change")
async def test_a_version_is_the_same_wherever_it_is_shown_and_another_after_a_change(
    resource: Resource, service: Service, owner: Client
) -> None:
    address = f"{API}{resource.path}/{await made(service, resource, owner)}"
    first, again = await owner.get(address), await owner.get(address)
    assert first.headers["etag"] == again.headers["etag"]
    changed = await owner.patch(address, json=a_change(resource))
    assert changed.headers["etag"] != first.headers["etag"]
    assert (await owner.get(address)).headers["etag"] == changed.headers["etag"]


@that("get", "create")
async def test_what_is_made_has_the_version_that_is_read_back(
    resource: Resource, service: Service, owner: Client
) -> None:
    answer = await owner.post(API + resource.path, json=await body_of(service, resource, owner))
    assert (await owner.get(f"{API}{resource.path}/{answer.json()['id']}")).headers["etag"] == answer.headers["etag"]


@that("get", "change")
async def test_a_change_of_another_version_is_refused_and_changes_nothing(
    resource: Resource, service: Service, owner: Client
) -> None:
    row_id = await made(service, resource, owner)
    address = f"{API}{resource.path}/{row_id}"
    before = await owner.get(address)
    told = await told_of(owner, row_id)
    stale = await owner.patch(address, json=a_change(resource), headers={"If-Match": '"0"'})
    assert stale.status_code == 412
    assert stale.headers["etag"] == before.headers["etag"]
    assert before.headers["etag"] in stale.json()["detail"]
    assert (await owner.get(address)).json() == before.json()
    assert await told_of(owner, row_id) == told
    meant = await owner.patch(address, json=a_change(resource), headers={"If-Match": before.headers["etag"]})
    assert meant.status_code == 200, meant.text


@that("get", "delete")
async def test_only_the_version_that_is_meant_is_deleted(resource: Resource, service: Service, owner: Client) -> None:
    address = f"{API}{resource.path}/{await made(service, resource, owner)}"
    etag = (await owner.get(address)).headers["etag"]
    assert (await owner.delete(address, headers={"If-Match": '"0", "1"'})).status_code == 412
    assert (await owner.get(address)).status_code == 200
    assert (await owner.delete(address, headers={"If-Match": f'"0", {etag}'})).status_code == 204


@that("get", "change")
async def test_a_change_is_told_with_what_was_before_and_what_is_after(
    resource: Resource, service: Service, owner: Client
) -> None:
    row_id = await made(service, resource, owner)
    address = f"{API}{resource.path}/{row_id}"
    before = (await owner.get(address)).json()
    after = (await owner.patch(address, json=a_change(resource))).json()
    changes = (await told_of(owner, row_id))[-1]["changes"]
    assert changes == {
        name: {"before": before[name], "after": after[name]}
        for name in after
        if name not in ("updatedAt", "webhookUrls") and before[name] != after[name]
    }
    assert set(a_change(resource)) <= set(changes)


@that("create")
async def test_the_same_asked_twice_under_a_key_is_done_once(
    resource: Resource, service: Service, owner: Client
) -> None:
    body = await body_of(service, resource, owner)
    keyed = {"Idempotency-Key": f"order {uuid.uuid4()}"}
    first = await owner.post(API + resource.path, json=body, headers=keyed)
    again = await owner.post(API + resource.path, json=body, headers=keyed)
    assert first.status_code == again.status_code == 201, again.text
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]
    assert again.content == first.content
    assert len(await told_of(owner, first.json()["id"])) == 1
    other = await owner.post(API + resource.path, json=body | {"noSuchField": 1}, headers=keyed)
    assert other.status_code == 400  # it is looked at before its key is
    assert (await owner.post(API + resource.path, content=first.content, headers=keyed)).status_code in (400, 422)


@batched
async def test_of_many_the_good_ones_are_made_in_their_order_and_the_others_are_told_why(
    resource: Resource, service: Service, owner: Client
) -> None:
    bodies = [await body_of(service, resource, owner) for _ in range(2)]
    items = [bodies[0], bodies[1] | {"noSuchField": 1, "id": "x"}, "nonsense", bodies[1]]
    answer = await owner.post(f"{API}{resource.path}/batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3]
    assert [result["status"] for result in results] == [201, 400, 400, 201], answer.text
    assert {error["field"] for error in results[1]["problem"]["errors"]} == {"noSuchField", "id"}
    for result in (results[0], results[3]):
        assert (await owner.get(f"{API}{resource.path}/{result['item']['id']}")).json() == result["item"]
        told = await told_of(owner, result["item"]["id"])
        assert [(fact["event"], fact["data"]) for fact in told] == [
            (f"{noun_of(resource.table)}.created", result["item"])
        ]


@batched
async def test_a_batch_is_as_long_as_it_may_be_and_made_by_who_may_make_one(
    resource: Resource, owner: Client, viewer: Client
) -> None:
    path = f"{API}{resource.path}/batch"
    for body, field in (
        ({"items": [{}] * 501}, "items"),
        ({"items": []}, "items"),
        ({}, "items"),
        ({"items": {}}, "items"),
        ({"items": [{}], "more": 1}, "more"),
    ):
        answer = await owner.post(path, json=body)
        assert answer.status_code == 400, answer.text
        assert {error["field"] for error in answer.json()["errors"]} == {field}
    if resource.who_writes is not guards.reader:
        assert (await viewer.post(path, json={"items": [{}]})).status_code == 403


async def test_of_two_who_change_one_version_at_once_one_is_told_that_it_is_stale(
    owner: Client, admin_member: Client
) -> None:
    made = await owner.post(f"{API}/contacts", json={"firstName": "Ada"})
    address, keyed = f"{API}/contacts/{made.json()['id']}", {"If-Match": made.headers["etag"]}
    answers = await asyncio.gather(
        *(
            client.patch(address, json={"firstName": f"{number}"}, headers=keyed)
            for number, client in enumerate([owner, admin_member] * 4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    [winner] = [answer.json()["firstName"] for answer in answers if answer.status_code == 200]
    assert (await owner.get(address)).json()["firstName"] == winner
    told = await told_of(owner, made.json()["id"])
    assert [fact["event"] for fact in told] == ["contact.created", "contact.updated"]


async def test_whoever_has_the_version_is_not_sent_it_again(owner: Client) -> None:
    made = await owner.post(f"{API}/contacts", json={"firstName": "Ada"})
    address, etag = f"{API}/contacts/{made.json()['id']}", made.headers["etag"]
    for seen in (etag, f'"0", {etag}', f"W/{etag}", "*"):
        answer = await owner.get(address, headers={"If-None-Match": seen})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await owner.get(address, headers={"If-None-Match": '"0"'})).json() == made.json()


async def test_any_version_is_meant_by_an_asterisk_and_none_by_a_weak_tag(owner: Client) -> None:
    made = await owner.post(f"{API}/contacts", json={"firstName": "Ada"})
    address, etag = f"{API}/contacts/{made.json()['id']}", made.headers["etag"]
    for meant, status in (("*", 200), (f"W/{etag}", 412), ("nonsense", 400), ("", 400), (f"{etag} {etag}", 400)):
        answer = await owner.patch(address, json={"lastName": "L"}, headers={"If-Match": meant})
        assert answer.status_code == status, (meant, answer.text)
        etag = (await owner.get(address)).headers["etag"]
    nobody = await owner.patch(f"{API}/contacts/{uuid.uuid4()}", json={}, headers={"If-Match": "*"})
    assert nobody.status_code == 404


async def test_a_version_where_there_is_none_is_refused_and_not_ignored(owner: Client) -> None:
    answer = await owner.post(f"{API}/contacts", json={"firstName": "Ada"}, headers={"If-Match": "*"})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["If-Match"]
    assert (await owner.get(f"{API}/contacts")).json()["items"] == []


async def test_a_version_knows_nothing_of_what_is_only_computed_for_the_answer(owner: Client) -> None:
    body = {"provider": "twilio", "name": "main", "secret": {"accountSid": "AC" + "0" * 32, "authToken": "t" * 32}}
    made = await owner.post(f"{API}/workspace-api-keys", json=body)
    assert made.json()["webhookUrls"]
    address = f"{API}/workspace-api-keys/{made.json()['id']}"
    answer = await owner.patch(address, json={"name": "second"}, headers={"If-Match": made.headers["etag"]})
    assert answer.status_code == 200, answer.text
    etag = answer.headers["etag"]
    assert (await owner.get(address, headers={"If-None-Match": etag})).status_code == 200  # the addresses may differ


async def test_every_relationship_that_is_shown_has_an_order(owner: Client) -> None:
    for resource in RESOURCES:
        for relationship in resource.table.__mapper__.relationships:
            if relationship.uselist and relationship.key in resource.view.__struct_fields__:
                assert relationship.order_by, f"{relationship}: its rows would change the version by changing places"
    assert any(resource.table is Workspace for resource in RESOURCES)
