"""Who belongs to a workspace: invited, changed, deactivated; and there is always an owner."""

import asyncio
from typing import Any

import httpx
import pytest

from comms.service import Service
from tests.conftest import PUBLIC_URL, Client
from tests.make import core as make
from tests.make.core import PASSWORD

API = "/api/v1"
NEW = "new@acme.example"
COMING = {"firstName": "Nora", "lastName": "New", "password": PASSWORD}


async def invited(by: Client, **body: Any) -> dict[str, Any]:
    answer = await by.post(f"{API}/workspace-members", json={"email": NEW} | body)
    assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


def link_of(invitation: dict[str, Any]) -> str:
    prefix = f"{PUBLIC_URL}/invitations/"
    assert invitation["link"].startswith(prefix)
    return f"{API}/invitations/{invitation['link'].removeprefix(prefix)}"


async def member_id(client: Client) -> str:
    listed = await client.get(f"{API}/workspace-members", params={"userId": str(client.user_id)})
    return str(listed.json()["items"][0]["id"])


async def change(by: Client, whose: Client, **body: Any) -> httpx.Response:
    return await by.patch(f"{API}/workspace-members/{await member_id(whose)}", json=body)


# Invitations


async def test_whoever_has_the_link_becomes_a_member_and_is_signed_in(
    owner: Client, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    invitation = await invited(owner, role="viewer", permissions={"billing": "none"})
    address = link_of(invitation)
    seen = (await anonymous.get(address)).json()
    assert (seen["workspaceName"], seen["email"], seen["role"]) == ("Acme", NEW, "viewer")
    answer = await anonymous.post(f"{address}/acceptance", json=COMING)
    assert answer.status_code == 201, answer.text
    anonymous.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    me = (await anonymous.get(f"{API}/me")).json()
    assert (me["email"], me["firstName"], me["role"], me["permissions"]["billing"]) == (NEW, "Nora", "viewer", "none")
    told = (await owner.get(f"{API}/events")).json()["items"]
    names = [item["event"] for item in told]
    assert names[:1] == ["workspace_invitation.created"]
    assert set(names[1:]) == {"workspace_member.created", "workspace_invitation.accepted"}
    kept = str(await admin.fetch("SELECT * FROM workspace_invitations")) + str(told)
    assert address.rpartition("/")[2] not in kept


async def test_a_link_lets_one_in_however_often_it_is_tried_at_once(
    owner: Client, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    address = link_of(await invited(owner))
    answers = await asyncio.gather(*(anonymous.post(f"{address}/acceptance", json=COMING) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers)[0] == 201
    assert sum(answer.status_code == 201 for answer in answers) == 1
    assert {answer.status_code for answer in answers} <= {201, 404, 409}
    assert await admin.fetchval("SELECT count(*) FROM users WHERE email = $1", NEW) == 1
    assert (await anonymous.post(f"{address}/acceptance", json=COMING)).status_code == 404


async def test_a_known_person_accepts_once_however_often_they_try_at_once(owner: Client, stranger: Client) -> None:
    address = link_of(await invited(owner, email="owner@rival.example"))
    answers = await asyncio.gather(*(stranger.post(f"{address}/acceptance", json=COMING) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 404, 404, 404]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE workspace_invitations SET expires_at = now()",
        "UPDATE workspace_invitations SET revoked_at = now()",
        "UPDATE workspace_invitations SET accepted_at = now()",
        "UPDATE workspaces SET is_active = false",
        "UPDATE workspace_members SET is_active = false",
        "UPDATE workspace_members SET role = 'viewer'",
    ],
)
async def test_a_link_that_is_no_good_is_answered_as_an_unknown_one(
    owner: Client, anonymous: httpx.AsyncClient, admin: Any, spoil: str
) -> None:
    address = link_of(await invited(owner))
    assert (await anonymous.get(address)).status_code == 200
    await admin.execute(spoil)
    unknown = await anonymous.get(f"{API}/invitations/nonsense")
    assert unknown.status_code == 404
    assert (await anonymous.get(address)).content == unknown.content
    assert (await anonymous.post(f"{address}/acceptance", json=COMING)).content == unknown.content
    assert await admin.fetchval("SELECT count(*) FROM users WHERE email = $1", NEW) == 0


async def test_the_newest_link_is_the_only_one(owner: Client, anonymous: httpx.AsyncClient) -> None:
    first, second = await invited(owner), await invited(owner, email="New@acme.example")
    assert (await anonymous.get(link_of(first))).status_code == 404
    assert (await anonymous.get(link_of(second))).status_code == 200
    shown = (await owner.get(f"{API}/workspace-invitations/{first['id']}")).json()
    assert shown["revokedAt"] is not None
    assert "link" not in shown
    assert (await owner.delete(f"{API}/workspace-invitations/{second['id']}")).status_code == 204
    assert (await owner.delete(f"{API}/workspace-invitations/{second['id']}")).status_code == 204
    assert (await anonymous.get(link_of(second))).status_code == 404
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told == [
        "workspace_invitation.created",
        "workspace_invitation.revoked",
        "workspace_invitation.created",
        "workspace_invitation.revoked",
    ]


async def test_who_is_a_user_already_proves_it(
    owner: Client, stranger: Client, service: Service, anonymous: httpx.AsyncClient
) -> None:
    await make.password(service, stranger.user_id)
    address = link_of(await invited(owner, email="owner@rival.example"))
    guessed = await anonymous.post(f"{address}/acceptance", json=COMING | {"password": "a mere guess"})
    assert guessed.status_code == 401
    answer = await anonymous.post(f"{address}/acceptance", json=COMING)
    assert answer.status_code == 201
    assert answer.json()["userId"] == str(stranger.user_id)
    assert (await stranger.get(f"{API}/me")).json()["firstName"] is None  # a link renames nobody


async def test_who_signs_in_without_a_password_accepts_with_their_credential(
    owner: Client, stranger: Client, viewer: Client, anonymous: httpx.AsyncClient
) -> None:
    address = link_of(await invited(owner, email="owner@rival.example"))
    assert (await anonymous.post(f"{address}/acceptance", json=COMING)).status_code == 401
    assert (await viewer.post(f"{address}/acceptance", json=COMING)).status_code == 403
    answer = await stranger.post(f"{address}/acceptance", json=COMING)
    assert answer.status_code == 201
    assert answer.json()["workspace"]["id"] == str(owner.workspace_id)


async def test_a_member_is_not_invited_and_a_former_one_comes_back(
    owner: Client, member: Client, service: Service, anonymous: httpx.AsyncClient
) -> None:
    await make.password(service, member.user_id)
    again = await owner.post(f"{API}/workspace-members", json={"email": "MEMBER@acme.example"})
    assert again.status_code == 409
    row = await member_id(member)
    assert (await owner.delete(f"{API}/workspace-members/{row}")).status_code == 204
    address = link_of(await invited(owner, email="member@acme.example", role="admin"))
    assert (await anonymous.post(f"{address}/acceptance", json=COMING)).status_code == 201
    back = (await owner.get(f"{API}/workspace-members/{row}")).json()
    assert (back["isActive"], back["role"]) == (True, "admin")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "a\x00@b.example"}, "email"),
        ({"role": "king"}, "role"),
        ({"permissions": {"everything": "write"}}, "permissions"),
        ({"permissions": {"billing": "all"}}, "permissions"),
        ({"isActive": True}, "isActive"),
    ],
)
async def test_an_invitation_that_makes_no_sense_is_refused_by_name(
    owner: Client, body: dict[str, Any], field: str
) -> None:
    answer = await owner.post(f"{API}/workspace-members", json={"email": NEW} | body)
    assert answer.status_code == 400
    assert [error["field"].split("[")[0].split(".")[0] for error in answer.json()["errors"]] == [field]


