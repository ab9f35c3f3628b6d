"""Mail by a workspace's own mail server: what it is given, and what its answers mean."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import httpx
import msgspec
import pytest
from aiosmtpd.smtp import SMTP, Envelope

from comms import checks, names
from comms.directory import Connection
from comms.mail import smtp
from comms.mail.smtp import Servers
from comms.providers.base import Channel
from comms.providers.mail_send import Enclosed, Headers
from comms.providers.outgoing import Busy, Outgoing, Refused, Unclear
from comms.providers.smtp import SmtpCredentials, composed
from comms.service import Service
from comms.settings import ProviderSettings, Settings
from models.base import new_id
from tests.conftest import Client
from tests.handlers.webhooks import post
from tests.make import communications as make
from tests.make.mail import mail, post_office
from tests.make.sending import NONE_WAITS, until
from tests.make.written_mail import LONG_IDS, lines_of, written


class Letterbox:
    """A mail server that keeps what it is given, or answers as it is told."""

    def __init__(self) -> None:
        self.port = 0
        self.letters: list[EmailMessage] = []
        self.contents: list[bytes] = []
        self.recipients: list[str] = []
        self.rcpt: list[str] = []
        self.data: list[str | None] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        self.recipients.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        answer = self.data.pop(0) if self.data else "250 OK"
        if answer is None:
            server.transport.abort()
            return "250 OK"
        assert isinstance(envelope.content, bytes)
        if answer.startswith("250"):
            self.contents.append(envelope.content)
            self.letters.append(cast(EmailMessage, message_from_bytes(envelope.content, policy=default)))
        return answer

    @property
    def credentials(self) -> SmtpCredentials:
        return SmtpCredentials("127.0.0.1", self.port, security="offered")

    @property
    def hosts(self) -> tuple[str, ...]:
        return (f"127.0.0.1:{self.port}",)


@pytest.fixture
async def letterbox() -> AsyncIterator[Letterbox]:
    loop = asyncio.get_running_loop()
    letterbox = Letterbox()
    server = await loop.create_server(lambda: SMTP(letterbox, loop=loop), "127.0.0.1", 0)
    letterbox.port = server.sockets[0].getsockname()[1]
    yield letterbox
    server.close()


@pytest.fixture
def settings(settings: Settings, letterbox: Letterbox) -> Settings:
    return msgspec.structs.replace(settings, providers=ProviderSettings(smtp_hosts=letterbox.hosts))


@pytest.fixture
async def acme(service: Service, workspace_id: uuid.UUID, letterbox: Letterbox) -> Connection:
    """The connection that mail comes in by; what leaves leaves by the letterbox."""
    secret = {"host": "127.0.0.1", "port": letterbox.port, "security": "none"}
    server = await make.connection(service, workspace_id, "smtp", secret)
    await make.mail_address(service, workspace_id, "support@acme.example", connection_id=server.id,
                            inbound_address="support@inbound.example.com")  # fmt: skip
    return await make.sendgrid_connection(service, workspace_id)


async def give(letterbox: Letterbox, hosts: Any = "own") -> None:
    message = EmailMessage()
    message.set_content("Hello")
    known = letterbox.hosts if hosts == "own" else hosts
    await Servers(known).hand_over(letterbox.credentials, message, "us@acme.example", "jane@example.com")


async def test_what_a_server_answers_is_refused_busy_or_unclear(letterbox: Letterbox) -> None:
    letterbox.rcpt = ["550 no such user", "450 greylisted"]
    with pytest.raises(Refused, match="no such user"):
        await give(letterbox)
    with pytest.raises(Busy, match="greylisted"):
        await give(letterbox)
    letterbox.data = ["554 spam", "452 full", None]
    with pytest.raises(Refused):
        await give(letterbox)
    with pytest.raises(Busy):
        await give(letterbox)
    with pytest.raises(Unclear):
        await give(letterbox)
    assert letterbox.letters == []
    await give(letterbox)
    assert len(letterbox.letters) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("550 5.1.1 <jane@example.com>: Recipient address rejected: User unknown", "5.1.1"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "5.1.10"),
        ("550 No such user here", "5.1.1"),
        ("553 sorry, mailbox jane does not exist", "5.1.1"),
        ("550 5.7.1 Relaying of mail to unknown user denied", "5.7.1"),
        ("554 5.2.2 mailbox full", "5.2.2"),
        ("550 blocked by our policy", "550"),
    ],
)
async def test_a_server_that_knows_no_such_mailbox_is_told_from_one_that_does_not_want_to(
    letterbox: Letterbox, answer: str, code: str
) -> None:
    letterbox.rcpt = [answer]
    with pytest.raises(Refused) as refused:
        await give(letterbox)
    assert (refused.value.code, refused.value.of_connection) == (code, False)


async def test_a_server_in_our_own_network_is_only_used_where_the_operator_says_so(letterbox: Letterbox) -> None:
    with pytest.raises(Refused, match="private network"):
        await give(letterbox, hosts=())
    here = Servers(letterbox.hosts), "smtp", letterbox.credentials, new_id()
    assert (await checks.ask(ProviderSettings(), *here)).ok
    asked = await checks.ask(ProviderSettings(), Servers(()), *here[1:])
    assert (asked.ok, asked.detail) == (False, "127.0.0.1 lies in a private network.")


async def test_nobody_there_is_busy_and_nothing_was_sent() -> None:
    nobody = SmtpCredentials("127.0.0.1", 1, security="none")
    with pytest.raises(Busy, match="cannot be reached"):
        await Servers(None).hand_over(nobody, EmailMessage(), "a@acme.example", "b@example.com")


async def test_the_name_of_a_server_is_looked_up_and_looked_at_like_any_that_others_have_named() -> None:
    go, mine, theirs = threading.Event(), new_id(), new_id()

    def lookup(host: str, port: int | None) -> Sequence[str]:
        if host.startswith("black"):
            go.wait(5)
        return ["8.8.8.8", "127.0.0.1"]

    servers = Servers((), lookup=lookup)
    waiting = [
        asyncio.ensure_future(servers.greet(SmtpCredentials(f"black{number}.example"), mine))
        for number in range(names.MOST_EACH)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="looked up"):
        await servers.greet(SmtpCredentials("mail.example"), mine)
    with pytest.raises(Refused, match="private network"):
        await servers.greet(SmtpCredentials("mail.example"), theirs)
    go.set()
    assert all(isinstance(one, Refused) for one in await asyncio.gather(*waiting, return_exceptions=True))


async def test_an_answer_by_smtp_has_its_thread_its_files_and_both_texts(
    anonymous: httpx.AsyncClient,
    service: Service,
    app: Any,
    workspace_id: uuid.UUID,
    letterbox: Letterbox,
    admin: Any,
) -> None:
    line = await make.sendgrid_connection(service, workspace_id)
    secret = {"host": "127.0.0.1", "port": letterbox.port, "security": "offered"}
    server: Connection = await make.connection(service, workspace_id, "smtp", secret)
    await make.mail_address(service, workspace_id, "support@acme.example", connection_id=server.id,
                            inbound_address="support@inbound.example.com")  # fmt: skip
    files = [("Plän.pdf", "application/pdf", b"%PDF-1.4 plan")]
    assert (
        await post(anonymous, mail(line, attachments=files, headers={"Message-ID": "<a@example.com>"}))
    ).status_code == 200
    attachment = await admin.fetchval("SELECT id FROM message_attachments")
    await service.media.fetch(workspace_id, attachment)
    conversation_id = await admin.fetchval("SELECT id FROM conversations")
    async with post_office(service, app, line) as office, office.sending():
        view = await office.say(conversation_id, "Grüße\nAcme", attachment_ids=[attachment])
        await until(admin, NONE_WAITS)
    row = await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", view.id)
    assert (row["status"], row["error_message"]) == ("sent", None)
    (letter,) = letterbox.letters
    assert (letter["From"], letter["To"]) == ("Acme <support@acme.example>", "jane@example.com")
    assert (letter["In-Reply-To"], letter["References"]) == ("<a@example.com>", "<a@example.com>")
    assert letter["Message-ID"] == f"<{view.id}@acme.example>"
    assert letter["Reply-To"].startswith("support+")
    assert letter["Reply-To"].endswith("@inbound.example.com")
    plain, html = letter.get_body(("plain",)), letter.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().split() == ["Grüße", "Acme"]
    assert "Grüße<br>" in html.get_content()
    (file,) = letter.iter_attachments()
    assert (file.get_filename(), file.get_content()) == ("Plän.pdf", b"%PDF-1.4 plan")


@pytest.mark.parametrize(
    ("to", "written_as"),
    [
        ("jane.@docomo.ne.jp", '"jane."@docomo.ne.jp'),
        ("ja..ne@docomo.ne.jp", '"ja..ne"@docomo.ne.jp'),
        ("jane[1]@example.com", '"jane[1]"@example.com'),
        ("jane+o'neil@example.com", "jane+o'neil@example.com"),
        ("jane@exämple.com", "jane@xn--exmple-cua.com"),
        ("jane@[127.0.0.1]", "jane@[127.0.0.1]"),
    ],
)
async def test_an_odd_address_is_written_to_as_servers_take_it(
    owner: Client, service: Service, app: Any, acme: Connection, letterbox: Letterbox, admin: Any, to: str,
    written_as: str,
) -> None:  # fmt: skip
    async with post_office(service, app, acme) as office, office.sending():
        sent = await owner.post("/api/v1/messages", json={"to": to, "channel": "email", "content": "Hello"})
        assert sent.status_code == 201, sent.text
        await until(admin, NONE_WAITS)
    row = await admin.fetchrow("SELECT * FROM conversation_messages WHERE direction = 'outbound'")
    assert (row["status"], row["error_message"]) == ("sent", None)
    assert lines_of(written(Headers(message_id="m@acme.example"), recipient=to), "To") == written_as
    assert letterbox.recipients == [written_as] or letterbox.recipients == [
        to
    ]  # what reads it may take the quotes away
    (letter,) = letterbox.letters
    assert letter["To"].addresses[0].domain == written_as.rpartition("@")[2]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("müller@example.com", "before the @"),
        ("jane@example..com", "behind its @"),
    ],
)
async def test_an_address_that_cannot_be_written_is_refused_before_anything_is_queued(
    owner: Client, service: Service, app: Any, acme: Connection, admin: Any, to: str, why: str
) -> None:
    async with post_office(service, app, acme):
        sent = await owner.post("/api/v1/messages", json={"to": to, "channel": "email", "content": "Hello"})
    assert sent.status_code == 422, sent.text
    assert f"{to} was not written to: " in sent.text
    assert why in sent.text
    assert await admin.fetchval("SELECT count(*) FROM conversation_messages WHERE direction = 'outbound'") == 0
    assert await admin.fetchval("SELECT count(*) FROM outgoing_messages") == 0


async def test_a_letter_of_our_own_is_refused_or_goes_out_like_any(letterbox: Letterbox) -> None:
    for to, header in (("jane.@docomo.ne.jp", '"jane."@docomo.ne.jp'), ("jane@exämple.com", "jane@xn--exmple-cua.com")):
        ours = smtp.letter("comms@acmé.example", to, "Hello", "Hello")
        await Servers(None).hand_over(letterbox.credentials, ours, "comms@acmé.example", to)
        assert lines_of(ours.as_bytes(), "To") == header
        assert lines_of(ours.as_bytes(), "From") == "comms <comms@xn--acm-dma.example>"
        assert lines_of(ours.as_bytes(), "Message-ID").endswith("@xn--acm-dma.example>")
    assert [to.rpartition("@")[2] for to in letterbox.recipients] == ["docomo.ne.jp", "xn--exmple-cua.com"]
    with pytest.raises(Refused, match=r"müller@example\.com was not written to"):
        smtp.letter("comms@acme.example", "müller@example.com", "Hello", "Hello")


A_MAIL = (
    "Received: from mx.example by mx.example.org with a line that is longer than what the library likes to leave as it"
    f" is\r\nMessage-ID: <{LONG_IDS[0]}>\r\nSubject: Grüße\r\n"
    'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nGrüße\r\n.\r\n.x\r\n--b--\r\n'
).encode()
A_REPORT = (
    b"Reporting-MTA: dns; mx.example.net\r\n\r\nFinal-Recipient: rfc822; jane@example.com\r\n"
    b"Action: failed\r\nStatus: 5.1.1\r\n"
)


@pytest.mark.parametrize(
    ("name", "content_type", "content", "shown"),
    [
        ("Grüße.eml", "message/rfc822", A_MAIL, A_MAIL),
        ("old.eml", "message/rfc822", b"Subject: Hi\n\nHello\n", b"Subject: Hi\r\n\r\nHello\r\n"),
        ("details.txt", "message/delivery-status", A_REPORT, A_REPORT),
        ("seen.txt", "message/disposition-notification", A_REPORT, A_REPORT),
    ],
    ids=["mail", "old mail", "report", "receipt"],
)
async def test_a_mail_or_a_report_that_is_attached_arrives_as_it_is(
    letterbox: Letterbox, name: str, content_type: str, content: bytes, shown: bytes
) -> None:
    outgoing = Outgoing(id=new_id(), channel=Channel.EMAIL, sender="us@acme.example", recipient="jane@example.com")
    headers = Headers(message_id="m@acme.example", text="See below", html="<p>See below</p>")
    mail = composed(outgoing, headers, [Enclosed(name, content_type, content), Enclosed("a.png", "image/png", b"x")])
    await Servers(None).hand_over(letterbox.credentials, mail, "us@acme.example", "jane@example.com")
    (letter,) = letterbox.letters
    part, picture = letter.iter_attachments()
    assert (part.get_content_type(), part.get_filename()) == (content_type, name)
    assert part["Content-Transfer-Encoding"] in ("7bit", "8bit")
    (raw,) = letterbox.contents
    assert shown.strip() in raw
    assert picture.get_content() == b"x"
    if content_type == "message/rfc822":
        assert str(part.get_content()["Subject"]) in ("Grüße", "Gr\ufffd\ufffd\ufffd\ufffde", "Hi")


@pytest.mark.parametrize("content", [b"Subject: \0\r\n\r\n", b"Hi: x\r\n\r\n" + b"x" * 999], ids=["NUL", "long"])
async def test_an_attached_mail_that_no_line_can_carry_arrives_as_a_file(letterbox: Letterbox, content: bytes) -> None:
    outgoing = Outgoing(id=new_id(), channel=Channel.EMAIL, sender="us@acme.example", recipient="jane@example.com")
    mail = composed(outgoing, Headers(message_id="m@acme.example"), [Enclosed("a.eml", "message/rfc822", content)])
    await Servers(None).hand_over(letterbox.credentials, mail, "us@acme.example", "jane@example.com")
    (part,) = letterbox.letters[0].iter_attachments()
    assert (part.get_content_type(), part.get_filename()) == ("application/octet-stream", "a.eml")
    assert part.get_content() == content


async def test_a_lost_answer_of_a_server_is_not_tried_again(
    anonymous: httpx.AsyncClient, service: Service, app: Any, workspace_id: uuid.UUID, letterbox: Letterbox, admin: Any
) -> None:
    line = await make.sendgrid_connection(service, workspace_id)
    secret = {"host": "127.0.0.1", "port": letterbox.port, "security": "none"}
    server = await make.connection(service, workspace_id, "smtp", secret)
    await make.mail_address(service, workspace_id, connection_id=server.id)
    assert (await post(anonymous, mail(line))).status_code == 200
    conversation_id = await admin.fetchval("SELECT id FROM conversations")
    letterbox.data = [None]
    async with post_office(service, app, line) as office, office.sending():
        view = await office.say(conversation_id, "Once")
        await until(admin, NONE_WAITS)
    row = await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", view.id)
    assert (row["status"], row["error_code"]) == ("failed", "unclear")
    assert letterbox.letters == []
