"""``comms sink``: a mail server that takes everything and passes nothing on."""

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any

from comms.errors import CannotRun
from comms.settings import Settings
from comms.simulators.sent_mail import FOLDER, SentMail


def sink(settings: Settings, chosen: argparse.Namespace) -> int:
    """Mails have been taken until Ctrl-C: each was printed, and lies in a file."""
    try:
        from comms.simulators.mail_sink import opened
    except ImportError as error:
        raise CannotRun("the sink is for development, and needs aiosmtpd: pip install aiosmtpd") from error
    folder = chosen.folder or settings.data_dir / FOLDER
    return asyncio.run(_take(opened, SentMail(folder), chosen.host, chosen.port))


async def _take(opened: Any, kept: SentMail, host: str, port: int) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    try:
        server = await opened(kept, host, port, _say)
    except OSError as error:
        raise CannotRun(f"cannot listen on {host}:{port}: {error.strerror}") from error
    print(f"mail to {host}:{port} reaches nobody; it is kept in {kept.folder}. Stop it with Ctrl-C", flush=True)
    async with server:
        await stopping.wait()
    return 0


def _say(sender: str, recipient: str, subject: str, path: Path) -> None:
    print(f"from {sender} to {recipient}: {subject}\n  {path}", flush=True)
