"""Messages of a team: put differently, taken back, answered, reacted to, found; and whom they call on."""

import asyncio
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from comms.service import Service
from tests.conftest import Client
from tests.make import notices
from tests.make.team import API, CHANNELS, MESSAGES, channel, direct, ok, said, told, wrong


async def shown(client: Client, message: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = await ok(await client.get(f"{MESSAGES}/{message['id']}"))
    return found


async def listed(client: Client, path: str, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await ok(await client.get(path, params={"sort": "createdAt", **query})))["items"]
    return items


async def test_what_a_message_said_before_is_kept_and_shown_to_who_may_see_it(
    owner: Client, member: Client, viewer: Client, stranger: Client
) -> None:
    here = await channel(owner, member, isPrivate=True)
    message = await said(owner, here, "one")
    for text in ("two", "two", "three"):
        await ok(await owner.patch(f"{MESSAGES}/{message['id']}", json={"content": text}))
    revisions = await listed(member, f"{MESSAGES}/{message['id']}/revisions")
    assert [(one["number"], one["content"]) for one in revisions] == [(1, "one"), (2, "two")]
    assert revisions[0]["saidAt"] == message["createdAt"]
    assert (await member.patch(f"{MESSAGES}/{message['id']}", json={"content": "x"})).status_code == 403
    for client in (viewer, stranger):
        assert (await client.get(f"{API}/team-message-revisions/{revisions[0]['id']}")).status_code == 404
        assert await listed(client, f"{API}/team-message-revisions") == []


async def test_edits_at_once_lose_no_revision(owner: Client) -> None:
    message = await said(owner, await channel(owner), "0")
    address = f"{MESSAGES}/{message['id']}"
    await asyncio.gather(*(owner.patch(address, json={"content": str(number)}) for number in range(1, 6)))
    texts = [one["content"] for one in await listed(owner, f"{address}/revisions")]
    assert sorted([*texts, (await shown(owner, message))["content"]]) == list("012345")


async def test_nothing_is_left_of_a_message_that_is_taken_back(owner: Client, member: Client, admin: Any) -> None:
    here = await channel(owner, member)
    message = await said(owner, here, "a secret")
    address = f"{MESSAGES}/{message['id']}"
    await ok(await owner.patch(address, json={"content": "still a secret"}))
    await ok(await member.put(f"{address}/reactions/{quote('👍')}"))
    await ok(await member.put(f"{address}/pin"))
    assert (await member.delete(address)).status_code == 403
    assert (await owner.delete(address)).status_code == 204
    for attempt in (
        owner.get(address),
        owner.delete(address),
        owner.patch(address, json={"content": "x"}),
        member.put(f"{address}/reactions/{quote('👍')}"),
        member.put(f"{address}/pin"),
        owner.get(f"{address}/revisions"),
    ):
        assert (await attempt).status_code == 404
    body = {"channelId": here, "content": "x", "parentMessageId": message["id"]}
    assert wrong(await owner.post(MESSAGES, json=body)) == (400, ["parentMessageId"])
    assert await listed(owner, f"{CHANNELS}/{here}/messages") == []
    assert await listed(owner, f"{API}/team-message-revisions") == []
    assert await listed(owner, f"{API}/team-message-reactions") == []
    kept = await admin.fetchrow("SELECT content, is_pinned FROM team_messages")
    assert tuple(kept) == ("", False)
    deleted = (await listed(owner, f"{API}/events", event="team_message.deleted", sort="seq"))[0]
    assert (deleted["data"]["content"], deleted["data"]["deletedAt"] is not None) == ("", True)


async def test_a_thread_outlives_the_message_that_began_it(owner: Client, member: Client) -> None:
    here = await channel(owner, member)
    message = await said(owner, here, "shall we?")
    answers = [await said(member, here, text, parentMessageId=message["id"]) for text in ("yes", "no")]
    assert [one["content"] for one in await listed(owner, f"{MESSAGES}/{message['id']}/answers")] == ["yes", "no"]
    await ok(await owner.delete(f"{MESSAGES}/{message['id']}"))
    left = await shown(member, message)
    assert (left["content"], left["threadCount"], left["deletedAt"] is not None) == ("", 2, True)
    assert (await owner.delete(f"{MESSAGES}/{message['id']}")).status_code == 404
    await said(member, here, "really?", parentMessageId=message["id"])
    assert (await shown(owner, message))["threadCount"] == 3
    for answer in [*answers, (await listed(owner, f"{MESSAGES}/{message['id']}/answers"))[-1]]:
        await ok(await member.delete(f"{MESSAGES}/{answer['id']}"))
    assert (await owner.get(f"{MESSAGES}/{message['id']}")).status_code == 404
    assert await listed(owner, f"{CHANNELS}/{here}/messages") == []


async def test_a_thread_has_one_level_and_counts_right_whoever_comes_and_goes(owner: Client, member: Client) -> None:
    here = await channel(owner, member)
    message = await said(owner, here)
    answer = await said(member, here, parentMessageId=message["id"])
    deeper = {"channelId": here, "content": "x", "parentMessageId": answer["id"]}
    assert wrong(await owner.post(MESSAGES, json=deeper)) == (400, ["parentMessageId"])
    more = {"channelId": here, "content": "x", "parentMessageId": message["id"]}
    results = await asyncio.gather(
        *(one.post(MESSAGES, json=more) for one in (owner, member) * 3), member.delete(f"{MESSAGES}/{answer['id']}")
    )
    assert {result.status_code for result in results} == {201, 204}
    assert (await shown(owner, message))["threadCount"] == 6
    places = [one["position"] for one in await listed(owner, f"{CHANNELS}/{here}/messages")]
    assert sorted(places) == [1, 3, 4, 5, 6, 7, 8]
    assert places == sorted(places)
    assert (await ok(await owner.get(f"{CHANNELS}/{here}")))["lastPosition"] == 8


async def test_who_takes_part_in_a_thread_follows_it_until_they_say_not(
    owner: Client, member: Client, viewer: Client, service: Service
) -> None:
    from comms.team import followers_of

    here = await channel(owner, member, viewer, isPrivate=True)
    message = await said(owner, here)
    address = f"{MESSAGES}/{message['id']}/following"

    async def followers() -> set[uuid.UUID]:
        async with service.database.workspace(owner.workspace_id) as db:
            return set(await followers_of(db, owner.workspace_id, uuid.UUID(message["id"])))

    answer = await said(member, here, f"@[{viewer.user_id}]", parentMessageId=message["id"])
    assert await followers() == {owner.user_id, member.user_id, viewer.user_id}
    assert (await ok(await owner.delete(address)))["isFollowing"] is False
    await said(owner, here, parentMessageId=message["id"])
    assert await followers() == {member.user_id, viewer.user_id}
    for _ in range(2):
        assert (await ok(await owner.put(f"{MESSAGES}/{answer['id']}/following")))["isFollowing"] is True
    assert await followers() == {owner.user_id, member.user_id, viewer.user_id}
    assert await told(owner, "team_thread_following") == [
        "team_thread_following.created",
        "team_thread_following.updated",
        "team_thread_following.updated",
    ]
    assert len(await listed(viewer, f"{API}/team-thread-followings")) == 1
    await ok(await owner.delete(f"{CHANNELS}/{here}/members/{viewer.user_id}"))
    assert await followers() == {owner.user_id, member.user_id}
    assert await listed(viewer, f"{API}/team-thread-followings") == []


async def test_an_emoji_is_under_a_message_once_a_member_and_counted_with_who(
    owner: Client, member: Client, viewer: Client
) -> None:
    message = await said(owner, await channel(owner, member))
    address = f"{MESSAGES}/{message['id']}/reactions"
    thumb, heart = quote("👍"), quote("❤")
    await asyncio.gather(*(one.put(f"{address}/{thumb}") for one in (owner, member) * 3))
    await ok(await member.put(f"{address}/{heart}"))
    counts = {one["emoji"]: (one["count"], set(one["userIds"])) for one in (await shown(viewer, message))["reactions"]}
    assert counts == {
        "👍": (2, {str(owner.user_id), str(member.user_id)}),
        "❤️": (1, {str(member.user_id)}),
    }
    for _ in range(2):
        after = await ok(await member.delete(f"{address}/{quote('❤️')}"))
    assert [one["emoji"] for one in after["reactions"]] == ["👍"]
    assert await told(viewer, "team_message_reaction") == ["team_message_reaction.created"] * 3 + [
        "team_message_reaction.deleted"
    ]
    assert (await viewer.put(f"{address}/{thumb}")).status_code == 403
    for text in ("x", "👍👍", "%00", "%FF"):
        assert (await owner.put(f"{address}/{text if '%' in text else quote(text)}")).status_code in (400, 404), text


async def test_a_message_has_so_many_different_emoji_and_no_more(owner: Client, member: Client) -> None:
    message = await said(owner, await channel(owner, member))
    address = f"{MESSAGES}/{message['id']}/reactions"
    many = [chr(0x1F600 + number) for number in range(22)]
    answers = await asyncio.gather(*(owner.put(f"{address}/{quote(one)}") for one in many))
    assert sorted(answer.status_code for answer in answers) == [200] * 20 + [409] * 2
    there = (await shown(owner, message))["reactions"][0]["emoji"]
    assert (await member.put(f"{address}/{quote(there)}")).status_code == 200


async def _named(admin: Any, client: Client, first: str, last: str) -> None:
    await admin.execute("UPDATE users SET first_name = $2, last_name = $3 WHERE id = $1", client.user_id, first, last)


async def test_a_name_calls_on_whom_it_can_only_mean(
    owner: Client, admin_member: Client, member: Client, viewer: Client, admin: Any
) -> None:
    for client, name in ((owner, "Ada Byron"), (member, "Grace Hopper"), (viewer, "Ada Lovelace")):
        await _named(admin, client, *name.split())
    here = await channel(owner)
    for text, meant in (
        ("@grace, look", [member]),
        ("(@Hopper)", [member]),
        ("@Ada Lovelace and @GRACE", [viewer, member]),
        ("@ada.byron. Yes", [owner]),
        ("@AdaLovelace", [viewer]),
        ("@ada", []),
        ("@nobody @channels", []),
        (f"@Grace @[{member.user_id}] @hopper", [member]),
        ("mail grace@grace.example or x@grace", []),
        ("@admin", [admin_member]),
        ("@", []),
        ("@" * 500, []),
    ):
        called = (await said(owner, here, text))["mentions"]
        assert called == [str(client.user_id) for client in meant], text


async def test_nobody_is_named_into_a_private_channel_and_an_edit_takes_a_name_back(
    service: Service, owner: Client, member: Client, viewer: Client, admin: Any
) -> None:
    await _named(admin, viewer, "Ada", "Byron")
    await _named(admin, member, "Ada", "Lovelace")
    here = await channel(owner, member, isPrivate=True)
    message = await said(owner, here, "@byron @Ada")  # there is but one Ada here
    assert message["mentions"] == [str(member.user_id)]
    address = f"{MESSAGES}/{message['id']}"
    assert (await ok(await owner.patch(address, json={"content": "nobody"})))["mentions"] == []
    await notices.told(service)
    assert await notices.notices(viewer) == []


async def test_a_channel_is_called_on_as_a_whole_and_its_sender_is_not(
    service: Service, owner: Client, member: Client, viewer: Client, admin_member: Client, admin: Any
) -> None:
    here = await channel(owner, member, isPrivate=True)
    message = await said(owner, here, f"@channel @[{member.user_id}]")
    assert (message["mentionsChannel"], message["mentions"]) == (True, [str(member.user_id)])
    await notices.told(service)
    assert [len(await notices.notices(one)) for one in (owner, member, viewer)] == [0, 1, 0]
    assert (await said(owner, here, "x@channel @channels"))["mentionsChannel"] is False
    crowd = await channel(admin_member, member, owner)
    await admin.execute("UPDATE team_channels SET member_count = 101 WHERE id = $1", uuid.UUID(crowd))
    calls = [(await said(one, crowd, "@channel"))["mentionsChannel"] for one in (member, owner, admin_member)]
    assert calls == [False, True, True]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"content": "  "}, "content"),
        ({"contentType": "system"}, "contentType"),
        ({"mentions": [str(uuid.uuid4())]}, "mentions"),
        ({"attachmentIds": [str(uuid.uuid4())]}, "attachmentIds[0]"),
        ({"attachmentIds": [str(uuid.uuid4())] * 11}, "attachmentIds"),
        ({"links": [{"type": "deal", "id": str(uuid.uuid4())}]}, "links[0].id"),
        ({"links": [{"type": "deal", "id": str(uuid.uuid4())}] * 11}, "links"),
        ({"links": [{"type": "invoice", "id": str(uuid.uuid4())}]}, "links[0].type"),
        ({"links": [{"type": "deal"}]}, "links[0].id"),
        ({"position": 7}, "position"),
        ({"content": "x" * 65_537}, "content"),
        ({"content": "a\x00b"}, "content"),
    ],
)
async def test_what_cannot_be_said_is_refused_by_name(owner: Client, body: dict[str, Any], field: str) -> None:
    here = await channel(owner)
    answer = await owner.post(MESSAGES, json={"channelId": here, "content": "Hi"} | body)
    assert wrong(answer) == (400, [field])
    assert await listed(owner, f"{CHANNELS}/{here}/messages") == []


