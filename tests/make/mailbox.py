"""A mailbox at a mail server that a test runs."""

import asyncio
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.smtp import Envelope


class Mailbox:
    """A mail server that keeps what it is given; ``refusals`` are answered first.

    Until its ``silence`` is over nobody learns that it has something; or it ``breaks_off`` instead.
    """

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.refusals = 0
        self.silence: asyncio.Event | None = None
        self.breaks_off = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusals:
            self.refusals -= 1
            return "451 try again later"
        assert isinstance(envelope.content, bytes)
        self.letters.append(BytesParser(EmailMessage, policy=default).parsebytes(envelope.content))
        if self.silence is not None:
            await self.silence.wait()
        if self.breaks_off:
            server.transport.abort()
        return "250 OK"
