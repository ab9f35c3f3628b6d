"""How members want to be told, and what they do with what they are told."""

import asyncio
import uuid
from datetime import UTC, datetime, time
from typing import Any

import pytest

from comms.consent.hours import QuietHours
from comms.notifications.keeping import Notice, counting, keep
from comms.notifications.preferences import DEFAULTS, KINDS, Plan
from comms.notifications.sweeping import sweep
from comms.service import Service
from models.base import new_id, now
from models.communications import Conversation
from tests.conftest import Client
from tests.make import communications as make
from tests.make.notices import API, notices, told, unread, wanted

PREFERENCES = f"{API}/notification-preferences"


def notice(client: Client, group: str = "a", seq: int = 1, **more: Any) -> Notice:
    """Something that concerns the client."""
    given = {"kind": "message", "at": now(), "title": f"about {group}", "subject_id": uuid.UUID(int=ord(group[0]))}
    return Notice(user_id=client.user_id, group_key=group, seq=seq, **{**given, **more})


async def kept(service: Service, client: Client, *told: Notice) -> None:
    async with service.database.everywhere() as db:
        await keep(db, client.workspace_id, told)


@pytest.fixture
async def talk(service: Service, owner: Client) -> Conversation:
    return await make.conversation(service, owner.workspace_id)


async def test_nobody_has_to_say_how_they_want_to_be_told(member: Client, admin: Any) -> None:
    shown = (await member.get(PREFERENCES)).json()
    assert shown["kinds"]["mention"] == {"inApp": True, "email": True, "push": True}
    assert shown["kinds"]["message"] == {"inApp": True, "email": False, "push": True}
    assert set(shown["kinds"]) == set(KINDS)
    assert (shown["digest"], shown["quietHours"], shown["timezone"]) == ("hourly", None, "UTC")
    assert await admin.fetchval("SELECT count(*) FROM notification_preferences") == 0


async def test_what_is_wanted_is_kept_and_what_is_left_out_is_as_before(
    member: Client, owner: Client, viewer: Client
) -> None:
    await viewer.patch(f"{API}/me", json={"preferences": {"timezone": "Europe/Paris"}})
    body = {
        "kinds": {"message": {"email": True}, "mention": {"push": False, "inApp": False}},
        "digest": "daily",
        "digestHour": 7,
        "quietHours": {"start": "22:00", "end": "07:30"},
    }
    shown = await wanted(viewer, **body)
    assert shown == (await viewer.get(PREFERENCES)).json()
    assert shown["kinds"]["message"] == {"inApp": True, "email": True, "push": True}
    assert shown["kinds"]["mention"] == {"inApp": False, "email": True, "push": False}
    assert (shown["quietHours"], shown["timezone"]) == (body["quietHours"], "Europe/Paris")
    assert (await member.get(PREFERENCES)).json()["digest"] == "hourly"
    back = await wanted(viewer)
    assert (back["kinds"]["message"]["email"], back["digest"], back["quietHours"]) == (False, "hourly", None)
    told = (await viewer.get(f"{API}/events", params={"event": "notification_preference."})).json()["items"]
    assert [item["event"].rpartition(".")[2] for item in told] == ["created", "updated"]
    for other in (owner, member):
        assert (await other.get(f"{API}/events", params={"event": "notification_preference."})).json()["items"] == []


async def test_what_somebody_wants_in_all_their_workspaces_holds_until_they_say_otherwise_here(member: Client) -> None:
    said = {"notifications": {"channels": ["in_app", "email"], "mentions": False}}
    await member.patch(f"{API}/me", json={"preferences": said})
    kinds = (await member.get(PREFERENCES)).json()["kinds"]
    assert kinds["approval"] == {"inApp": True, "email": True, "push": False}
    assert kinds["mention"] == {"inApp": False, "email": False, "push": False}
    assert (await wanted(member, kinds={"mention": {"push": True}}))["kinds"]["mention"]["push"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kinds": {"gossip": {}}}, "kinds"),
        ({"kinds": {"message": {"fax": True}}}, "kinds.message.fax"),
        ({"kinds": {"message": {"email": "yes"}}}, "kinds.message.email"),
        ({"digest": "sometimes"}, "digest"),
        ({"digestHour": 24}, "digestHour"),
        ({"quietHours": {"start": "22:00"}}, "quietHours.end"),
        ({"quietHours": {"start": "25:00", "end": "07:00"}}, "quietHours.start"),
        ({"quietHours": {"start": "22:00\n", "end": "07:00"}}, "quietHours.start"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
    ],
)
async def test_what_cannot_be_wanted_is_named(member: Client, body: dict[str, Any], field: str) -> None:
    answer = await member.put(PREFERENCES, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


NIGHT = QuietHours(time(22), time(7))
NOON = datetime(2026, 3, 2, 12, 10, tzinfo=UTC)
LATE = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)  # 23:40 in Berlin, 17:40 in New York


