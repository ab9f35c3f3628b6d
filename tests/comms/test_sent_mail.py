"""Mail that leaves and reaches nobody, for whoever develops: what it was can be looked at."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

from comms.mail.smtp import Servers
from comms.providers.base import Channel
from comms.providers.mail_send import Enclosed, Headers, send
from comms.providers.outgoing import Outgoing
from comms.providers.sendgrid import SendGridCredentials
from comms.providers.smtp import SmtpCredentials, composed
from comms.simulators.mail_sink import opened
from comms.simulators.sent_mail import SentMail
from models.base import new_id

HEADERS = Headers(
    message_id="a@acme.example", subject="Grüße", sender_name="Acme, Inc.", reply_to="support+x@acme.example",
    in_reply_to="b@example.com", references=("b@example.com",), html="<p>Grüße</p>",
)  # fmt: skip
OUTGOING = Outgoing(
    id=new_id(), channel=Channel.EMAIL, sender="support@acme.example", recipient="jane@example.com", content="Grüße"
)
FILE = Enclosed("Plän.pdf", "application/pdf", b"%PDF-1.4")


def read(path: Path) -> EmailMessage:
    return cast(EmailMessage, message_from_bytes(path.read_bytes(), policy=default))


def look(mail: EmailMessage) -> dict[str, Any]:
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    names = ("From", "To", "Reply-To", "Subject", "Message-ID", "In-Reply-To", "References")
    return {
        **{name: mail[name] for name in names},
        "texts": [plain.get_content().strip(), html.get_content().strip()],
        "files": [(file.get_filename(), file.get_content()) for file in mail.iter_attachments()],
    }


SEEN = {
    "From": '"Acme, Inc." <support@acme.example>',
    "To": "jane@example.com",
    "Reply-To": "support+x@acme.example",
    "Subject": "Grüße",
    "Message-ID": "<a@acme.example>",
    "In-Reply-To": "<b@example.com>",
    "References": "<b@example.com>",
    "texts": ["Grüße", "<p>Grüße</p>"],
    "files": [("Plän.pdf", b"%PDF-1.4")],
}


def test_what_the_simulated_sendgrid_took_can_be_read_as_a_mail(tmp_path: Path) -> None:
    call = send(OUTGOING, HEADERS, [FILE], SendGridCredentials("key", api_key="SG.x"), None)
    path = SentMail(tmp_path / "sent").keep_document("jane@example.com", call.json)
    assert look(read(path)) == SEEN
    assert (path.stat().st_mode & 0o077, path.suffix) == (0, ".eml")


async def test_the_sink_takes_everything_says_so_and_keeps_it(tmp_path: Path) -> None:
    said: list[tuple[str, str, str, Path]] = []
    async with await opened(SentMail(tmp_path), "127.0.0.1", 0, lambda *mail: said.append(mail)) as server:
        server_address = server.sockets[0].getsockname()
        credentials = SmtpCredentials("127.0.0.1", server_address[1], security="none")
        for recipient in ("jane@example.com", "../../etc/passwd@example.com"):
            mail = composed(OUTGOING, HEADERS, [FILE])
            await Servers(None).hand_over(credentials, mail, "support@acme.example", recipient)
    assert [one[:3] for one in said] == [
        ("support@acme.example", "jane@example.com", "Grüße"),
        ("support@acme.example", "../../etc/passwd@example.com", "Grüße"),
    ]
    assert {one[3].parent for one in said} == {tmp_path}
    assert look(read(said[0][3])) == SEEN
