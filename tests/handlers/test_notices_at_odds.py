"""What members are told where luck is bad: clocks that differ, one whom nothing can be told, things in quick turn."""

import json
from datetime import timedelta
from typing import Any

from comms.notifications.following import keep_up
from comms.notifications.keeping import Notice, keep
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.make.notices import API, notices, told, unread, wanted


async def says(client: Client, channel_id: str, content: str) -> None:
    body = {"channelId": channel_id, "content": content}
    answer = await client.post(f"{API}/team-messages", json=body)
    assert answer.status_code == 201, answer.text


async def between(client: Client, other: Client) -> str:
    answer = await client.put(f"{API}/team-channels/direct/{other.user_id}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def heard(client: Client) -> dict[str, Any]:
    """What a device shows that has heard everything."""
    shown: dict[str, Any] = {}
    events = (await client.get(f"{API}/events", params={"limit": 200})).json()["items"]
    for event in sorted(events, key=lambda one: one["seq"]):
        if event["event"] == "notification.deleted":
            del shown[event["subjectId"]]
        elif event["subjectType"] == "notification":
            assert (event["event"] == "notification.created") == (event["subjectId"] not in shown)
            shown[event["subjectId"]] = event["data"]
    return shown


async def test_what_is_no_longer_wanted_in_the_app_is_gone_from_devices_as_from_the_list(
    service: Service, owner: Client, member: Client
) -> None:
    direct = await between(owner, member)
    for preferences, times in (({}, 1), ({"kinds": {"message": {"inApp": False, "email": True}}}, 0), ({}, 1)):
        await wanted(member, **preferences)
        await says(owner, direct, "Psst")
        await told(service)
        found = await notices(member)
        assert len(found) == times
        assert {notice["id"]: notice for notice in found} == await heard(member)
        assert await unread(member) == times


async def test_who_was_removed_and_came_back_keeps_what_they_were_told_since(
    service: Service, owner: Client, member: Client
) -> None:
    """All of it happens before the log is read, as when the worker was away for a while."""
    made = (await owner.post(f"{API}/team-channels", json={"name": "Salaries", "isPrivate": True})).json()
    members = f"{API}/team-channels/{made['id']}/members"
    for word in ("before", "since"):
        assert (await owner.post(members, json={"userId": str(member.user_id)})).status_code == 201
        await says(owner, made["id"], f"@[{member.user_id}] {word}")
        if word == "before":
            assert (await owner.delete(f"{members}/{member.user_id}")).status_code == 204
    await told(service)
    assert [notice["message"] for notice in await notices(member)] == [f"@[{member.user_id}] since"]


async def test_of_one_whom_nothing_can_be_told_no_other_workspace_suffers(
    service: Service, owner: Client, member: Client, stranger: Client, admin: Any
) -> None:
    """A time zone that the system has forgotten is UTC; and what else may be wrong is wrong in one workspace alone."""

    async def given(who: Client, to: Client) -> None:
        assert (await who.post(f"{API}/contacts", json={"ownerId": str(to.user_id)})).status_code == 201

    wrong = "UPDATE users SET preferences = $2 WHERE id = $1"
    await admin.execute(wrong, member.user_id, json.dumps({"timezone": "Mars/Olympus"}))
    await given(owner, member)
    await told(service)
    assert len(await notices(member)) == 1
    await admin.execute(wrong, member.user_id, json.dumps({"notifications": ["nonsense"]}))
    await given(owner, member)
    await given(stranger, stranger)
    await keep_up(service.database, [owner.workspace_id, stranger.workspace_id])
    behind = "SELECT c.seq - p.seq FROM notification_progress p JOIN event_counters c USING (workspace_id)"
    assert await admin.fetchval(f"{behind} WHERE workspace_id = $1", stranger.workspace_id) == 0
    assert await admin.fetchval(f"{behind} WHERE workspace_id = $1", owner.workspace_id) > 0


async def test_all_is_read_whatever_the_clock_of_another_process_says(service: Service, member: Client) -> None:
    async with service.database.everywhere() as db:
        ahead = now() + timedelta(minutes=5)
        notice = Notice(user_id=member.user_id, kind="mention", group_key="g", seq=1, at=ahead, title="You were named")
        await keep(db, member.workspace_id, [notice])
    assert await unread(member) == 1
    assert (await member.put(f"{API}/notifications/read-state", json={})).json()["unreadCount"] == 0


async def test_what_was_written_in_html_is_told_as_it_is_read(service: Service, owner: Client, member: Client) -> None:
    body = {
        "channelId": await between(owner, member),
        "contentType": "html",
        "content": "<p>Who &amp; <b>when</b>?</p>",
    }
    said = (await owner.post(f"{API}/team-messages", json=body)).json()
    await told(service)
    assert [notice["message"] for notice in await notices(member)] == ["Who & when?"]
    changed = await owner.patch(f"{API}/team-messages/{said['id']}", json={"content": "<i>Nobody</i>"})
    assert changed.status_code == 200
    await told(service)
    assert [notice["message"] for notice in await notices(member)] == ["Nobody"]


async def test_an_older_message_that_calls_too_does_not_let_a_newer_one_be_overlooked(
    service: Service, owner: Client, member: Client
) -> None:
    made = (await owner.post(f"{API}/team-channels", json={"name": "Front desk"})).json()
    here = f"{API}/team-channels/{made['id']}"
    assert (await member.post(f"{here}/members", json={})).status_code == 201
    for content in ("one", "two", f"@[{member.user_id}] three"):
        await says(owner, made["id"], content)
    await told(service)
    said = (await owner.get(f"{here}/messages", params={"sort": "createdAt"})).json()["items"]
    one, two, three = [message["id"] for message in said]
    edited = await owner.patch(f"{API}/team-messages/{one}", json={"content": f"@[{member.user_id}] one"})
    assert edited.status_code == 200
    await told(service)
    for message_id, count in ((two, 1), (three, 0)):
        assert (await member.put(f"{here}/reading", json={"messageId": message_id})).status_code == 200
        await told(service)
        assert await unread(member) == count
