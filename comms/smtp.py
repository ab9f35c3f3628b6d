"""Letters of our own, such as invitations; what people write to each other goes through their providers."""

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib

from comms.settings import SmtpSettings

TIMEOUT_SECONDS = 20


def letter(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    """A plain letter; whatever people have called things stays in its line."""
    message = EmailMessage()
    message["From"] = f"comms <{sender}>"
    message["To"] = recipient
    message["Subject"] = " ".join(subject.split())
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


async def send(settings: SmtpSettings, message: EmailMessage) -> None:
    """The mail server has taken the letter; raises ``aiosmtplib.SMTPException`` or ``OSError`` when it has not.

    Encrypted from the first byte with smtps://, by STARTTLS when the server offers it with smtp://.
    """
    parts = urlsplit(settings.url.plain)
    await aiosmtplib.send(
        message,
        hostname=parts.hostname,
        port=parts.port,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        use_tls=parts.scheme == "smtps",
        timeout=TIMEOUT_SECONDS,
    )
