"""A mail server that takes everything, and passes nothing on."""

import asyncio
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

from comms.simulators.sent_mail import SentMail

MOST_BYTES = 40 * 1024 * 1024

Say = Callable[[str, str, str, Path], None]
"""Told of each mail: from whom, to whom, its subject, and its file."""


async def opened(kept: SentMail, host: str, port: int, say: Say) -> asyncio.Server:
    """The server listens; ``OSError`` when it cannot."""
    loop = asyncio.get_running_loop()
    handler = _Slot(kept, say)
    return await loop.create_server(
        lambda: SMTP(handler, loop=loop, hostname="sink", data_size_limit=MOST_BYTES, enable_SMTPUTF8=True), host, port
    )


class _Slot:
    def __init__(self, kept: SentMail, say: Say) -> None:
        self._kept = kept
        self._say = say

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.original_content or b""
        subject = str(message_from_bytes(content, policy=default).get("subject", ""))
        for recipient in envelope.rcpt_tos:
            path = await asyncio.to_thread(self._kept.keep, recipient, content)
            self._say(envelope.mail_from or "<>", recipient, subject, path)
        return "250 OK"
