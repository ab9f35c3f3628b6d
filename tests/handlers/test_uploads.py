"""A picture that somebody has on their computer is brought here, and leaves with a message."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators.wire import png
from tests.conftest import Client
from tests.handlers.test_sending import error_fields
from tests.make import communications as make
from tests.make.sending import CUSTOMER, NONE_WAITS, outside, until

API = "/api/v1"
PICTURE = png()
SOON = "2099-01-01T00:00:00Z"


async def uploaded(client: Client, content: bytes = PICTURE, name: str = "menu.png") -> dict[str, Any]:
    answer = await client.post(f"{API}/uploads", files={"file": (name, content, "image/png")})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def test_a_picture_from_somebodys_computer_leaves_with_a_text(
    owner: Client, service: Service, app: Any, line: Connection, admin: Any, anonymous: httpx.AsyncClient
) -> None:
    picture = await uploaded(owner)
    assert (picture["contentType"], picture["size"], picture["fileName"]) == ("image/png", len(PICTURE), "menu.png")
    said = {"to": CUSTOMER, "content": "Our menu", "attachmentIds": [picture["id"]]}
    message = await owner.post(f"{API}/messages", json=said)
    assert message.status_code == 201, message.text
    (attached,) = message.json()["attachments"]
    assert (attached["state"], attached["fileName"]) == ("stored", "menu.png")
    async with outside(service, app, line) as world, world.sending():
        await until(admin, NONE_WAITS)
    (taken,) = world.exchange.sent
    fetched = await anonymous.get(taken.media[0])
    assert (fetched.status_code, fetched.headers["content-type"], fetched.content) == (200, "image/png", PICTURE)


async def test_an_upload_is_listed_read_back_and_told_to_its_workspace_alone(
    owner: Client, viewer: Client, stranger: Client
) -> None:
    raw = await owner.post(f"{API}/uploads", params={"fileName": "Ünïcode.png"}, content=PICTURE)
    assert raw.status_code == 201, raw.text
    row = raw.json()
    assert (row["fileName"], row["sha256"]) == ("Ünïcode.png", hashlib.sha256(PICTURE).hexdigest())
    path = f"{API}/uploads/{row['id']}"
    assert (await viewer.get(path)).json() == row
    content = await viewer.get(f"{path}/content")
    assert (content.content, content.headers["content-type"]) == (PICTURE, "image/png")
    assert content.headers["content-disposition"].startswith("attachment")
    told = (await owner.get(f"{API}/events", params={"subjectId": row["id"]})).json()["items"]
    assert [event["event"] for event in told] == ["upload.created"]
    assert (await viewer.post(f"{API}/uploads", content=PICTURE)).status_code == 403
    for answer in (await stranger.get(path), await stranger.get(f"{path}/content"), await stranger.delete(path)):
        assert answer.status_code == 404


async def test_another_workspaces_upload_cannot_be_sent(owner: Client, stranger: Client, line: Connection) -> None:
    theirs = await uploaded(stranger)
    answer = await owner.post(f"{API}/messages", json={"to": CUSTOMER, "attachmentIds": [theirs["id"]]})
    assert await error_fields(answer) == (400, ["attachmentIds"])
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []


async def test_what_was_sent_keeps_its_file_when_the_upload_is_deleted(
    owner: Client, service: Service, line: Connection, admin: Any
) -> None:
    picture, unsent = await uploaded(owner), await uploaded(owner)
    said = await owner.post(f"{API}/messages", json={"to": CUSTOMER, "attachmentIds": [picture["id"]]})
    (attached,) = said.json()["attachments"]
    for row in (picture, unsent):
        assert (await owner.delete(f"{API}/uploads/{row['id']}")).status_code == 204
        await service.media.remove(f"{owner.workspace_id}/{row['id']}")  # as the job does
    kept = await owner.get(f"{API}/message-attachments/{attached['id']}/content")
    assert (kept.status_code, kept.content) == (200, PICTURE)
    with pytest.raises(Exception, match="not here"):
        await service.media.read(f"{owner.workspace_id}/{unsent['id']}")
    assert (await owner.get(f"{API}/uploads")).json()["items"] == []


async def test_an_upload_deleted_while_it_is_sent_is_sent_whole_or_not_at_all(
    owner: Client, service: Service, line: Connection
) -> None:
    for number in range(5):
        picture = await uploaded(owner)
        said, gone = await asyncio.gather(
            owner.post(f"{API}/messages", json={"to": f"+1415555017{number}", "attachmentIds": [picture["id"]]}),
            owner.delete(f"{API}/uploads/{picture['id']}"),
        )
        assert gone.status_code == 204
        await service.media.remove(f"{owner.workspace_id}/{picture['id']}")
        assert said.status_code in (201, 400), said.text
        if said.status_code == 201:
            (attached,) = said.json()["attachments"]
            assert (await owner.get(f"{API}/message-attachments/{attached['id']}/content")).status_code == 200


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"nonsense", {"content-type": "multipart/form-data; boundary=x"}),
        (
            b'--x\r\ncontent-disposition: form-data; name="other"\r\n\r\nhi\r\n--x--',
            {"content-type": "multipart/form-data; boundary=x"},
        ),
    ],
)
async def test_what_is_no_file_is_refused_by_name(owner: Client, body: bytes, headers: dict[str, str]) -> None:
    answer = await owner.post(f"{API}/uploads", content=body, headers=headers)
    assert await error_fields(answer) == (400, ["file"])


async def test_a_file_beyond_the_largest_is_413(owner: Client) -> None:
    async def much() -> AsyncIterator[bytes]:
        for _ in range(26):
            yield bytes(2**20)

    assert (await owner.post(f"{API}/uploads", content=much())).status_code == 413


async def test_what_a_provider_would_not_take_is_refused_before_anything_is_kept(
    owner: Client, service: Service, line: Connection
) -> None:
    large = await uploaded(owner, PICTURE + bytes(5_000_000))
    answer = await owner.post(f"{API}/messages", json={"to": CUSTOMER, "attachmentIds": [large["id"]]})
    assert await error_fields(answer) == (422, ["attachmentIds"])
    assert "5,000,000 bytes" in answer.text
    number = await make.number(service, owner.workspace_id, "+14155550101", "signalwire")
    await make.connection(service, owner.workspace_id, "signalwire")
    many = {"to": CUSTOMER, "phoneNumberId": str(number.id), "mediaUrls": ["https://example.com/a.png"] * 9}
    answer = await owner.post(f"{API}/messages", json=many)
    assert await error_fields(answer) == (400, ["mediaUrls"])
    assert (await owner.get(f"{API}/outgoing-messages")).json()["items"] == []
    assert (await owner.get(f"{API}/contacts")).json()["items"] == []
    assert uuid.UUID(large["id"])


async def test_the_words_of_a_scheduled_picture_may_be_changed_and_left_out(owner: Client, line: Connection) -> None:
    picture = await uploaded(owner)
    said = {"to": CUSTOMER, "content": "Our menu", "attachmentIds": [picture["id"]], "scheduledAt": SOON}
    message = (await owner.post(f"{API}/messages", json=said)).json()
    for content in ("x" * 500, ""):
        changed = await owner.patch(f"{API}/scheduled-messages/{message['id']}", json={"content": content})
        assert changed.status_code == 200, changed.text
        assert (changed.json()["content"], changed.json()["segments"]) == (content, 1)