@pytest.mark.parametrize(
    ("digest", "quiet", "zone", "at", "due"),
    [
        ("immediately", None, "UTC", NOON, "2026-03-02T12:11:00+00:00"),
        ("hourly", None, "UTC", NOON, "2026-03-02T13:00:00+00:00"),
        ("hourly", NIGHT, "Europe/Berlin", NOON, "2026-03-02T13:00:00+00:00"),
        ("hourly", NIGHT, "Europe/Berlin", LATE, "2026-03-03T06:00:00+00:00"),
        ("immediately", NIGHT, "America/New_York", LATE, "2026-03-02T22:41:00+00:00"),
        ("daily", None, "America/New_York", NOON, "2026-03-02T13:00:00+00:00"),
        ("daily", None, "Europe/Berlin", NOON, "2026-03-03T07:00:00+00:00"),
        ("daily", None, "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), "2026-03-29T06:00:00+00:00"),
        ("never", None, "UTC", NOON, None),
    ],
)
def test_when_a_digest_is_due(digest: Any, quiet: Any, zone: str, at: datetime, due: str | None) -> None:
    plan = Plan(DEFAULTS, digest, 8, quiet, zone)
    found = plan.mail_due("mention", at)
    assert (None if found is None else found.astimezone(UTC).isoformat()) == due
    assert plan.mail_due("message", at) is None


def test_what_is_pushed_waits_for_the_end_of_the_quiet_hours() -> None:
    plan = Plan(DEFAULTS, quiet=NIGHT, zone="Europe/Berlin")
    assert plan.push_due("mention", NOON) == NOON
    assert plan.push_due("mention", LATE) == datetime(2026, 3, 3, 6, tzinfo=UTC)


async def test_what_nobody_wants_to_see_in_the_app_is_not_there_and_not_counted(
    service: Service, owner: Client, member: Client, talk: Conversation, admin: Any
) -> None:
    await wanted(member, kinds={"assignment": {"inApp": False}})
    await owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(member.user_id)})
    await told(service)
    assert (await notices(member), await unread(member)) == ([], 0)
    [row] = await admin.fetch("SELECT id, email_due_at FROM notifications")
    assert row["email_due_at"] is not None
    assert (await member.get(f"{API}/notifications/{row['id']}")).status_code == 404
    assert (await member.get(f"{API}/events", params={"event": "notification."})).json()["items"] == []
    off = {"inApp": False, "email": False, "push": False}
    await wanted(member, kinds={"assignment": off})
    for user in (owner, member):
        await owner.put(f"{API}/conversations/{talk.id}/assignment", json={"userId": str(user.user_id)})
    await told(service)
    assert await admin.fetchval("SELECT sum(count) FROM notifications") == 1


async def test_all_is_read_at_once_or_what_is_about_one_thing_or_what_had_happened_by_then(
    service: Service, member: Client, owner: Client
) -> None:
    old = datetime(2026, 1, 1, tzinfo=UTC)
    await kept(service, member, notice(member, "a"), notice(member, "b"), notice(member, "c", at=old))
    await kept(service, owner, notice(owner, "a"))
    assert await unread(member) == 3
    address = f"{API}/notifications/read-state"
    assert (await member.put(address, json={"at": "2026-01-02T00:00:00Z"})).json()["unreadCount"] == 2
    assert (await member.put(address, json={"at": "1969-12-31T23:59:59Z"})).json()["unreadCount"] == 2
    about = {"subjectId": str(uuid.UUID(int=ord("a")))}
    assert (await member.put(address, json=about)).json()["unreadCount"] == 1
    assert [item["title"] for item in await notices(member, isRead=False)] == ["about b"]
    for _ in range(2):
        assert (await member.put(address)).json() == {"userId": str(member.user_id), "unreadCount": 0}
    assert all(item["readAt"] for item in await notices(member))
    assert await unread(owner) == 1
    log = (await member.get(f"{API}/events", params={"limit": 100})).json()["items"]
    counts = [item["data"]["unreadCount"] for item in log if item["subjectType"] == "notification_read_state"]
    assert counts == [3, 2, 1, 0]
    assert [item["event"] for item in log].count("notification.updated") == 3


async def test_reading_a_conversation_reads_what_was_told_of_it(
    service: Service, member: Client, talk: Conversation
) -> None:
    for group in ("a", "b"):
        about = talk.id if group == "a" else new_id()
        await kept(service, member, notice(member, group, subject_type="conversation", subject_id=about))
    later = notice(member, "c", subject_id=talk.id, at=datetime(2036, 1, 1, tzinfo=UTC))
    await kept(service, member, later)
    address = f"{API}/conversations/{talk.id}/read-state"
    assert (await member.put(address, json={"at": now().isoformat()})).status_code == 200
    assert {item["title"]: item["isRead"] for item in await notices(member)} == {
        "about a": True,
        "about b": False,
        "about c": False,
    }
    await told(service)  # and the log, which says it once more, changes nothing
    assert await unread(member) == 2


async def test_what_is_read_is_unread_again_unless_a_newer_one_is(service: Service, member: Client) -> None:
    await kept(service, member, notice(member))
    [first] = await notices(member)
    address = f"{API}/notifications/{first['id']}"
    for is_read in (True, False, True):
        changed = await member.patch(address, json={"isRead": is_read})
        assert (changed.json()["isRead"], await unread(member)) == (is_read, int(not is_read))
    await kept(service, member, notice(member, seq=2))
    assert (await member.patch(address, json={"isRead": False})).status_code == 409
    assert (await member.delete(address)).status_code == 204
    assert (await member.delete(address)).status_code == 404
    assert [item["count"] for item in await notices(member)] == [1]


