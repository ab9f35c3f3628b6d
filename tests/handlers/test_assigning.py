"""Only an active member is given something; what somebody has who leaves stays theirs."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from comms import mentions
from handlers.resource import RESOURCES
from tests.conftest import Client

API = "/api/v1"

GIVEN: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "contacts": ("ownerId", {"firstName": "Jane"}, {"firstName": "Joan"}),
    "customers": ("assignedTo", {"name": "Globex"}, {"name": "Initech"}),
    "deals": ("ownerId", {"name": "100 seats"}, {"name": "200 seats"}),
    "lead-routing-rules": ("assignTo", {"name": "All"}, {"priority": 3}),
    "projects": ("managerId", {"name": "Move"}, {"name": "Moved"}),
    "prospects": ("ownerId", {}, {"notes": "Called twice."}),
}
"""What can be a member's: by which field, what else makes one, and what can be changed of it."""

STORIES = {"/conversation-participants", "/crm-interactions", "/routing-profiles", "/team-channel-members"}
"""Rows about a member by stories of their own, and who had a call or a meeting, which may be long ago."""


async def leave(owner: Client, member: Client, *, back: bool = False) -> None:
    rows = await owner.get(f"{API}/workspace-members", params={"userId": str(member.user_id)})
    address = f"{API}/workspace-members/{rows.json()['items'][0]['id']}/deactivation"
    answer = await (owner.delete(address) if back else owner.post(address))
    assert answer.is_success, answer.text


def refused(answer: Any, *fields: str) -> bool:
    problem = answer if isinstance(answer, dict) else answer.json()
    expected = [{"field": field, "reason": mentions.NOT_ACTIVE} for field in fields]
    return problem["status"] == 400 and problem["errors"] == expected


@pytest.mark.parametrize("table", GIVEN)
async def test_who_is_deactivated_is_given_nothing_more_and_keeps_what_they_have(
    owner: Client, member: Client, table: str
) -> None:
    field, values, others = GIVEN[table]
    theirs, ours = {**values, field: str(member.user_id)}, {**values, field: str(owner.user_id)}
    [kept, free] = [(await owner.post(f"{API}/{table}", json=body)).json() for body in (theirs, ours)]
    await leave(owner, member)
    assert refused(await owner.post(f"{API}/{table}", json=theirs), field)
    assert refused(await owner.patch(f"{API}/{table}/{free['id']}", json={field: str(member.user_id)}), field)
    batch = (await owner.post(f"{API}/{table}/batch", json={"items": [theirs, ours, theirs]})).json()["results"]
    assert [one["status"] for one in batch] == [400, 201, 400]
    assert refused(batch[0]["problem"], field)
    for change in (dict(others), {field: str(member.user_id)}):
        answer = await owner.patch(f"{API}/{table}/{kept['id']}", json=change)
        assert (answer.status_code, answer.json()[field]) == (200, str(member.user_id))
    await leave(owner, member, back=True)
    assert (await owner.post(f"{API}/{table}", json=theirs)).status_code == 201


async def test_who_is_deactivated_joins_no_team(owner: Client, member: Client) -> None:
    team = (await owner.post(f"{API}/teams", json={"name": "Billing"})).json()["id"]
    await leave(owner, member)
    body = {"teamId": team, "userId": str(member.user_id)}
    assert refused(await owner.post(f"{API}/team-members", json=body), "userId")


async def test_who_is_deactivated_takes_no_new_turns(owner: Client, member: Client) -> None:
    table, turns = f"{API}/lead-routing-rules", [str(owner.user_id), str(member.user_id)]
    rule = {"name": "Turns", "roundRobin": True}
    kept = (await owner.post(table, json=rule | {"roundRobinUsers": turns})).json()["id"]
    free = (await owner.post(table, json=rule | {"roundRobinUsers": turns[:1]})).json()["id"]
    await leave(owner, member)
    assert refused(await owner.post(table, json=rule | {"roundRobinUsers": turns}), "roundRobinUsers[1]")
    assert refused(await owner.patch(f"{table}/{free}", json={"roundRobinUsers": turns}), "roundRobinUsers[1]")
    assert (await owner.patch(f"{table}/{kept}", json={"roundRobinUsers": turns[::-1]})).status_code == 200


async def test_no_new_automation_rule_gives_anything_to_who_is_deactivated(owner: Client, member: Client) -> None:
    table, theirs = f"{API}/automation-rules", {"ownerId": str(member.user_id)}
    rule = {"name": "Hand over", "triggerType": "deal_won", "triggerConfig": {}, "actionType": "assign_owner"}
    kept = (await owner.post(table, json=rule | {"actionConfig": theirs, "status": "active"})).json()["id"]
    await leave(owner, member)
    assert refused(await owner.post(table, json=rule | {"actionConfig": theirs}), "actionConfig.ownerId")
    assert (await owner.patch(f"{table}/{kept}", json={"status": "paused"})).status_code == 200
    ours = {"actionConfig": {"ownerId": str(owner.user_id)}}
    assert (await owner.patch(f"{table}/{kept}", json=ours)).status_code == 200
    answer = await owner.patch(f"{table}/{kept}", json={"actionConfig": theirs})
    assert refused(answer, "actionConfig.ownerId")


async def test_of_giving_somebody_a_deal_and_their_leaving_at_once_both_end(owner: Client, member: Client) -> None:
    deal = (await owner.post(f"{API}/deals", json={"name": "100 seats"})).json()["id"]
    giving = owner.patch(f"{API}/deals/{deal}", json={"ownerId": str(member.user_id)})
    given, _ = await asyncio.gather(giving, leave(owner, member))
    assert given.status_code == 200 or refused(given, "ownerId")


def test_every_field_that_gives_a_member_something_is_known_to() -> None:
    giving = set()
    for resource in RESOURCES:
        for law in resource.table.__table__.foreign_key_constraints:
            if law.referred_table.name == "workspace_members" and not law.info.get("assigns"):
                written = {*resource.new.__struct_fields__, *resource.edit.__struct_fields__}
                giving |= {resource.path for column in law.columns if column.name in written}
    assert giving == STORIES
