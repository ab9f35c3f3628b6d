"""What agents ask before they act: decided once, by somebody else than whose agent it is, in time."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from comms.agents import approvals
from comms.agents.sweeps import until_done
from comms.database import Urls
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.make import agents as make
from tests.make.agents import API, errors, told


async def asked(client: Client, **body: Any) -> dict[str, Any]:
    """An agent of the client's asks to send an e-mail."""
    agent = await make.agent(client)
    action = {"agentId": agent["id"], "actionType": "email.send", "title": "Write to Jane", "details": {"to": "jane"}}
    return await make.made(client, "/agent-pending-actions", action | body)


def path(action: dict[str, Any], noun: str = "approval") -> str:
    return f"{API}/agent-pending-actions/{action['id']}/{noun}"


async def overdue(admin: Any, action: dict[str, Any]) -> None:
    await admin.execute("UPDATE agent_pending_actions SET expires_at = now() WHERE id = $1", action["id"])


async def test_another_member_approves_what_was_asked(owner: Client, member: Client) -> None:
    action = await asked(owner)
    assert action["status"] == "pending"
    answer = await member.post(path(action))
    assert answer.status_code == 201, answer.text
    approved = answer.json()
    assert (approved["status"], approved["reviewedBy"]) == ("approved", str(member.user_id))
    assert approved["reviewedAt"] is not None
    assert approved["editedDetails"] is None
    assert await told(owner, action["id"]) == ["agent_pending_action.created", "agent_pending_action.approved"]


async def test_what_is_edited_is_kept_beside_what_was_asked(owner: Client, member: Client) -> None:
    action = await asked(owner)
    approved = (await member.post(path(action), json={"details": {"to": "john"}})).json()
    assert (approved["details"], approved["editedDetails"]) == ({"to": "jane"}, {"to": "john"})


async def test_a_refusal_has_a_reason(owner: Client, member: Client) -> None:
    action = await asked(owner)
    rejected = (await member.post(path(action, "rejection"), json={"reason": "Too early"})).json()
    assert (rejected["status"], rejected["reason"]) == ("rejected", "Too early")
    assert await told(owner, action["id"]) == ["agent_pending_action.created", "agent_pending_action.rejected"]


async def test_whose_agent_it_is_does_not_approve_unless_alone(owner: Client, viewer: Client, admin: Any) -> None:
    first, second = await asked(owner), await asked(owner)
    assert (await owner.post(path(first))).status_code == 201  # a viewer could not
    await admin.execute(
        "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2", '{"agents": "write"}', viewer.user_id
    )
    answer = await owner.post(path(second))
    assert answer.status_code == 403
    assert "another member" in answer.json()["detail"]
    await admin.execute("UPDATE workspace_members SET is_active = false WHERE user_id = $1", viewer.user_id)
    assert (await owner.post(path(second))).status_code == 201


async def test_a_viewer_who_could_not_approve_it_is_nobody_to_wait_for(
    owner: Client, viewer: Client, admin: Any
) -> None:
    action = await asked(owner, actionType="create_record", details={"resource": "contacts", "values": {}})
    query = "UPDATE workspace_members SET permissions = $1 WHERE user_id = $2"
    await admin.execute(query, '{"agents": "write"}', viewer.user_id)
    assert (await viewer.post(path(action))).status_code == 403
    assert (await owner.post(path(action))).status_code == 201


async def test_whose_agent_it_is_may_stop_it(owner: Client, member: Client) -> None:
    action = await asked(member)
    assert (await member.post(path(action))).status_code == 403
    assert (await member.post(path(action, "rejection"))).status_code == 201


async def test_an_action_is_decided_once(owner: Client, member: Client) -> None:
    action = await asked(owner)
    assert (await member.post(path(action))).status_code == 201
    for noun in ("approval", "rejection"):
        answer = await member.post(path(action, noun))
        assert answer.status_code == 409
        assert "approved already" in answer.json()["detail"]


