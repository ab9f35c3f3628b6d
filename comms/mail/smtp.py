"""The one way in which mail is handed to a mail server: letters of our own, and what people write.

A workspace's server may be anywhere in the world, and nowhere in our own network, unless the operator has said so.
"""

import asyncio
import contextlib
import re
import socket
import uuid
from collections.abc import Collection
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib

from comms import outside
from comms.names import Lookup, look_up
from comms.outside import Outside
from comms.providers.outgoing import Busy, Refused, Unclear
from comms.providers.smtp import POLICY, SmtpCredentials, written
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
    """A plain letter of our own, such as an invitation; whatever people have called things stays in its line.

    ``Refused`` when one of the addresses cannot be written.
    """
    message = EmailMessage(policy=POLICY)
    message["From"] = f"comms <{written(sender)}>"
    message["To"] = written(recipient)
    message["Subject"] = " ".join(subject.split())
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=written(sender).rpartition("@")[2])
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


async def post(settings: SmtpSettings, message: EmailMessage, recipient: str) -> None:
    """The operator's own server has the letter; raises what ``Servers.hand_over`` does."""
    await Servers(None).hand_over(operators(settings), message, settings.sender, recipient)


class Servers:
    """Mail servers that others have named.

    ``hosts`` are those ``host:port`` that may be in a private network, None when it does not matter.
    """

    def __init__(self, hosts: Collection[str] | None, *, lookup: Lookup = look_up) -> None:
        self._hosts = hosts
        self._outside = Outside(lookup=lookup)

    async def hand_over(
        self,
        server: SmtpCredentials,
        message: EmailMessage,
        sender: str,
        recipient: str,
        whose: uuid.UUID | None = None,
    ) -> None:
        """The server, which the workspace ``whose`` has named, has the mail.

        Raises ``Refused``, ``Busy`` while nothing was sent, and ``Unclear`` when the server may have it.
        """
        from_, to, content = written(sender), written(recipient), message.as_bytes()
        client = await self._connected(server, whose)
        try:
            try:
                await client.mail(from_)
                await client.rcpt(to)
            except aiosmtplib.SMTPRecipientRefused as error:
                raise _nobody_there(error) or _said_no(error) from error
            except aiosmtplib.SMTPResponseException as error:
                raise _said_no(error) from error
            except (aiosmtplib.SMTPException, OSError) as error:
                raise Busy(f"{server.host} broke off before it had the mail ({type(error).__name__})") from error
            try:
                await client.data(content)
            except aiosmtplib.SMTPResponseException as error:
                raise _said_no(error) from error
            except (aiosmtplib.SMTPException, OSError) as error:
                raise Unclear(f"{server.host} broke off while it took the mail ({type(error).__name__})") from error
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
        finally:
            client.close()

    async def greet(self, server: SmtpCredentials, whose: uuid.UUID | None = None) -> None:
        """The server knows us by these credentials; raises ``Refused`` or ``Busy``."""
        client = await self._connected(server, whose)
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit()
        client.close()

    async def _connected(self, server: SmtpCredentials, whose: uuid.UUID | None) -> aiosmtplib.SMTP:
        sock = await self._socket(server, whose)
        # The socket is connected already, to an address that was looked at; the name is what its certificate proves.
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

    async def _socket(self, server: SmtpCredentials, whose: uuid.UUID | None) -> socket.socket:
        """A connection to one of the addresses behind the server's name."""
        may_be_private = self._hosts is None or f"{server.host.lower()}:{server.port}" in self._hosts
        try:
            found = await self._outside.addresses_at(
                server.host, server.port, may_be_private=may_be_private, whose=whose
            )
        except outside.Refused as error:
            raise Refused(None, f"{error}.", of_connection=True) from error
        except outside.Delayed as error:
            raise Busy(str(error)) from error
        for address in found:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(sock, (address, server.port))
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
