"""One's own profile, preferences and password."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from comms.service import Service
from tests.conftest import Client
from tests.make import core as make
from tests.make.core import PASSWORD

API = "/api/v1"
OTHER = "another battery staple"


async def test_a_viewer_changes_their_own_profile(viewer: Client, owner: Client) -> None:
    change = {"firstName": "Vera", "avatarUrl": "https://example.com/v.png", "preferences": {"theme": "dark"}}
    answer = await viewer.patch(f"{API}/me", json=change)
    assert answer.status_code == 200, answer.text
    more = {"preferences": {"timezone": "Europe/Paris", "notifications": {"channels": ["push"], "sound": False}}}
    assert (await viewer.patch(f"{API}/me", json=more)).status_code == 200
    me = (await viewer.get(f"{API}/me")).json()
    assert (me["firstName"], me["role"], me["permissions"]["agents"]) == ("Vera", "viewer", "read")
    assert me["preferences"] == {"theme": "dark"} | more["preferences"]
    seen = (await owner.get(f"{API}/users/{viewer.user_id}")).json()
    assert seen["firstName"] == "Vera"
    assert "preferences" not in seen
    told = (await owner.get(f"{API}/events", params={"subjectType": "user"})).json()["items"]
    assert [item["event"] for item in told] == ["user.updated"] * 2
    assert told[0]["actorId"] == str(viewer.user_id)
    assert (await viewer.patch(f"{API}/me", json={"firstName": "Vera"})).status_code == 200
    assert len((await owner.get(f"{API}/events")).json()["items"]) == 2


async def test_who_is_in_two_workspaces_changes_in_both(viewer: Client, stranger: Client, admin: Any) -> None:
    await admin.execute(
        "INSERT INTO workspace_members (workspace_id, id, user_id, role, is_active, created_at, updated_at)"
        " VALUES ($1, gen_random_uuid(), $2, 'viewer', true, now(), now())",
        stranger.workspace_id,
        viewer.user_id,
    )
    assert (await viewer.patch(f"{API}/me", json={"lastName": "Viewer"})).status_code == 200
    told = (await stranger.get(f"{API}/events")).json()["items"]
    assert [(item["event"], item["data"]["lastName"]) for item in told] == [("user.updated", "Viewer")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "x@y.example"}, "email"),
        ({"firstName": "x" * 201}, "firstName"),
        ({"avatarUrl": "javascript:alert(1)"}, "avatarUrl"),
        ({"preferences": {"theme": "pink"}}, "preferences.theme"),
        ({"preferences": {"timezone": "Mars/Olympus"}}, "preferences.timezone"),
        ({"preferences": {"notifications": {"sound": "loud"}}}, "preferences.notifications.sound"),
        ({"preferences": {"colour": "pink"}}, "preferences.colour"),
    ],
)
async def test_a_profile_that_makes_no_sense_is_refused_by_name(
    member: Client, body: dict[str, Any], field: str
) -> None:
    answer = await member.patch(f"{API}/me", json=body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_new_password_ends_all_other_sessions(
    member: Client, service: Service, anonymous: httpx.AsyncClient
) -> None:
    await make.password(service, member.user_id)
    who = {"email": "member@acme.example", "password": PASSWORD}
    here, there = [(await anonymous.post(f"{API}/sessions", json=who)).json()["token"] for _ in range(2)]
    address, mine = f"{API}/me/password", {"Authorization": f"Bearer {here}"}
    wrong = await anonymous.put(address, json={"oldPassword": "a mere guess", "newPassword": OTHER}, headers=mine)
    missing = await anonymous.put(address, json={"newPassword": OTHER}, headers=mine)
    for refused in (wrong, missing):
        assert refused.status_code == 400
        assert [error["field"] for error in refused.json()["errors"]] == ["oldPassword"]
    right = await anonymous.put(address, json={"oldPassword": PASSWORD, "newPassword": OTHER}, headers=mine)
    assert right.status_code == 204, right.text
    assert (await anonymous.get(f"{API}/me", headers=mine)).status_code == 200
    assert (await anonymous.get(f"{API}/me", headers={"Authorization": f"Bearer {there}"})).status_code == 401
    assert (await anonymous.post(f"{API}/sessions", json=who)).status_code == 401
    assert (await anonymous.post(f"{API}/sessions", json=who | {"password": OTHER})).status_code == 201


async def test_of_two_changes_at_once_one_counts(member: Client, service: Service) -> None:
    await make.password(service, member.user_id)
    bodies = [{"oldPassword": PASSWORD, "newPassword": f"{OTHER} {number}"} for number in range(3)]
    answers = await asyncio.gather(*(member.put(f"{API}/me/password", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [204, 400, 400]


async def test_a_limited_token_sets_no_password(member: Client, anonymous: httpx.AsyncClient) -> None:
    issued = (await member.post(f"{API}/access-tokens", json={"name": "x", "scopes": ["write"]})).json()
    headers = {"Authorization": f"Bearer {issued['token']}"}
    assert (await anonymous.put(f"{API}/me/password", json={"newPassword": OTHER}, headers=headers)).status_code == 403
    assert (await member.put(f"{API}/me/password", json={"newPassword": OTHER})).status_code == 204


async def test_a_token_of_one_workspace_sets_no_first_password_for_another(
    member: Client, stranger: Client, admin: Any
) -> None:
    await admin.execute(
        "INSERT INTO workspace_members (workspace_id, id, user_id, role, is_active, created_at, updated_at)"
        " VALUES ($1, gen_random_uuid(), $2, 'owner', true, now(), now())",
        stranger.workspace_id,
        member.user_id,
    )
    assert (await member.put(f"{API}/me/password", json={"newPassword": OTHER})).status_code == 403


async def test_a_short_password_is_refused(member: Client) -> None:
    answer = await member.put(f"{API}/me/password", json={"newPassword": "short"})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["newPassword"]


@pytest.mark.parametrize(("permissions", "knows_others"), [({}, True), ({"members": "none"}, False)], ids=str)
async def test_who_may_not_read_the_members_knows_of_nobody_but_themselves(
    owner: Client, viewer: Client, admin: Any, permissions: dict[str, str], knows_others: bool
) -> None:
    granted = msgspec.json.encode(permissions).decode()
    await admin.execute("UPDATE workspace_members SET permissions = $1 WHERE user_id = $2", granted, viewer.user_id)
    for client in (owner, viewer):
        assert (await client.patch(f"{API}/me", json={"firstName": "Robin"})).status_code == 200
    everybody = {str(owner.user_id), str(viewer.user_id)}
    known = everybody if knows_others else {str(viewer.user_id)}
    for query in ({}, {"q": "Robin"}, {"sort": "createdAt"}):
        listed = (await viewer.get(f"{API}/users", params=query)).json()["items"]
        assert {row["id"] for row in listed} == known
    assert (await viewer.get(f"{API}/users", params={"email": "owner@acme.example"})).json()["items"] == [
        row for row in listed if row["email"] == "owner@acme.example"
    ]
    seen = {user_id for user_id in everybody if (await viewer.get(f"{API}/users/{user_id}")).status_code == 200}
    assert seen == known
    told = (await viewer.get(f"{API}/events", params={"subjectType": "user"})).json()["items"]
    assert {item["subjectId"] for item in told} == known
