"""Webhook endpoints as administrators make them, change them, and have things told again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from comms.cli import doctor
from comms.hooks import endings, endpoints, replaying
from comms.service import Service
from models.base import new_id, now
from tests.conftest import Client
from tests.make.hooks import NOTHING_WAITS, Sink, endpoint, happens, in_line, is_signed, posting, sink
from tests.make.notices import notices, told
from tests.make.sending import until

API = "/api/v1"
ENDPOINTS, SECRETS, REPLAYS = (f"{API}/webhook-{name}" for name in ("endpoints", "signing-secrets", "replays"))
BODY = {"name": "mine", "url": "https://example.com/events"}


async def test_a_secret_is_shown_once_and_nobody_but_administrators_sees_anything(
    owner: Client, admin_member: Client, member: Client, viewer: Client, admin: Any
) -> None:
    made = await admin_member.post(ENDPOINTS, json=BODY)
    assert made.status_code == 201, made.text
    secret = made.json()["secret"]
    for path in (f"{ENDPOINTS}/{made.json()['id']}", ENDPOINTS, SECRETS, f"{API}/events"):
        answer = await owner.get(path)
        assert answer.status_code == 200
        assert secret not in answer.text
        assert secret.removeprefix("whsec_") not in answer.text
    assert secret.encode() not in bytes(
        (await admin.fetchrow("SELECT * FROM webhook_signing_secrets"))["encrypted_key"]
    )
    for nobody in (member, viewer):
        for path in (ENDPOINTS, SECRETS, REPLAYS, f"{API}/webhook-deliveries", f"{API}/webhook-attempts"):
            assert (await nobody.get(path)).status_code == 403
        assert (await nobody.post(ENDPOINTS, json=BODY)).status_code == 403
        assert "webhook" not in (await nobody.get(f"{API}/events")).text


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"url": "https://192.168.0.7/x"}, "url", "lies in a private network"),
        ({"url": "http://example.com"}, "url", "must be an https:// address"),
        ({"url": "https://xn--0.example/x"}, "url", "is not an address"),
        ({"url": "https://example.com/" + "x" * 2_000}, "url", None),
        ({"events": ["message.received", "messages.received"]}, "events[1]", "do you mean 'message'?"),
        ({"events": ["message.recieved"]}, "events[0]", "do you mean 'received'?"),
        ({"events": ["deal.exploded"]}, "events[0]", "a deal is never 'exploded': it is closed, "),
        ({"events": ["search_document.created"]}, "events[0]", "nothing ever happens to 'search_document'"),
        ({"events": ["message"]}, "events[0]", "must be a kind"),
        ({"events": ["deal.", "deal."]}, "events[1]", "is named twice"),
        ({"events": ["notification.created"]}, "events[0]", "is told to single people alone"),
        ({"events": [1]}, "events[0]", None),
        ({"name": ""}, "name", None),
    ],
)
async def test_an_endpoint_that_cannot_work_is_refused_by_the_place_of_the_fault(
    owner: Client, change: dict[str, Any], field: str, reason: str | None
) -> None:
    made = await owner.post(ENDPOINTS, json=BODY | change)
    there = (await owner.post(ENDPOINTS, json=BODY)).json()["id"]
    for answer in (made, await owner.patch(f"{ENDPOINTS}/{there}", json=change)):
        assert answer.status_code == 400, answer.text
        [error] = answer.json()["errors"]
        assert error["field"] == field
        assert (reason or "") in error["reason"]


async def test_nobody_has_told_what_they_may_not_hear(owner: Client, admin_member: Client, admin: Any) -> None:
    body = BODY | {"events": ["invoice.created"]}
    made = await owner.post(ENDPOINTS, json=body)
    await admin.execute(
        'UPDATE workspace_members SET permissions = \'{"billing": "none"}\' WHERE user_id = $1', admin_member.user_id
    )
    answer = await admin_member.post(ENDPOINTS, json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "events[0]"
    path = f"{ENDPOINTS}/{made.json()['id']}"
    assert (await owner.patch(path, json={"isActive": False})).status_code == 200
    assert (await admin_member.patch(path, json={"isActive": True})).status_code == 400


@pytest.mark.parametrize(
    ("change", "is_theirs"),
    [
        ({"url": "https://elsewhere.example/"}, True),
        ({"events": ["contact."]}, True),
        ({"isActive": False}, False),
        ({"name": "other", "url": BODY["url"], "events": []}, False),
    ],
)
async def test_who_says_where_an_endpoint_is_or_what_it_is_told_answers_for_it(
    owner: Client, admin_member: Client, change: dict[str, Any], is_theirs: bool
) -> None:
    made = (await owner.post(ENDPOINTS, json=BODY)).json()
    changed = await admin_member.patch(f"{ENDPOINTS}/{made['id']}", json=change)
    assert changed.status_code == 200, changed.text
    assert changed.json()["onBehalfOf"] == str((admin_member if is_theirs else owner).user_id)


async def test_what_somebody_may_not_hear_they_neither_redirect_nor_see(
    service: Service, owner: Client, admin_member: Client, admin: Any
) -> None:
    async with sink() as there:
        mine = await endpoint(service, owner, there, events=["invoice."])
        await happens(service, owner.workspace_id, [new_id()], event="invoice.updated", subject_type="invoice")
        await in_line(service)
    [row] = (await owner.get(f"{API}/webhook-deliveries")).json()["items"]
    seen = f"{API}/webhook-deliveries/{row['id']}/request"
    assert (await admin_member.get(seen)).status_code == 200
    await admin.execute(
        'UPDATE workspace_members SET permissions = \'{"billing": "none"}\' WHERE user_id = $1', admin_member.user_id
    )
    moved = await admin_member.patch(f"{ENDPOINTS}/{mine.id}", json={"url": "https://elsewhere.example/"})
    assert (moved.status_code, moved.json()["errors"][0]["field"]) == (400, "events[0]")
    assert (await admin_member.get(seen)).status_code == 403
    assert (await owner.get(seen)).status_code == 200


async def test_a_workspace_has_so_many_endpoints_and_no_more_though_all_are_made_at_once(
    owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MOST", 2)
    answers = await asyncio.gather(*(owner.post(ENDPOINTS, json=BODY) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]


async def test_secrets_are_rotated_without_a_delivery_that_cannot_be_verified(
    service: Service, owner: Client, stranger: Client, admin: Any
) -> None:
    async with sink() as there:
        mine = await endpoint(service, owner, there, events=["contact."])
        added = await owner.post(SECRETS, json={"endpointId": str(mine.id)})
        assert added.status_code == 201, added.text
        old, new = mine.secret, added.json()["secret"]
        await happens(service, owner.workspace_id, [new_id()])
        async with posting(service, there):
            await until(admin, f"EXISTS (SELECT FROM webhook_attempts) AND {NOTHING_WAITS}")
            assert is_signed(there.heard[0], old)
            assert is_signed(there.heard[0], new)
            [first] = [row for row in (await owner.get(SECRETS)).json()["items"] if row["id"] != added.json()["id"]]
            assert (await stranger.delete(f"{SECRETS}/{first['id']}")).status_code == 404
            assert (await owner.delete(f"{SECRETS}/{first['id']}")).status_code == 204
            last = await owner.delete(f"{SECRETS}/{added.json()['id']}")
            assert (last.status_code, "only secret" in last.text) == (409, True)
            await happens(service, owner.workspace_id, [new_id()])
            await until(admin, f"(SELECT count(*) FROM webhook_attempts) = 2 AND {NOTHING_WAITS}")
        assert is_signed(there.heard[1], new)
        assert not is_signed(there.heard[1], old)
        for _ in range(endpoints.MOST_SECRETS - 1):
            assert (await owner.post(SECRETS, json={"endpointId": str(mine.id)})).status_code == 201
        assert (await owner.post(SECRETS, json={"endpointId": str(mine.id)})).status_code == 409


async def made_and_told(service: Service, owner: Client, there: Sink, admin: Any) -> str:
    """An endpoint that has been told of three things twice each; its id."""
    mine = await endpoint(service, owner, there, events=["contact."])
    await happens(service, owner.workspace_id, [new_id() for _ in range(3)] * 2)
    await happens(service, owner.workspace_id, [new_id()], event="deal.updated", subject_type="deal")
    async with posting(service, there):
        await until(admin, f"(SELECT count(*) FROM webhook_attempts) = 6 AND {NOTHING_WAITS}")
    return str(mine.id)


async def test_one_delivery_is_told_again_under_the_same_id(service: Service, owner: Client, admin: Any) -> None:
    async with sink() as there:
        mine = await made_and_told(service, owner, there, admin)
        [row] = (await owner.get(f"{API}/webhook-deliveries", params={"seq": 2})).json()["items"]
        again = await owner.post(f"{API}/webhook-deliveries/{row['id']}/replay")
        assert again.status_code == 200, again.text
        assert (again.json()["state"], again.json()["isReplay"], again.json()["id"] != row["id"]) == (
            "waiting",
            True,
            True,
        )
        answers = await asyncio.gather(*(owner.post(f"{API}/webhook-deliveries/{row['id']}/replay") for _ in range(3)))
        assert {answer.json()["id"] for answer in answers} == {again.json()["id"]}, "it waits already"
        async with posting(service, there):
            await until(admin, NOTHING_WAITS)
        assert there.said().count(2) == 2
        assert there.said()[-1] == 2
        [first, second] = [heard for heard in there.heard if heard.told["seq"] == 2]
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        await owner.patch(f"{ENDPOINTS}/{mine}", json={"isActive": False})
        assert (await owner.post(f"{API}/webhook-deliveries/{row['id']}/replay")).status_code == 409


async def test_a_stretch_of_time_is_told_again_in_order_and_goes_on_where_it_was_killed(
    service: Service, owner: Client, stranger: Client, admin: Any
) -> None:
    async with sink() as there:
        mine = await made_and_told(service, owner, there, admin)
        there.heard.clear()
        await admin.execute("UPDATE events SET at = at - interval '1 hour' WHERE seq <= 5")
        body = {"endpointId": mine, "fromAt": (now() - timedelta(hours=2)).isoformat()}
        body["untilAt"] = (now() - timedelta(minutes=30)).isoformat()
        assert (await stranger.post(REPLAYS, json=body)).status_code == 400
        asked = await owner.post(REPLAYS, json=body)
        assert asked.status_code == 201, asked.text
        assert (await owner.post(REPLAYS, json=body)).status_code == 409, "it is being told again"
        async with service.database.everywhere() as db:
            assert await replaying.go_on(db, owner.workspace_id, most=2)
        assert (await owner.get(f"{REPLAYS}/{asked.json()['id']}")).json()["count"] == 2
        await owner.patch(f"{ENDPOINTS}/{mine}", json={"isActive": False})
        async with service.database.everywhere() as db:
            assert not await replaying.go_on(db, owner.workspace_id, most=2)
        assert (await owner.get(f"{REPLAYS}/{asked.json()['id']}")).json()["state"] == "running", "until it is on again"
        await owner.patch(f"{ENDPOINTS}/{mine}", json={"isActive": True})
        async with posting(service, there):
            await until(admin, f"EXISTS (SELECT FROM webhook_replays WHERE state = 'done') AND {NOTHING_WAITS}")
        done = (await owner.get(f"{REPLAYS}/{asked.json()['id']}")).json()
        assert (done["state"], done["count"]) == ("done", 5)
        assert sorted(there.said()) == [1, 2, 3, 4, 5]
        assert all(said == sorted(said) for said in there.lines().values())


async def test_what_is_told_again_can_be_called_off_and_its_line_goes_on(
    service: Service, owner: Client, stranger: Client, admin: Any
) -> None:
    async with sink() as there:
        mine = await made_and_told(service, owner, there, admin)
        replay = {
            seq: f"{API}/webhook-deliveries/{row['id']}/replay"
            for seq in (2, 5)
            for row in (await owner.get(f"{API}/webhook-deliveries", params={"seq": seq})).json()["items"]
        }
        body = {"endpointId": mine, "fromAt": (now() - timedelta(hours=2)).isoformat(), "untilAt": now().isoformat()}
        asked = f"{REPLAYS}/{(await owner.post(REPLAYS, json=body)).json()['id']}"
        async with service.database.everywhere() as db:
            await replaying.go_on(db, owner.workspace_id, most=3)
        assert (await owner.post(replay[5])).json()["replayId"] is None
        await admin.execute("UPDATE webhook_lines SET attempts = 9, next_attempt_at = now() + interval '1 hour'")
        assert {(await stranger.delete(address)).status_code for address in (asked, replay[2])} == {404}
        for address, statuses, left in ((replay[2], [204, 204], 3), (asked, [204, 404], 1)):
            assert [(await owner.delete(address)).status_code for _ in range(2)] == statuses
            assert await admin.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'") == left
        off = await admin.fetch("SELECT last_error FROM webhook_deliveries WHERE state = 'failed'")
        assert [row["last_error"] for row in off] == [replaying.CALLED_OFF] * 3
        there.heard.clear()
        async with posting(service, there):
            await until(admin, NOTHING_WAITS)
        assert there.said() == [5], "what was behind it does not wait for its sake"


async def test_a_stretch_of_time_is_told_again_once_though_it_is_asked_for_by_many_at_once(owner: Client) -> None:
    mine = (await owner.post(ENDPOINTS, json=BODY)).json()["id"]
    body = {"endpointId": mine, "fromAt": "2026-01-01T00:00:00Z", "untilAt": "2026-01-02T00:00:00Z"}
    answers = await asyncio.gather(*(owner.post(REPLAYS, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"untilAt": "2026-01-01T00:00:00Z"}, "untilAt"),
        ({"untilAt": "2035-01-01T00:00:00Z"}, "untilAt"),
        ({"endpointId": "0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"}, "endpointId"),
        ({"fromAt": "yesterday"}, "fromAt"),
    ],
)
async def test_what_cannot_be_told_again_is_refused(owner: Client, change: dict[str, Any], field: str) -> None:
    mine = (await owner.post(ENDPOINTS, json=BODY)).json()["id"]
    body = {"endpointId": mine, "fromAt": "2026-01-01T00:00:00Z", "untilAt": "2026-01-02T00:00:00Z"}
    answer = await owner.post(REPLAYS, json=body | change)
    assert answer.status_code == 400, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_administrators_are_notified_of_an_endpoint_that_was_switched_off(
    service: Service, owner: Client, admin_member: Client, member: Client
) -> None:
    made = (await owner.post(ENDPOINTS, json=BODY)).json()
    async with asyncio.timeout(5):
        await endings.end(service.database, owner.workspace_id, made["id"], made["url"], endings.GONE)
    await told(service)
    for client in (owner, admin_member):
        [notice] = await notices(client)
        assert (notice["kind"], notice["message"]) == ("failed_send", endings.GONE)
    assert await notices(member) == []


async def test_the_doctor_names_the_endpoints_that_reach_nobody(service: Service, owner: Client, admin: Any) -> None:
    for name in ("fine", "down", "off"):
        assert (await owner.post(ENDPOINTS, json=BODY | {"name": name})).status_code == 201
    await admin.execute(
        "UPDATE webhook_endpoints SET failures = 5, failing_since = '2026-03-01 12:00Z', last_error = 'it answered 503'"
        " WHERE name = 'down'"
    )
    await admin.execute(
        "UPDATE webhook_endpoints SET is_active = false, disabled_at = now(), disabled_reason = 'So.'"
        " WHERE name = 'off'"
    )
    assert [words async for _, words in doctor.endpoints(service.database)] == [
        "the webhook endpoint 'down' of acme takes nothing since 2026-03-01 12:00 UTC: it answered 503",
        "the webhook endpoint 'off' of acme was switched off: So.",
    ]


async def test_an_endpoint_that_is_deleted_takes_everything_of_its_own_with_it(
    service: Service, owner: Client, admin: Any
) -> None:
    async with sink() as there:
        mine = await made_and_told(service, owner, there, admin)
        await happens(service, owner.workspace_id, [new_id()])
        await in_line(service)
        assert (await owner.delete(f"{ENDPOINTS}/{mine}")).status_code == 204
    for table in ("signing_secrets", "deliveries", "attempts", "lines", "endpoints"):
        assert await admin.fetchval(f"SELECT count(*) FROM webhook_{table}") == 0