# Roles and permissions


async def test_nobody_gives_what_they_have_not(
    owner: Client, admin_member: Client, member: Client, viewer: Client
) -> None:
    assert (await change(admin_member, viewer, role="owner")).status_code == 403
    assert (await change(admin_member, owner, role="member")).status_code == 403
    assert (await change(admin_member, admin_member, role="owner")).status_code == 403
    assert (
        await admin_member.post(f"{API}/workspace-members", json={"email": NEW, "role": "owner"})
    ).status_code == 403
    assert (await change(admin_member, viewer, role="admin")).status_code == 200
    assert (await change(owner, viewer, role="owner")).status_code == 200
    assert (await change(member, member, role="admin")).status_code == 403
    # Who may manage members gives no more of anything than they have.
    assert (await change(owner, member, permissions={"members": "write", "billing": "none"})).status_code == 200
    assert (await change(member, member, permissions={"members": "write"})).status_code == 403
    assert (await change(member, admin_member, role="viewer")).status_code == 403
    assert (await member.post(f"{API}/workspace-members", json={"email": NEW, "role": "viewer"})).status_code == 403
    nothing = {"email": NEW, "role": "viewer", "permissions": {"billing": "none"}}
    assert (await member.post(f"{API}/workspace-members", json=nothing)).status_code == 201


