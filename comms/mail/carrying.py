"""Mail on its way out: by SendGrid's API, or by a mail server.

Neither can be asked whether it has a mail. SendGrid's events tell, for they carry our id: they are waited for, and
where none comes nobody sends the mail again but a person.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from comms.consent.unsubscribing import Subscription, Unsubscribing
from comms.directory import Connection
from comms.mail.hearing import SUBJECT
from comms.mail.leaving import MOST_BYTES
from comms.mail.smtp import Servers
from comms.mail.tokens import Tokens
from comms.outbox.rest import Rest
from comms.providers import mail_send, smtp
from comms.providers.mail_send import Enclosed, Headers
from comms.providers.outgoing import Accepted, CannotAsk, Listed, Outgoing, Refused, Unclear
from models.base import now

Read = Callable[[str], Awaitable[AsyncIterator[bytes]]]
"""What the object store has under a key, in pieces."""

TELLS_WITHIN = timedelta(minutes=10)
"""SendGrid tells of a mail it has within seconds; its webhook is tried again when we were away."""


class Written(msgspec.Struct, frozen=True, rename="camel"):
    """What was settled of a mail when it was put in line: an ``Outgoing``'s ``mail``."""

    workspace_id: uuid.UUID
    conversation_id: uuid.UUID
    reply_address: str
    message_id: str
    subject: str = ""
    sender_name: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    is_automatic: bool = False
    is_bulk: bool = False
    html: str | None = None
    text: str | None = None


class _Carrier:
    """What both ways have in common: headers with a signed address for replies, and files from the store."""

    def __init__(self, tokens: Tokens, read: Read, unsubscribing: Unsubscribing) -> None:
        self._tokens = tokens
        self._read = read
        self._unsubscribing = unsubscribing

    def _headers(self, outgoing: Outgoing) -> Headers:
        try:
            written = msgspec.convert(dict(outgoing.mail), Written)
        except msgspec.ValidationError as error:
            raise Refused(None, "It was not put in line as a mail.") from error
        reply_to = self._tokens.address_for(written.reply_address, written.workspace_id, written.conversation_id)
        return Headers(
            message_id=written.message_id,
            subject=written.subject,
            sender_name=written.sender_name,
            reply_to=reply_to,
            in_reply_to=written.in_reply_to,
            references=written.references,
            is_automatic=written.is_automatic,
            html=written.html,
            text=written.text,
            unsubscribe=self._ways_out(outgoing, written, reply_to) if written.is_bulk else (),
        )

    def _ways_out(self, outgoing: Outgoing, written: Written, reply_to: str) -> tuple[str, str]:
        """Where who does not want such mails says so: with one click, and by a mail."""
        subscription = Subscription(written.workspace_id, outgoing.recipient, outgoing.sender)
        return self._unsubscribing.address_of(subscription), f"mailto:{quote(reply_to, safe='@+=')}?subject={SUBJECT}"

    async def _files(self, outgoing: Outgoing) -> list[Enclosed]:
        files, size = [], 0
        for number, item in enumerate(outgoing.media, 1):
            if item.key is None:
                raise Refused(None, "Mail carries files that are stored here, and no addresses of others.")
            content = bytearray()
            async for piece in await self._read(item.key):
                content += piece
                size += len(piece)
                if size > MOST_BYTES:
                    raise Refused(None, f"Its files are larger than {MOST_BYTES // 2**20} MB together.")
            content_type = item.content_type or "application/octet-stream"
            files.append(Enclosed(item.name or f"attachment-{number}", content_type, bytes(content)))
        return files


class ByApi(_Carrier):
    """Carries mail by SendGrid's API at ``base``."""

    def __init__(
        self,
        base: str,
        tokens: Tokens,
        read: Read,
        unsubscribing: Unsubscribing,
        *,
        tells_within: timedelta = TELLS_WITHIN,
    ) -> None:
        super().__init__(tokens, read, unsubscribing)
        self._base = base
        speaks: Any = mail_send
        self._rest = Rest(speaks, base)
        self._tells_within = tells_within

    async def send(self, outgoing: Outgoing, connection: Connection) -> Accepted:
        """SendGrid has the mail; raises ``Refused``, ``Busy`` or ``Unclear``."""
        files = await self._files(outgoing)
        call = mail_send.send(outgoing, self._headers(outgoing), files, connection.credentials, self._base)
        return mail_send.accepted(await self._rest.ask(call))

    async def find(self, outgoing: Outgoing, connection: Connection) -> Sequence[Listed]:
        """Nothing can be listed: ``Unclear`` while an event may still tell, then ``CannotAsk``."""
        if outgoing.attempted_at is not None and now() - outgoing.attempted_at < self._tells_within:
            raise Unclear("SendGrid cannot be asked: its events will tell whether it has the mail")
        raise CannotAsk(
            "It is not known whether SendGrid took it: none of its events has told. Look there before sending it again."
        )

    async def close(self) -> None:
        """No connection is open any more."""
        await self._rest.close()


class BySmtp(_Carrier):
    """Carries mail by each workspace's own mail server; ``hosts`` are those that may be in our network."""

    def __init__(self, hosts: Collection[str], tokens: Tokens, read: Read, unsubscribing: Unsubscribing) -> None:
        super().__init__(tokens, read, unsubscribing)
        self._servers = Servers(hosts)

    async def send(self, outgoing: Outgoing, connection: Connection) -> Accepted:
        """The mail server has the mail; raises ``Refused``, ``Busy`` or ``Unclear``."""
        headers = self._headers(outgoing)
        message = smtp.composed(outgoing, headers, await self._files(outgoing))
        await self._servers.hand_over(
            connection.credentials, message, outgoing.sender, outgoing.recipient, connection.workspace_id
        )
        return Accepted(headers.message_id, "sent")

    async def find(self, outgoing: Outgoing, connection: Connection) -> Sequence[Listed]:
        """Nothing can be asked."""
        raise CannotAsk("It is not known whether the mail server took it. Look there before sending it again.")

    async def close(self) -> None:
        """Each mail has a connection of its own."""
