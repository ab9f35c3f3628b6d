"""Who is told of handoffs and of silence, and when they need not look any more."""

from typing import Any

from comms.ownership import deadlines, watching
from comms.service import Service
from models.communications import Conversation
from tests.conftest import Client
from tests.make import ownership as make
from tests.make.handoffs import can
from tests.make.notices import notices, told

API = "/api/v1"


async def hand(client: Client, talk: Conversation, target: dict[str, Any], **more: Any) -> str:
    body = {"reason": "Asks for a person", "target": target, "packet": {"summary": "Charged twice"}, **more}
    answer = await client.post(f"{API}/conversations/{talk.id}/handoffs", json=body)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


async def unread(client: Client) -> list[tuple[str, str | None]]:
    items = await notices(client, isRead="false")
    return [(one["kind"], one["message"]) for one in items]


async def test_who_is_asked_is_told_until_the_next_is_asked_or_somebody_has_it(
    service: Service, owner: Client, member: Client, admin_member: Client, talk: Conversation, admin: Any
) -> None:
    team = (await owner.post(f"{API}/teams", json={"name": "Billing"})).json()["id"]
    await owner.post(f"{API}/team-members", json={"teamId": team, "userId": str(admin_member.user_id)})
    await hand(owner, talk, {"userId": str(member.user_id)}, steps=[{"target": {"teamId": team}}])
    await told(service)
    assert await unread(member) == [("handoff", "Charged twice")]
    assert await unread(admin_member) == await unread(owner) == []
    await admin.execute("UPDATE conversation_handoffs SET deadline_at = now()")
    await deadlines.pass_deadlines(service.database)
    await told(service)
    assert await unread(member) == []
    assert await unread(admin_member) == [("handoff", "Charged twice")]
    await owner.put(f"{API}/conversations/{talk.id}/ownership")
    await told(service)
    assert await unread(admin_member) == []


async def test_who_handed_it_on_is_told_that_nobody_takes_it(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    await can(owner, owner, "billing")
    await hand(member, talk, {"neededSkills": ["billing"]})
    await admin.execute("UPDATE conversation_handoffs SET deadline_at = now()")
    await deadlines.pass_deadlines(service.database)
    await told(service)
    assert await unread(member) == [("handoff", "Asks for a person")]
    assert await unread(owner) == []


async def test_the_owner_is_told_of_silence_and_where_there_is_none_the_administrators(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    settled = {"watchdog": {"unansweredSeconds": 60}}
    await owner.patch(f"{API}/workspaces/{talk.workspace_id}", json={"settings": settled})
    await make.say(service, talk)
    earlier = "created_at = created_at - interval '2 minutes'"
    await admin.execute(f"UPDATE conversation_messages SET direction = 'inbound', {earlier}")
    for client in (owner, member):
        await admin.execute(
            "UPDATE conversations SET last_message_at = now() - interval '2 minutes', silence_told_at = NULL"
        )
        await watching.watch(service.database)
        await told(service)
        assert [kind for kind, _ in await unread(client)] == ["reminder"]
        await member.put(f"{API}/conversations/{talk.id}/ownership")
