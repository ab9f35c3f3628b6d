"""What comes with a team's message: files, which are its readers' alone, and cards of what it speaks of."""

import uuid
from typing import Any

from comms.directory import Connection
from comms.media.keeping import NotKept
from comms.service import Service
from tests.conftest import Client
from tests.handlers.test_resources import counted
from tests.handlers.test_uploads import PICTURE
from tests.make.sending import CUSTOMER
from tests.make.team import API, CHANNELS, MESSAGES, channel, direct, ok, said, told, wrong


async def uploaded(client: Client, **query: Any) -> str:
    return str((await ok(await client.post(f"{API}/uploads", content=PICTURE, params=query)))["id"])


def content_of(message: dict[str, Any], place: int = 0) -> str:
    return f"{MESSAGES}/{message['id']}/attachments/{message['attachments'][place]['id']}/content"


async def test_a_file_of_a_private_channel_is_its_members_alone(
    owner: Client, admin_member: Client, member: Client, stranger: Client
) -> None:
    here = await channel(owner, member, isPrivate=True)
    private = await uploaded(owner, fileName="plan.png", isPrivate=True)
    common = await uploaded(owner)
    for client in (admin_member, member, stranger):
        assert (await client.get(f"{API}/uploads/{private}/content")).status_code == 404
        assert (await client.delete(f"{API}/uploads/{private}")).status_code == 404
    message = await said(owner, here, "", attachmentIds=[private, common])
    assert [(one["fileName"], one["size"]) for one in message["attachments"]] == [
        ("plan.png", len(PICTURE)),
        (None, len(PICTURE)),
    ]
    for place in (0, 1):
        assert (await member.get(content_of(message, place))).content == PICTURE
        for client in (admin_member, stranger):
            assert (await client.get(content_of(message, place))).status_code == 404
    # What everybody could see, they see no longer, and were told so.
    for client in (owner, admin_member):
        assert (await client.get(f"{API}/uploads/{common}")).status_code == 404
    assert await told(admin_member, "upload") == ["upload.created", "upload.deleted"]
    assert (await owner.get(f"{API}/uploads/{private}")).status_code == 200
    other = await said(owner, await channel(owner))
    elsewhere = content_of(message).replace(message["id"], other["id"])
    assert (await owner.get(elsewhere)).status_code == 404


async def test_a_file_of_an_open_channel_stays_an_upload_too(owner: Client, viewer: Client) -> None:
    common = await uploaded(owner)
    here = await channel(owner)
    message = await said(owner, here, "", attachmentIds=[common, common])
    assert len(message["attachments"]) == 1
    assert (await viewer.get(content_of(message))).content == PICTURE
    assert (await viewer.get(content_of(message))).headers["content-disposition"].startswith("attachment")
    assert (await viewer.get(f"{API}/uploads/{common}")).status_code == 200


async def test_nobody_sends_what_another_keeps_to_themselves(owner: Client, member: Client, stranger: Client) -> None:
    here = await channel(owner, member)
    for upload in (await uploaded(owner, isPrivate=True), await uploaded(stranger)):
        answer = await member.post(MESSAGES, json={"channelId": here, "content": "x", "attachmentIds": [upload]})
        assert wrong(answer) == (400, ["attachmentIds[0]"])


async def test_files_go_with_the_last_who_has_them(owner: Client, service: Service, admin: Any) -> None:
    here = await channel(owner)
    upload = await uploaded(owner)
    kept, gone = [await said(owner, here, attachmentIds=[upload]) for _ in range(2)]
    key = await admin.fetchval("SELECT storage_key FROM team_message_attachments LIMIT 1")

    async def worked() -> bool:
        """Whether the file is there, once all jobs are done."""
        for row in await admin.fetch("DELETE FROM jobs.pgqueuer RETURNING convert_from(payload, 'UTF8') AS payload"):
            assert key in row["payload"]
            await service.media.remove(key)
        try:
            await service.media.read(key)
        except NotKept:
            return False
        return True

    await ok(await owner.delete(f"{MESSAGES}/{gone['id']}"))
    await ok(await owner.delete(f"{API}/uploads/{upload}"))
    assert await worked()
    assert (await owner.get(content_of(kept))).content == PICTURE
    assert (await owner.get(content_of(gone))).status_code == 404
    await ok(await owner.delete(f"{CHANNELS}/{here}"))
    assert not await worked()


async def linked(client: Client) -> dict[str, str]:
    """A contact, a conversation with them, and a deal."""
    contact = (await ok(await client.post(f"{API}/contacts", json={"firstName": "Ada", "company": "Engines"})))["id"]
    body = {"channel": "email", "contactId": contact}
    conversation = (await ok(await client.post(f"{API}/conversations", json=body)))["id"]
    deal = (await ok(await client.post(f"{API}/deals", json={"name": "Big one", "value": "12.50"})))["id"]
    return {"contact": contact, "conversation": conversation, "deal": deal}


