"""Mail that comes in: where it goes, what is kept of it, and what never happens because of it."""

import asyncio
import uuid
from typing import Any

import httpx
import msgspec
import pytest

from comms.directory import Connection
from comms.mail.tokens import Tokens
from comms.search import following as search
from comms.service import Service
from comms.simulators import sendgrid
from models.base import now
from tests.comms.providers import golden
from tests.conftest import Client
from tests.handlers.webhooks import post, rows, url_of
from tests.make import communications as make
from tests.make.communications import OUR_MAIL
from tests.make.mail import mail

UNPROVEN = {"dkim": "none", "spf": "none"}


async def took(client: httpx.AsyncClient, admin: Any, request: Any) -> dict[str, Any]:
    """The newest message, once the mail is in."""
    answer = await post(client, request)
    assert answer.status_code == 200, answer.text
    found = await admin.fetchrow("SELECT * FROM conversation_messages ORDER BY id DESC LIMIT 1")
    return {} if found is None else dict(found)


async def kept(admin: Any, message: dict[str, Any]) -> dict[str, Any]:
    """What the message is as a mail."""
    return dict(await admin.fetchrow("SELECT * FROM mails WHERE message_id = $1", message["id"]))


async def told(admin: Any, workspace_id: uuid.UUID) -> list[str]:
    return [row["event"] for row in await rows(admin, "events", workspace_id)]


