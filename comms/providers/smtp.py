"""A mail server's credentials, and a mail as it wants one (RFC 5322)."""

import re
from collections.abc import Sequence
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, Policy
from email.utils import formatdate
from typing import Any, Literal

from comms.providers.base import Secrets
from comms.providers.mail_send import Enclosed, Headers, threading_of
from comms.providers.outgoing import Outgoing, Refused

Security = Literal["tls", "starttls", "offered", "none"]
"""Encrypted from the first byte; by STARTTLS or not at all; by STARTTLS where the server offers it; never."""


class SmtpCredentials(Secrets, frozen=True):
    """Where a workspace's own mail server is, and how it knows us."""

    host: str
    port: int = 587
    username: str | None = None
    password: str | None = None
    security: Security = "starttls"


LONGEST_LINE = 998
"""RFC 5322, 2.1.1."""


class _Tokens(BaseHeader):
    """A header that programs read and compare: a line for each of its tokens, however long, and none of them encoded.

    ``SMTP`` makes encoded words of whatever does not fit into 78 characters; a line may have ``LONGEST_LINE``.
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
    """The whole mail: plain text, HTML beside it, files behind it; ``Refused`` when one of its addresses cannot be."""
    mail = EmailMessage(policy=POLICY)
    mail["From"] = Address(_line(headers.sender_name or ""), addr_spec=written(outgoing.sender))
    mail["To"] = written(outgoing.recipient)
    mail["Subject"] = _line(headers.subject) or "(no subject)"
    mail["Date"] = formatdate(usegmt=True)
    if headers.reply_to:
        mail["Reply-To"] = written(headers.reply_to)
    for name, value in threading_of(headers).items():
        mail[name] = value
    mail.set_content(headers.text or outgoing.content)
    if headers.html:
        mail.add_alternative(headers.html, subtype="html")
    for file in files:
        _enclose(mail, file)
    return mail


class _AsItIs(EmailMessage):
    """A part whose lines are written as they are; the library takes what is a ``message/…`` apart."""

    def get_content_maintype(self) -> str:
        """What the library writes line by line."""
        return "text"


def _enclose(mail: EmailMessage, file: Enclosed) -> None:
    """The file is behind the mail. One that is a mail, or a report on one, is not encoded (RFC 2046, 5.2.1)."""
    kind, _, rest = file.content_type.partition("/")
    subtype = rest.partition(";")[0].strip()
    if kind == "message" and subtype and _is_lines(file.content):
        part = _AsItIs(policy=POLICY)
        part["Content-Type"] = f"message/{subtype}"
        part["Content-Transfer-Encoding"] = "7bit" if file.content.isascii() else "8bit"
        part.add_header("Content-Disposition", "attachment", filename=_line(file.name))
        part.set_payload(file.content.decode("ascii", "surrogateescape"))
        mail.make_mixed()
        mail.attach(part)
    elif kind in ("message", "multipart"):
        mail.add_attachment(file.content, "application", "octet-stream", filename=_line(file.name))
    else:
        mail.add_attachment(file.content, kind or "application", subtype or "octet-stream", filename=_line(file.name))


def _is_lines(content: bytes) -> bool:
    return b"\0" not in content and all(len(line) <= LONGEST_LINE for line in content.splitlines())


_WORD = r"[\w!#$%&'*+/=?^`{|}~-]+"
_AS_IT_IS = re.compile(rf'{_WORD}(?:\.{_WORD})*|"(?:[^"\\]|\\.)*"', re.ASCII)
_DOMAIN = re.compile(r"[\w-]+(?:\.[\w-]+)*|\[[\w:.]+\]", re.ASCII)


def written(address: str) -> str:
    """The address as mail servers take it (RFC 5321, 4.1.2): an odd local part in quotes, its domain as DNS writes it.

    ``Refused`` when it cannot be written so. ``jane.@docomo.ne.jp`` has been given to people, and is odd.
    """
    local, _, domain = address.rpartition("@")
    if not local.isascii() or not local.isprintable():
        # It would need SMTPUTF8 (RFC 6531) of every server on the way.
        raise Refused(None, f"{address} was not written to: before the @ of an address there may only be ASCII here.")
    domain = _dns(domain.rstrip("."))
    if not local or not _DOMAIN.fullmatch(domain):
        raise Refused(None, f"{address} was not written to: what stands behind its @ cannot be a domain.")
    if _AS_IT_IS.fullmatch(local):
        return f"{local}@{domain}"
    quoted = re.sub(r'(["\\])', r"\\\1", local)
    return f'"{quoted}"@{domain}'


def _dns(domain: str) -> str:
    """The domain as DNS writes it; "" when it cannot, or only as another one (``faß.example`` as ``fass.example``)."""
    if domain.isascii():
        return domain
    try:
        named = domain.encode("idna")
        return named.decode("ascii") if named.decode("idna") == domain.lower() else ""
    except UnicodeError:
        return ""


def _line(text: str) -> str:
    """Whatever people have called things stays in its line."""
    return " ".join(text.split())