async def test_an_event_that_is_told_again_changes_nothing_read_or_not(service: Service, member: Client) -> None:
    await kept(service, member, notice(member, seq=5))
    await kept(service, member, notice(member, seq=7))
    await kept(service, member, notice(member, seq=7), notice(member, "b", seq=6))
    await member.put(f"{API}/notifications/read-state")
    for seq in (5, 6, 7):
        await kept(service, member, notice(member, seq=seq))
    assert [(item["title"], item["count"]) for item in await notices(member, sort="createdAt")] == [
        ("about a", 2),
        ("about b", 1),
    ]


async def test_the_count_is_right_whatever_happens_at_once(service: Service, member: Client, admin: Any) -> None:
    await kept(service, member, *(notice(member, group) for group in "abcdef"))
    ids = [item["id"] for item in await notices(member)]
    doing = [member.patch(f"{API}/notifications/{id_}", json={"isRead": True}) for id_ in ids[:3]]
    more = [kept(service, member, notice(member, group, seq=2)) for group in "abcdefgh"]
    removing = [member.delete(f"{API}/notifications/{id_}") for id_ in ids[3:5]]
    await asyncio.gather(*doing, *more, *removing)
    count = await admin.fetchval("SELECT count(*) FROM notifications WHERE NOT is_read")
    assert await unread(member) == count
    last = (await member.get(f"{API}/events", params={"event": "notification_read_state.", "limit": 200})).json()
    assert last["items"][-1]["data"]["unreadCount"] == count


async def test_who_is_told_while_somebody_else_tells_them_is_counted_with_it(service: Service, member: Client) -> None:
    await kept(service, member, notice(member, "a"))
    async with service.database.everywhere() as db:
        await keep(db, member.workspace_id, [notice(member, "b")])
        meanwhile = asyncio.create_task(kept(service, member, notice(member, "c")))
        await asyncio.sleep(0.1)
        assert not meanwhile.done()
    await meanwhile
    assert await unread(member) == 3


async def test_of_two_who_tell_the_same_at_once_there_is_one_notice(service: Service, member: Client) -> None:
    await asyncio.gather(*(kept(service, member, notice(member, seq=1)) for _ in range(4)))
    await asyncio.gather(*(kept(service, member, notice(member, seq=seq)) for seq in (2, 3)))
    [found] = await notices(member)
    assert found["count"] in (2, 3)  # what comes late and is older was told already


async def test_a_second_unread_notice_of_a_group_cannot_be_written(
    service: Service, member: Client, admin: Any
) -> None:
    await kept(service, member, notice(member))
    with pytest.raises(Exception, match="uq_notifications_unread"):
        await admin.execute(
            "INSERT INTO notifications (workspace_id, id, user_id, kind, title, group_key, seq, happened_at,"
            " created_at, updated_at) SELECT workspace_id, gen_random_uuid(), user_id, kind, title, group_key, 99,"
            " happened_at, created_at, updated_at FROM notifications"
        )


async def test_what_is_old_is_gone_and_said_so(service: Service, member: Client, owner: Client, admin: Any) -> None:
    for user in (member, owner):
        await kept(service, user, *(notice(user, group) for group in "abcd"))
    age = "UPDATE notifications SET created_at = now() - $2::interval, happened_at = now() - $2::interval"
    for group, days, is_read in (("a", "100 days", True), ("b", "100 days", False), ("c", "400 days", False)):
        more = f", is_read = {is_read} WHERE group_key = $1"
        await admin.execute(age.replace("$2::interval", f"interval '{days}'") + more, group)
    assert await sweep(service.database) == 4
    for user in (member, owner):
        assert {item["title"] for item in await notices(user)} == {"about b", "about d"}
        assert await unread(user) == 2
        gone = (await user.get(f"{API}/events", params={"event": "notification.deleted"})).json()["items"]
        assert len(gone) == 2
    assert await sweep(service.database) == 0


async def test_what_is_told_of_is_seen_by_its_member_alone(
    service: Service, member: Client, owner: Client, stranger: Client
) -> None:
    await kept(service, member, notice(member))
    [mine] = await notices(member)
    address = f"{API}/notifications/{mine['id']}"
    for other in (owner, stranger):
        assert (await other.delete(address)).status_code == 404
        assert (await other.patch(address, json={"isRead": True})).status_code == 404
        await other.put(f"{API}/notifications/read-state")
        for noun in ("notification.", "notification_read_state."):
            assert (await other.get(f"{API}/events", params={"event": noun})).json()["items"] == []
    assert await unread(member) == 1


async def test_nobody_waits_for_a_member_who_is_not_meant(service: Service, member: Client, owner: Client) -> None:
    async with service.database.everywhere() as db, counting(db, member.workspace_id, [member.user_id]):
        async with asyncio.timeout(3):
            await kept(service, owner, notice(owner))
