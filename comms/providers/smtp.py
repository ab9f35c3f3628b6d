"""A mail server's credentials, and a mail as it wants one (RFC 5322)."""

from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Literal

from comms.providers.base import Secrets
from comms.providers.mail_send import Enclosed, Headers, threading_of
from comms.providers.outgoing import Outgoing

Security = Literal["tls", "starttls", "offered", "none"]
"""Encrypted from the first byte; by STARTTLS or not at all; by STARTTLS where the server offers it; never."""


class SmtpCredentials(Secrets, frozen=True):
    """Where a workspace's own mail server is, and how it knows us."""

    host: str
    port: int = 587
    username: str | None = None
    password: str | None = None
    security: Security = "starttls"


def composed(outgoing: Outgoing, headers: Headers, files: Sequence[Enclosed]) -> EmailMessage:
    """The whole mail: plain text, HTML beside it, files behind it."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(_line(headers.sender_name or ""), addr_spec=outgoing.sender)
    mail["To"] = Address(addr_spec=outgoing.recipient)
    mail["Subject"] = _line(headers.subject) or "(no subject)"
    mail["Date"] = formatdate(usegmt=True)
    if headers.reply_to:
        mail["Reply-To"] = Address(addr_spec=headers.reply_to)
    for name, value in threading_of(headers).items():
        mail[name] = value
    mail.set_content(headers.text or outgoing.content)
    if headers.html:
        mail.add_alternative(headers.html, subtype="html")
    for file in files:
        kind, _, subtype = file.content_type.partition("/")
        mail.add_attachment(
            file.content,
            maintype=kind or "application",
            subtype=subtype.partition(";")[0].strip() or "octet-stream",
            filename=_line(file.name),
        )
    return mail


def _line(text: str) -> str:
    """Whatever people have called things stays in its line."""
    return " ".join(text.split())