async def test_a_message_shows_the_cards_of_what_it_links_as_it_is_now(
    owner: Client, viewer: Client, stranger: Client
) -> None:
    ids = await linked(owner)
    here = await channel(owner)
    links = [{"type": kind, "id": row_id} for kind, row_id in ids.items()]
    message, bare = await said(owner, here, links=[*links, links[0]]), await said(owner, here)
    assert message["links"] == links
    asked = {"messageIds": f"{message['id']},{bare['id']},{uuid.uuid4()}"}

    async def cards(client: Client) -> list[Any]:
        return (await ok(await client.get(f"{MESSAGES}/cards", params=asked)))["items"]  # type: ignore[no-any-return]

    (shown,) = await cards(viewer)
    assert shown["messageId"] == message["id"]
    assert [(card["type"], card["title"], card["subtitle"], card["status"]) for card in shown["cards"]] == [
        ("contact", "Ada", "Engines", "lead"),
        ("conversation", "Ada", "email", "active"),
        ("deal", "Big one", "12.50 USD", "qualification"),
    ]
    assert await cards(stranger) == []
    await ok(await owner.patch(f"{API}/contacts/{ids['contact']}", json={"lastName": "Lovelace"}))
    await ok(await owner.delete(f"{API}/deals/{ids['deal']}"))
    (shown,) = await cards(owner)
    assert [card["title"] for card in shown["cards"]] == ["Ada Lovelace", "Ada Lovelace"]
    assert (await ok(await owner.get(f"{MESSAGES}/{message['id']}")))["links"] == links[:2]
    await ok(await owner.delete(f"{MESSAGES}/{message['id']}"))
    assert await cards(owner) == []


async def test_links_and_cards_of_another_workspace_or_of_closed_channels_are_none(
    owner: Client, member: Client, viewer: Client, stranger: Client
) -> None:
    theirs, ours = await linked(stranger), await linked(owner)
    pair = await direct(owner, member)
    for kind, row_id in theirs.items():
        body = {"channelId": pair, "content": "x", "links": [{"type": kind, "id": row_id}]}
        assert wrong(await owner.post(MESSAGES, json=body)) == (400, ["links[0].id"])
    swapped = {"channelId": pair, "content": "x", "links": [{"type": "deal", "id": ours["contact"]}]}
    assert wrong(await owner.post(MESSAGES, json=swapped)) == (400, ["links[0].id"])
    message = await said(owner, pair, links=[{"type": "contact", "id": ours["contact"]}])
    for client, many in ((member, 1), (viewer, 0), (stranger, 0)):
        asked = await ok(await client.get(f"{MESSAGES}/cards", params={"messageIds": message["id"]}))
        assert len(asked["items"]) == many
    for query in ({"messageIds": "x"}, {"messageIds": ",".join([message["id"]] * 201)}, {}):
        assert (await owner.get(f"{MESSAGES}/cards", params=query)).status_code == 400


async def test_cards_take_as_many_queries_however_many_there_are(owner: Client) -> None:
    here = await channel(owner)

    async def asked(many: int) -> int:
        messages = []
        for _ in range(many):
            links = [{"type": kind, "id": row_id} for kind, row_id in (await linked(owner)).items()]
            messages.append((await said(owner, here, links=links))["id"])
        with counted() as statements:
            await ok(await owner.get(f"{MESSAGES}/cards", params={"messageIds": ",".join(messages)}))
            return statements()

    assert await asked(1) == await asked(3)


async def test_who_is_merged_is_linked_still(owner: Client) -> None:
    first, second = await linked(owner), await linked(owner)
    message = await said(owner, await channel(owner), links=[{"type": "contact", "id": second["contact"]}])
    merge = {"contactId": second["contact"]}
    await ok(await owner.post(f"{API}/contacts/{first['contact']}/merge", json=merge))
    links = (await ok(await owner.get(f"{MESSAGES}/{message['id']}")))["links"]
    assert links == [{"type": "contact", "id": first["contact"]}]


async def test_what_somebody_keeps_to_themselves_leaves_with_their_own_texts_alone(
    owner: Client, member: Client, line: Connection
) -> None:
    upload = await uploaded(owner, isPrivate=True)
    text = {"to": CUSTOMER, "content": "Our menu", "attachmentIds": [upload]}
    assert wrong(await member.post(f"{API}/messages", json=text)) == (400, ["attachmentIds"])
    assert (await owner.post(f"{API}/messages", json=text)).status_code == 201
