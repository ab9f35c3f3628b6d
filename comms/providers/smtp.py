"""A mail server's credentials, and a mail as it wants one (RFC 5322)."""

from collections.abc import Sequence
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, Policy
from email.utils import formatdate
from typing import Any, Literal

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


class _Tokens(BaseHeader):
    """A header that programs read and compare: a line for each of its tokens, however long, and none of them encoded.

    ``SMTP`` makes encoded words of whatever does not fit into 78 characters; a line may have 998 (RFC 5322, 2.1.1).
    """

    max_count = 1

    @classmethod
    def parse(cls, value: str, into: dict[str, Any]) -> None:
        """The value is what it is: ``into`` has what the standard library's headers are made of."""
        into.update(decoded=value, parse_tree=None)

    def fold(self, *, policy: Policy) -> str:
        """The header as it is written."""
        return f"{self.name}: " + f"{policy.linesep} ".join(self.split()) + policy.linesep


def _policy() -> "EmailPolicy[EmailMessage]":
    headers = HeaderRegistry()
    for name in ("Message-ID", "In-Reply-To", "References", "List-Unsubscribe"):
        headers.map_to_type(name, _Tokens)
    return SMTP.clone(header_factory=headers)


POLICY = _policy()
"""How mails are written: as RFC 5322 has it, and as the programs that get them understand it."""


def composed(outgoing: Outgoing, headers: Headers, files: Sequence[Enclosed]) -> EmailMessage:
    """The whole mail: plain text, HTML beside it, files behind it."""
    mail = EmailMessage(policy=POLICY)
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
