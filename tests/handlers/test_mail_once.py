"""No mail is lost, and none stands twice in a conversation."""

import asyncio
import uuid
from typing import Any

import httpx
import msgspec

from comms.directory import Connection
from comms.media import Media
from comms.service import Service
from comms.simulators import sendgrid
from models.base import now
from tests.conftest import Client
from tests.handlers.webhooks import post, rows, url_of
from tests.make import communications as make
from tests.make.communications import OUR_MAIL
from tests.make.mail import JANE, mail

SALES = "sales@inbound.example.com"
MIB = 1024 * 1024


async def messages(admin: Any, workspace_id: uuid.UUID) -> list[dict[str, Any]]:
    return await rows(admin, "conversation_messages", workspace_id)


async def test_a_mail_to_two_of_our_addresses_stands_once_however_it_is_delivered(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID
) -> None:
    await make.mail_address(service, workspace_id, SALES)
    headers = {"Message-ID": "<both@example.com>", "To": f"{OUR_MAIL}, {SALES}"}
    requests = [mail(mailbox, to=to, headers=headers) for to in (OUR_MAIL, SALES)]
    answers = await asyncio.gather(*(post(anonymous, request) for request in requests * 5))
    assert {answer.status_code for answer in answers} == {200}
    (message,) = await messages(admin, workspace_id)
    receipts = await rows(admin, "webhook_receipts", workspace_id)
    assert [receipt["message_id"] for receipt in receipts] == [message["id"]] * 2


async def test_a_mail_to_two_workspaces_is_each_ones_own(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, stranger: Client
) -> None:
    theirs = await make.sendgrid_connection(service, stranger.workspace_id)
    await make.mail_address(service, stranger.workspace_id, SALES, connection_id=theirs.id)
    for connection in (mailbox, theirs):
        request = sendgrid.inbound(
            url_of(connection, "inbound"), connection.credentials, now(), sender=JANE, recipients=[OUR_MAIL, SALES],
            headers={"Message-ID": "<both@example.com>"},
        )  # fmt: skip
        assert (await post(anonymous, request)).status_code == 200
    for workspace_id, address in ((mailbox.workspace_id, OUR_MAIL), (stranger.workspace_id, SALES)):
        (message,) = await messages(admin, workspace_id)
        assert message["to_address"] == address


async def test_the_same_words_without_a_message_id_are_two_mails_unless_it_is_the_same_webhook(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    for count, date in enumerate(("Thu, 21 Nov 2024 09:00:00 +0000", "Thu, 21 Nov 2024 09:05:00 +0000", ""), start=1):
        request = mail(mailbox, text="Yes", headers={"Message-ID": "", "Date": date})
        for _ in range(2):
            assert (await post(anonymous, request)).status_code == 200
        assert len(await messages(admin, workspace_id)) == count


async def test_an_attachment_of_a_mail_we_took_is_kept_whatever_may_be_fetched_elsewhere(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, owner: Client
) -> None:
    assert (await post(anonymous, mail(mailbox, attachments=[("a.bin", "x/y", b"0" * 1000)]))).status_code == 200
    (item,) = (await owner.get("/api/v1/message-attachments")).json()["items"]
    little = msgspec.structs.replace(service.settings.media, max_bytes=999)
    await Media(service.database, service.directory, little).fetch(owner.workspace_id, uuid.UUID(item["id"]))
    stored = (await owner.get(f"/api/v1/message-attachments/{item['id']}")).json()
    assert (stored["state"], stored["size"]) == ("stored", 1000)


async def test_mail_that_nothing_could_prove_is_to_be_sent_again_and_comes_in_once_it_can(
    anonymous: httpx.AsyncClient, service: Service, owner: Client, admin: Any, workspace_id: uuid.UUID
) -> None:
    public, private = sendgrid.new_keys()
    event_public = sendgrid.new_keys()[0]
    connection = await make.connection(service, workspace_id, "sendgrid", {"eventPublicKey": event_public})
    await make.mail_address(service, workspace_id, connection_id=connection.id)
    known = msgspec.structs.replace(connection.credentials, parse_public_key=public, parse_private_key=private)
    request = mail(msgspec.structs.replace(connection, credentials=known))
    # A 4xx would lose it for good, and the key that is missing is ours to enter.
    assert (await post(anonymous, request)).status_code == 503
    assert await messages(admin, workspace_id) == []
    secret = {"eventPublicKey": event_public, "parsePublicKey": public}
    answer = await owner.patch(f"/api/v1/workspace-api-keys/{connection.id}", json={"secret": secret})
    assert answer.status_code == 200, answer.text
    await service.directory.load()
    assert (await post(anonymous, request)).status_code == 200
    assert len(await messages(admin, workspace_id)) == 1


async def test_a_recipient_with_a_nul_character_poisons_nothing(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    envelope = f'{{"to":["a\\u0000b@example.com","{OUR_MAIL}"],"from":"jane@example.com\\u0000"}}'
    assert (await post(anonymous, mail(mailbox, envelope=envelope))).status_code == 200
    assert len(await messages(admin, workspace_id)) == 1
    nobody = mail(mailbox, envelope='{"to":["a\\u0000b@example.com"],"from":""}', text="Other")
    assert (await post(anonymous, nobody)).status_code == 200
    states = {row["state"] for row in await rows(admin, "webhook_receipts", workspace_id)}
    assert states == {"processed", "unmapped"}


async def test_mail_of_thirty_five_megabytes_is_taken_and_of_more_is_not(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    request = mail(mailbox)
    room = 35 * MIB - len(mail(mailbox, attachments=[("a.bin", "x/y", b"")]).body)
    for size, status in ((room + 1024, 413), (room - 1024, 200)):
        request = mail(mailbox, attachments=[("a.bin", "x/y", b"0" * size)])
        assert (await post(anonymous, request)).status_code == status
    assert len(await messages(admin, workspace_id)) == 1


async def test_a_bounce_that_comes_late_moves_its_message_by_our_own_mark(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, workspace_id: uuid.UUID
) -> None:
    sent = await make.sent(service, workspace_id, "X1", provider="sendgrid", status="sent")
    event = sendgrid.event(
        "bounce", "jane@example.com", now(), type="bounce", status="5.1.1", comms_message_id=str(sent.id)
    )
    del event["sg_message_id"]  # as SendGrid leaves it out where the other side took the mail first
    request = sendgrid.events(url_of(mailbox, "events"), mailbox.credentials, [event], now())
    assert (await post(anonymous, request)).status_code == 204
    row = await admin.fetchrow("SELECT status, error_code, error_message FROM conversation_messages")
    assert tuple(row) == ("undelivered", "5.1.1", "There is no such mailbox.")