async def test_a_mail_is_a_message_of_its_sender_and_told(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    message = await took(anonymous, admin, mail(mailbox, subject="Booking", text="Hello", html="<p>Hello</p>"))
    (conversation,) = await rows(admin, "conversations", workspace_id)
    (contact,) = await rows(admin, "contacts", workspace_id)
    (receipt,) = await rows(admin, "webhook_receipts", workspace_id)
    assert (message["content"], message["direction"], message["from_address"]) == (
        "Hello",
        "inbound",
        "jane@example.com",
    )
    assert (message["to_address"], message["sender_contact_id"]) == (OUR_MAIL, contact["id"])
    assert (conversation["channel"], conversation["subject"], conversation["message_count"]) == ("email", "Booking", 1)
    assert (contact["email"], contact["first_name"]) == ("jane@example.com", "Jane Doe")
    row = await kept(admin, message)
    assert (row["html"], row["is_verified"], row["threaded_by"]) == ("<p>Hello</p>", True, "new")
    assert (receipt["state"], receipt["message_id"], receipt["body"]) == ("processed", message["id"], b"")
    assert await told(admin, workspace_id) == ["contact.created", "conversation.created", "message.received"]


async def test_a_mail_that_is_repeated_by_fifty_at_once_is_kept_once(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    # Half of them delimited anew, as a provider that builds its request again would.
    headers = {"Message-ID": "<once@example.com>"}
    requests = [mail(mailbox, headers=headers) for _ in range(2)]
    assert requests[0].body != requests[1].body
    answers = await asyncio.gather(*(post(anonymous, requests[number % 2]) for number in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    for table, count in (("conversation_messages", 1), ("mails", 1), ("contacts", 1), ("conversations", 1)):
        assert len(await rows(admin, table, workspace_id)) == count, table
    assert (await told(admin, workspace_id)).count("message.received") == 1
    # Somebody else's content under the same Message-ID is another mail, and swallows nothing.
    await took(anonymous, admin, mail(mailbox, headers=headers, text="Something else"))
    assert len(await rows(admin, "conversation_messages", workspace_id)) == 2


async def test_a_forged_mail_leaves_nothing(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID, service: Service
) -> None:
    request = mail(mailbox)
    for forged in (
        msgspec.structs.replace(request, body=request.body.replace(b"slot", b"spot")),
        msgspec.structs.replace(request, headers={"content-type": request.headers["content-type"]}),
    ):
        assert (await post(anonymous, forged)).status_code == 403
    for table in ("conversation_messages", "webhook_receipts", "mails"):
        assert await rows(admin, table, workspace_id) == []
    assert (await post(anonymous, request)).status_code == 200


async def test_mail_to_nobody_we_know_waits_and_mail_that_is_none_is_kept_as_it_came(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, owner: Client, service: Service
) -> None:
    unmapped = mail(mailbox, to="sales@inbound.example.com")
    nonsense = sendgrid._signed(
        url_of(mailbox, "inbound"),
        "multipart/form-data; boundary=x",
        b"no mail",
        mailbox.credentials.parse_private_key,
        now(),
    )
    for request in (unmapped, nonsense):
        assert (await post(anonymous, request)).status_code == 200
    receipts = {
        row["state"]: row
        for row in (await owner.get("/api/v1/webhook-receipts", params={"kind": "inbound"})).json()["items"]
    }
    assert "sales@inbound.example.com is not a mail address" in receipts["unmapped"]["reason"]
    assert receipts["unreadable"]["reason"] == "the form has no envelope"
    for state, request in (("unmapped", unmapped), ("unreadable", nonsense)):
        body = await owner.get(f"/api/v1/webhook-receipts/{receipts[state]['id']}/body")
        assert body.content == request.body
    answer = await owner.post(
        "/api/v1/workspace-mail-addresses",
        json={"address": "Sales@inbound.example.com", "connectionId": str(mailbox.id)},
    )
    assert answer.status_code == 201, answer.text
    replayed = (await owner.post(f"/api/v1/webhook-receipts/{receipts['unmapped']['id']}/replay")).json()
    assert replayed["state"] == "processed"
    message = (await owner.get(f"/api/v1/conversation-messages/{replayed['messageId']}")).json()
    assert message["content"] == "Is the 3pm slot still open?"
    again = (await owner.post(f"/api/v1/webhook-receipts/{receipts['unreadable']['id']}/replay")).json()
    assert again["state"] == "unreadable"


async def test_attachments_are_rows_at_once_and_files_after_and_keep_their_names(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, owner: Client, service: Service
) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
    files = [("Café ☕.png", "image/png", picture), ("../../etc/passwd", "text/plain", b"root")]
    message = await took(anonymous, admin, mail(mailbox, attachments=files))
    listed = (await owner.get("/api/v1/message-attachments", params={"messageId": str(message["id"])})).json()["items"]
    assert {item["state"] for item in listed} == {"pending"}
    for item in listed:
        await service.media.fetch(owner.workspace_id, uuid.UUID(item["id"]))
    by_name = {item["fileName"]: item for item in listed}
    assert set(by_name) == {"Café ☕.png", "passwd"}
    content = await owner.get(f"/api/v1/message-attachments/{by_name['Café ☕.png']['id']}/content")
    assert content.content == picture
    assert content.headers["content-type"] == "image/png"
    assert "filename*=UTF-8''Caf%C3%A9%20%E2%98%95.png" in content.headers["content-disposition"]


async def test_a_raw_mail_is_read_and_its_files_decoded(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, owner: Client, service: Service
) -> None:
    whole = (
        b"From: Jane <jane@example.com>\r\nSubject: Plan\r\nMessage-ID: <raw@example.com>\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n'
        b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe\r\n--b\r\nContent-Type: text/csv; name=plan.csv\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3D1;=\r\nb\r\n--b--\r\n"
    )
    url = url_of(mailbox, "inbound")
    request = sendgrid.inbound_raw(
        url, mailbox.credentials, now(), sender="Jane <jane@example.com>", recipients=[OUR_MAIL], mail=whole
    )
    message = await took(anonymous, admin, request)
    assert message["content"] == "Grüße"
    (item,) = (await owner.get("/api/v1/message-attachments", params={"messageId": str(message["id"])})).json()["items"]
    await service.media.fetch(owner.workspace_id, uuid.UUID(item["id"]))
    content = await owner.get(f"/api/v1/message-attachments/{item['id']}/content")
    assert (item["fileName"], content.content) == ("plan.csv", b"a=1;b")


# Threads


async def test_a_subject_alone_joins_nothing_of_anybody(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any
) -> None:
    jane = await took(anonymous, admin, mail(mailbox, subject="Booking"))
    bob = await took(anonymous, admin, mail(mailbox, sender="bob@example.org", subject="Re: Booking"))
    assert bob["conversation_id"] != jane["conversation_id"]
    again = await took(anonymous, admin, mail(mailbox, subject="Something quite different"))
    assert again["conversation_id"] == jane["conversation_id"]  # hers, by the one rule for all channels
    assert (await kept(admin, again))["threaded_by"] == "contact"


async def test_whoever_proves_nothing_enters_no_conversation_and_is_nobodys_contact(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    headers = {"Message-ID": "<first@example.com>"}
    jane = await took(anonymous, admin, mail(mailbox, headers=headers))
    spoofed = await took(
        anonymous, admin, mail(mailbox, headers={"In-Reply-To": "<first@example.com>"}, text="Wire money", **UNPROVEN)
    )
    assert spoofed["conversation_id"] != jane["conversation_id"]
    assert spoofed["sender_contact_id"] is None
    row = await kept(admin, spoofed)
    assert (row["is_verified"], row["threaded_by"]) == (False, "new")
    # Who goes on where they have begun stays there: it is no conversation of anybody we know.
    more = await took(
        anonymous,
        admin,
        mail(mailbox, headers={"References": f"<{row['rfc_message_id']}>"}, text="Please", **UNPROVEN),
    )
    assert more["conversation_id"] == spoofed["conversation_id"]
    assert len(await rows(admin, "contacts", workspace_id)) == 1


async def test_a_token_is_for_those_who_take_part_and_for_them_without_any_other_proof(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, service: Service, workspace_id: uuid.UUID
) -> None:
    jane = await took(anonymous, admin, mail(mailbox))
    tokens = Tokens(service.settings.security)
    to = tokens.address_for(OUR_MAIL, workspace_id, jane["conversation_id"])
    mine = await took(anonymous, admin, mail(mailbox, to=to, text="Mine", **UNPROVEN))
    assert mine["conversation_id"] == jane["conversation_id"]
    theirs = await took(anonymous, admin, mail(mailbox, sender="bob@example.org", to=to, text="Theirs"))
    assert theirs["conversation_id"] != jane["conversation_id"]
    row = await kept(admin, theirs)
    assert (row["sender_differs"], row["threaded_by"]) == (True, "new")
    # A token that we have not signed is no token.
    local, _, domain = to.rpartition("@")
    made_up = f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{domain}"
    forged = await took(anonymous, admin, mail(mailbox, sender="eve@example.net", to=made_up, text="Forged"))
    assert not (await kept(admin, forged))["sender_differs"]


async def test_a_token_of_another_workspace_is_none_here(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, service: Service, stranger: Client
) -> None:
    theirs = await make.conversation(service, stranger.workspace_id, channel="email")
    to = Tokens(service.settings.security).address_for(OUR_MAIL, stranger.workspace_id, theirs.id)
    message = await took(anonymous, admin, mail(mailbox, to=to))
    assert message["workspace_id"] == mailbox.workspace_id
    assert (await kept(admin, message))["threaded_by"] == "new"


async def test_a_closed_conversation_is_reopened_by_a_person_and_not_by_a_program(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    first = await took(anonymous, admin, mail(mailbox, headers={"Message-ID": "<a@example.com>"}))
    for headers, status in (
        ({"Auto-Submitted": "auto-replied", "In-Reply-To": "<a@example.com>"}, "closed"),
        ({"In-Reply-To": "<a@example.com>"}, "active"),
    ):
        await admin.execute("UPDATE conversations SET status = 'closed'")
        message = await took(anonymous, admin, mail(mailbox, headers=headers, text=status))
        assert message["conversation_id"] == first["conversation_id"]
        assert await admin.fetchval("SELECT status FROM conversations") == status
    assert (await told(admin, workspace_id)).count("conversation.reopened") == 1


async def test_a_bounce_is_nobodys_message_and_our_own_mail_that_comes_back_is_none(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    bounce = await took(
        anonymous,
        admin,
        mail(mailbox, sender="MAILER-DAEMON@example.com", envelope=f'{{"to":["{OUR_MAIL}"],"from":""}}'),
    )
    assert (bounce["sender_type"], bounce["sender_contact_id"]) == ("system", None)
    assert (await kept(admin, bounce))["automatic"] == "bounce"
    own = await took(anonymous, admin, mail(mailbox, sender=OUR_MAIL, text="A copy"))
    assert (await kept(admin, own))["automatic"] == "own"
    assert await rows(admin, "contacts", workspace_id) == []


async def test_spam_swallows_without_a_word(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    first = await took(anonymous, admin, mail(mailbox))
    await admin.execute("UPDATE conversations SET status = 'spam'")
    before = await told(admin, workspace_id)
    again = await took(anonymous, admin, mail(mailbox, text="Buy now"))
    assert again["conversation_id"] == first["conversation_id"]
    assert await told(admin, workspace_id) == before


async def test_a_mail_is_found_by_its_subject_its_text_and_a_stranger_by_name(
    anonymous: httpx.AsyncClient, mailbox: Connection, service: Service, admin: Any, owner: Client, stranger: Client
) -> None:
    await took(anonymous, admin, mail(mailbox, subject="Booking", text="The first"))
    bill = await took(anonymous, admin, mail(mailbox, subject="Überweisung offen", text="Please pay 4711"))
    other = await took(anonymous, admin, mail(mailbox, sender="Bob <bob@elsewhere.example>", text="Hi", **UNPROVEN))
    await search.keep_up(service.database, [owner.workspace_id])
    for q, message in (("uberweisung", bill), ("4711 offen", bill), ("bob elsewhere.example", other)):
        results = (await owner.get("/api/v1/search", params={"q": q, "types": "message"})).json()["items"]
        assert [result["id"] for result in results] == [str(message["id"])], q
        (found,) = (await owner.get("/api/v1/mails", params={"q": q})).json()["items"]
        assert found["messageId"] == str(message["id"])
        assert (await stranger.get("/api/v1/mails", params={"q": q})).json()["items"] == []
    results = (await owner.get("/api/v1/search", params={"q": "überweisung"})).json()["items"]
    assert results[0]["highlights"] == [{"field": "subject", "html": "<mark>Überweisung</mark> offen"}]


async def test_another_workspace_sees_no_mail(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, owner: Client, stranger: Client
) -> None:
    await took(anonymous, admin, mail(mailbox))
    assert len((await owner.get("/api/v1/mails")).json()["items"]) == 1
    for path in ("mails", "mail-events", "workspace-mail-addresses"):
        assert (await stranger.get(f"/api/v1/{path}")).json()["items"] == []


async def test_a_mail_address_leaves_by_what_carries_mail(owner: Client, service: Service) -> None:
    twilio = await make.connection(service, owner.workspace_id)
    body = {"address": "support@acme.example", "connectionId": str(twilio.id)}
    answer = await owner.post("/api/v1/workspace-mail-addresses", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"field": "connectionId", "reason": "is a connection to twilio, which carries no mail"}
    ]


@pytest.mark.parametrize("kind", [name for name in golden.names("sendgrid") if name.startswith("parse_")])
async def test_every_golden_mail_becomes_a_message(
    kind: str, service: Service, mailbox: Connection, admin: Any, workspace_id: uuid.UUID
) -> None:
    for address in (
        "support@inbound.hooks.example.com",
        "reply@inbound.hooks.example.com",
        "inbound@inbound.example.com",
        "inbound@inbound.inbound.com",
    ):
        await make.mail_address(service, workspace_id, address)
    expected = golden.fixture("sendgrid", kind)
    connection = msgspec.structs.replace(mailbox, credentials=golden.sendgrid_credentials(expected))
    request = golden.request(expected)

    async def content() -> Any:
        for place in range(0, len(request.body), 100):
            yield request.body[place : place + 100]

    head = msgspec.structs.replace(request, body=b"")
    for _ in range(2):
        received = await service.intake.take(connection, head, content(), golden.moment(expected))
        assert received.message_id is not None, received.reason
    (message,) = await rows(admin, "conversation_messages", workspace_id)
    is_somebody = kind not in ("parse_spoofed_sender", "parse_spf_dkim_none", "parse_null_sender_bounce")
    assert (message["sender_contact_id"] is not None) == is_somebody


async def test_of_a_deleted_mail_nothing_is_left_and_no_webhook_brings_it_back(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, owner: Client
) -> None:
    request = mail(mailbox)
    message = await took(anonymous, admin, request)
    assert (await owner.delete(f"/api/v1/conversation-messages/{message['id']}")).status_code == 204
    assert (await post(anonymous, request)).status_code == 200
    assert await rows(admin, "mails", mailbox.workspace_id) == []
    (left,) = await rows(admin, "conversation_messages", mailbox.workspace_id)
    assert (left["content"], left["conversation_id"]) == ("", None)


@pytest.mark.alters_the_schema
async def test_a_mail_whose_story_fails_is_kept_and_done_again(
    anonymous: httpx.AsyncClient, mailbox: Connection, admin: Any, owner: Client, service: Service
) -> None:
    await admin.execute("ALTER TABLE mails ADD CONSTRAINT broken CHECK (false) NOT VALID")
    assert (await post(anonymous, mail(mailbox, text="After all"))).status_code == 200
    (receipt,) = (await owner.get("/api/v1/webhook-receipts")).json()["items"]
    assert receipt["state"] == "failed"
    assert await rows(admin, "conversation_messages", mailbox.workspace_id) == []
    await admin.execute("ALTER TABLE mails DROP CONSTRAINT broken")
    replayed = await owner.post(f"/api/v1/webhook-receipts/{receipt['id']}/replay")
    assert replayed.json()["state"] == "processed", replayed.text
    (message,) = await rows(admin, "conversation_messages", mailbox.workspace_id)
    assert message["content"] == "After all"