async def test_html_comes_without_what_a_browser_would_run(owner: Client) -> None:
    html = '<b onclick="x()">Hi</b><script>alert(1)</script>'
    message = await said(owner, await channel(owner), html, contentType="html")
    assert message["content"] == "<b>Hi</b>"


async def test_what_the_team_says_is_found_by_who_may_see_it_and_nobody_else(
    owner: Client, member: Client, viewer: Client, stranger: Client
) -> None:
    private, common = await channel(owner, member, isPrivate=True), await channel(owner)
    pair = await direct(owner, viewer)
    hidden = [await said(owner, private, f"the merger, part {number}") for number in range(5)]
    whispered = await said(owner, pair, "a merger?")
    spoken = await said(owner, common, "no <i>merger</i>")

    async def found(client: Client, **query: Any) -> list[str]:
        answer = await ok(await client.get(f"{API}/search", params={"q": "merger", **query}))
        assert answer["nextCursor"] is None or len(answer["items"]) == query.get("limit")
        return [item["id"] for item in answer["items"]]

    secrets = {message["id"] for message in hidden}
    assert set(await found(owner)) == secrets | {whispered["id"], spoken["id"]}
    assert set(await found(member)) == secrets | {spoken["id"]}
    assert set(await found(viewer)) == {whispered["id"], spoken["id"]}
    assert await found(stranger) == []
    assert await found(viewer, limit=1) == [spoken["id"]]
    # As long as there is one that may be seen there is a page of it, and no page is short by what may not.
    assert len(await found(member, limit=2)) == 2
    listed_too = {one["id"] for one in await listed(viewer, MESSAGES, q="merg")}
    assert listed_too == {whispered["id"], spoken["id"]}
    result = (await ok(await member.get(f"{API}/search", params={"q": "merger", "types": "team_message"})))["items"][0]
    assert (result["type"], result["channelId"]) == ("team_message", common)
    assert result["highlights"][0]["html"] == "no &lt;i&gt;<mark>merger</mark>&lt;/i&gt;"
    await ok(await owner.delete(f"{CHANNELS}/{private}/members/{member.user_id}"))
    assert await found(member) == [spoken["id"]]
    await ok(await owner.patch(f"{MESSAGES}/{spoken['id']}", json={"content": "nothing"}))
    await ok(await owner.delete(f"{CHANNELS}/{private}"))
    assert await found(owner) == [whispered["id"]]