async def test_of_two_who_decide_at_once_one_does(owner: Client, member: Client, admin_member: Client) -> None:
    for _ in range(5):
        action = await asked(owner)
        answers = await asyncio.gather(
            member.post(path(action)),
            admin_member.post(path(action, "rejection")),
            member.post(path(action), json={"details": {"to": "john"}}),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        assert len(await told(owner, action["id"])) == 2


async def test_what_has_expired_is_not_decided_any_more(owner: Client, member: Client, admin: Any) -> None:
    action = await asked(owner)
    await overdue(admin, action)
    for noun in ("approval", "rejection"):
        answer = await member.post(path(action, noun))
        assert answer.status_code == 409
        assert "expired" in answer.json()["detail"]


async def test_the_sweep_expires_what_nobody_decided_in_time(
    owner: Client, member: Client, admin: Any, service: Service
) -> None:
    late, decided, open_ended = await asked(owner), await asked(owner), await asked(owner)
    assert (await member.post(path(decided))).status_code == 201
    for action in (late, decided):
        await overdue(admin, action)
    assert await until_done(service.database, approvals.expire_overdue) == 1
    listed = (await owner.get(f"{API}/agent-pending-actions", params={"sort": "createdAt"})).json()["items"]
    assert [item["status"] for item in listed] == ["expired", "approved", "pending"]
    assert await told(owner, late["id"]) == ["agent_pending_action.created", "agent_pending_action.expired"]
    assert len(await told(owner, open_ended["id"])) == 1
    assert "expired already" in (await member.post(path(late))).json()["detail"]


async def test_what_is_approved_as_it_expires_is_one_of_both(
    owner: Client, member: Client, admin: Any, service: Service
) -> None:
    agent = await make.agent(owner)
    body = {"agentId": agent["id"], "actionType": "create_record", "title": "x"}
    for number in range(6):
        values = {"firstName": f"No. {number}"}
        details = {"details": {"resource": "contacts", "values": values}}
        action = await make.made(owner, "/agent-pending-actions", body | details)
        due = now() + timedelta(milliseconds=3 * number)
        await admin.execute("UPDATE agent_pending_actions SET expires_at = $1 WHERE id = $2", due, action["id"])
        swept, answer = await asyncio.gather(
            until_done(service.database, approvals.expire_overdue), member.post(path(action))
        )
        swept += await until_done(service.database, approvals.expire_overdue)
        shown = (await owner.get(f"{API}/agent-pending-actions/{action['id']}")).json()
        is_done = answer.status_code == 201
        assert (shown["status"] == "approved", shown["succeeded"] is True) == (is_done, is_done)
        found = (await owner.get(f"{API}/contacts", params={"q": f"No. {number}"})).json()["items"]
        assert len(found) == is_done
        events = await told(owner, action["id"])
        assert events[1:] in (["agent_pending_action.approved"], ["agent_pending_action.expired"], [])
        assert (events[1:] == ["agent_pending_action.approved"]) == is_done
        assert is_done or answer.status_code == 409


async def test_only_who_may_write_agents_decides(owner: Client, viewer: Client, stranger: Client) -> None:
    action = await asked(owner)
    for noun in ("approval", "rejection"):
        assert (await viewer.post(path(action, noun))).status_code == 403
        assert (await stranger.post(path(action, noun))).status_code == 404


async def test_an_action_cannot_expire_before_it_is_asked_for(owner: Client) -> None:
    agent = await make.agent(owner)
    body = {"agentId": agent["id"], "actionType": "x", "title": "x", "expiresAt": (now() - timedelta(1)).isoformat()}
    assert set(errors(await owner.post(f"{API}/agent-pending-actions", json=body))) == {"expiresAt"}


async def test_the_audit_log_is_added_to_and_read(owner: Client, service: Service, urls: Urls) -> None:
    agent = await make.agent(owner)
    values = {"agent_id": agent["id"], "action_type": "email.send", "success": True, "triggered_by": "agent"}
    async with service.database.workspace(owner.workspace_id) as db:
        row = await approvals.note(db, owner.workspace_id, values)
    shown = (await owner.get(f"{API}/agent-action-audit-log/{row.id}")).json()
    assert (shown["actionType"], shown["success"]) == ("email.send", True)
    for method in ("PATCH", "DELETE", "POST"):
        assert (await owner.request(method, f"{API}/agent-action-audit-log/{row.id}")).status_code == 405
    assert (await owner.delete(f"{API}/agents/{agent['id']}")).status_code == 409
    web = await asyncpg.connect(urls.web.plain)
    for statement in ("UPDATE agent_action_audit_log SET success = false", "DELETE FROM agent_action_audit_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await web.execute(statement)
    await web.close()