async def test_permissions_hold_from_the_next_request(owner: Client, member: Client) -> None:
    listed, address = f"{API}/workspace-members", f"{API}/workspace-members/{await member_id(member)}"
    assert (await member.get(listed)).status_code == 200
    assert (await owner.patch(address, json={"permissions": {"members": "none"}})).status_code == 200
    assert (await member.get(listed)).status_code == 403
    assert (await owner.patch(address, json={"permissions": {}})).status_code == 200
    assert (await member.get(listed)).status_code == 200
    assert (await owner.patch(address, json={"userId": str(owner.user_id)})).status_code == 400


async def test_who_is_deactivated_has_no_token_and_no_session_any_more(
    owner: Client, member: Client, service: Service, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    await make.password(service, member.user_id)
    body = {"email": "member@acme.example", "password": PASSWORD}
    token = (await anonymous.post(f"{API}/sessions", json=body)).json()["token"]
    row = await member_id(member)
    deactivated = await owner.post(f"{API}/workspace-members/{row}/deactivation")
    assert (deactivated.status_code, deactivated.json()["isActive"]) == (201, False)
    assert (await owner.post(f"{API}/workspace-members/{row}/deactivation")).status_code == 201
    reactivated = await owner.delete(f"{API}/workspace-members/{row}/deactivation")
    assert (reactivated.status_code, reactivated.json()["isActive"]) == (200, True)
    for old in (token, member.token):
        anonymous.headers["Authorization"] = f"Bearer {old}"
        assert (await anonymous.get(f"{API}/me")).status_code == 401
    told = [item["event"] for item in (await owner.get(f"{API}/events")).json()["items"]]
    assert told.count("workspace_member.deactivated") == told.count("workspace_member.reactivated") == 1
    assert told.count("access_token.revoked") == 1
    ended = await admin.fetchval("SELECT count(*) FROM events WHERE event = 'session.deleted'")
    assert ended == 1


# The last owner


async def test_the_last_owner_stays_one(owner: Client, admin_member: Client) -> None:
    row = await member_id(owner)
    assert (await change(owner, owner, role="admin")).status_code == 409
    assert (await owner.delete(f"{API}/workspace-members/{row}")).status_code == 409
    assert (await owner.post(f"{API}/workspace-members/{row}/deactivation")).status_code == 409
    assert (await owner.delete(f"{API}/me/membership")).status_code == 409
    assert (await change(owner, admin_member, role="owner")).status_code == 200
    assert (await owner.delete(f"{API}/me/membership")).status_code == 204
    assert (await owner.get(f"{API}/me")).status_code == 401


async def test_two_owners_who_demote_each_other_at_once_leave_one(
    owner: Client, admin_member: Client, admin: Any
) -> None:
    await admin.execute("UPDATE workspace_members SET role = 'owner' WHERE user_id = $1", admin_member.user_id)
    theirs, ours = await member_id(admin_member), await member_id(owner)
    for _ in range(5):
        answers = await asyncio.gather(
            owner.patch(f"{API}/workspace-members/{theirs}", json={"role": "member"}),
            admin_member.patch(f"{API}/workspace-members/{ours}", json={"role": "member"}),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 403]
        owners = await admin.fetchval("SELECT count(*) FROM workspace_members WHERE role = 'owner' AND is_active")
        assert owners == 1
        await admin.execute("UPDATE workspace_members SET role = 'owner'")


async def test_two_owners_who_leave_at_once_leave_one(owner: Client, admin_member: Client, admin: Any) -> None:
    await admin.execute("UPDATE workspace_members SET role = 'owner' WHERE user_id = $1", admin_member.user_id)
    answers = await asyncio.gather(*(who.delete(f"{API}/me/membership") for who in (owner, admin_member)))
    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_everybody_else_may_leave(member: Client, viewer: Client) -> None:
    for who in (member, viewer):
        assert (await who.delete(f"{API}/me/membership")).status_code == 204
        assert (await who.get(f"{API}/me")).status_code == 401
