"""The one way in which mail is handed to a mail server: letters of our own, and what people write.

A workspace's server may be anywhere in the world, and nowhere in our own network, unless the operator has said so.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Collection
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib

from comms.outside import is_public
from comms.providers.outgoing import Busy, Refused, Unclear
from comms.providers.smtp import SmtpCredentials
from comms.settings import SmtpSettings

TIMEOUT_SECONDS = 15
LONGEST_WORDS = 300
_ENHANCED = re.compile(r"5\.\d{1,3}\.\d{1,3}(?=\s|$)")  # RFC 2034: it says what the three digits before it do not

NO_MAILBOX = "5.1.1"
_NOBODY = re.compile(
    r"\b(user|mailbox|address|recipient|account)\b.{0,40}\b(unknown|not found|does not exist|doesn't exist|not exist)\b"
    r"|\b(no such|unknown|invalid) (user|mailbox|recipient|address|local user)\b",
    re.IGNORECASE,
)


def letter(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    """A plain letter of our own, such as an invitation; whatever people have called things stays in its line."""
    message = EmailMessage()
    message["From"] = f"comms <{sender}>"
    message["To"] = recipient
    message["Subject"] = " ".join(subject.split())
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def operators(settings: SmtpSettings) -> SmtpCredentials:
    """The operator's own server: encrypted with smtps://, and by STARTTLS where it offers it with smtp://."""
    parts = urlsplit(settings.url.plain)
    is_tls = parts.scheme == "smtps"
    return SmtpCredentials(
        host=parts.hostname or "",
        port=parts.port or (465 if is_tls else 25),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        security="tls" if is_tls else "offered",
    )


async def hand_over(
    server: SmtpCredentials, message: EmailMessage, sender: str, recipient: str, *, hosts: Collection[str] | None
) -> None:
    """The server has the mail.

    ``hosts`` are those ``host:port`` that may be in a private network, None when it does not matter. Raises
    ``Refused``, ``Busy`` while nothing was sent, and ``Unclear`` when the server may have it.
    """
    client = await _connected(server, hosts)
    try:
        try:
            await client.mail(sender)
            await client.rcpt(recipient)
        except aiosmtplib.SMTPRecipientRefused as error:
            raise _nobody_there(error) or _said_no(error) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _said_no(error) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Busy(f"{server.host} broke off before it had the mail ({type(error).__name__})") from error
        try:
            await client.data(message.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            raise _said_no(error) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unclear(f"{server.host} broke off while it took the mail ({type(error).__name__})") from error
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit()
    finally:
        client.close()


async def greet(server: SmtpCredentials, *, hosts: Collection[str] | None) -> None:
    """The server knows us by these credentials; raises ``Refused`` or ``Busy``."""
    client = await _connected(server, hosts)
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit()
    client.close()


async def _connected(server: SmtpCredentials, hosts: Collection[str] | None) -> aiosmtplib.SMTP:
    sock = await _socket(server, hosts)
    # The socket is connected already, to an address that was looked at; the name is what its certificate has to prove.
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=None,
        sock=sock,
        username=server.username,
        password=server.password,
        use_tls=server.security == "tls",
        start_tls={"tls": False, "none": False, "starttls": True, "offered": None}[server.security],
        timeout=TIMEOUT_SECONDS,
    )
    try:
        await client.connect()
    except aiosmtplib.SMTPAuthenticationError as error:
        client.close()
        raise Refused(
            str(error.code), f"{server.host} does not accept these credentials.", of_connection=True
        ) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        client.close()
        sock.close()
        raise Busy(f"{server.host} does not let us in ({type(error).__name__})") from error
    return client


async def _socket(server: SmtpCredentials, hosts: Collection[str] | None) -> socket.socket:
    """A connection to one of the addresses behind the server's name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Busy(f"{server.host} was not found") from error
    may_be_private = hosts is None or f"{server.host.lower()}:{server.port}" in hosts
    if not may_be_private and not all(is_public(str(sockaddr[0])) for *_, sockaddr in found):
        raise Refused(None, f"{server.host} lies in a private network.", of_connection=True)
    for family, kind, protocol, _, sockaddr in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await loop.sock_connect(sock, sockaddr)
            return sock
        except OSError:  # a TimeoutError is one
            sock.close()
    raise Busy(f"{server.host} cannot be reached")


def _nobody_there(error: aiosmtplib.SMTPResponseException) -> Refused | None:
    """That the server knows no such mailbox, which some say in words alone; None when it says no for another reason."""
    words = " ".join(str(error.message).split())[:LONGEST_WORDS]
    if error.code < 500 or _ENHANCED.match(words) or not _NOBODY.search(words):
        return None
    return Refused(NO_MAILBOX, words)


def _said_no(error: aiosmtplib.SMTPResponseException) -> Refused | Busy:
    """What a server's answer other than yes means: 4xx passes, 5xx does not (RFC 5321, 4.2.1)."""
    words = " ".join(str(error.message).split())[:LONGEST_WORDS]
    if 400 <= error.code < 500:
        return Busy(f"{error.code} {words}")
    is_of_connection = error.code in (530, 534, 535)
    enhanced = _ENHANCED.match(words)
    code = enhanced[0] if enhanced and not is_of_connection else str(error.code)
    return Refused(code, words or "The mail server refused it.", of_connection=is_of_connection)
