"""Mails as they go over the wire, read as bytes."""

import re

from comms.providers.base import Channel
from comms.providers.mail_send import Headers
from comms.providers.outgoing import Outgoing
from comms.providers.smtp import composed
from models.base import new_id

LONG_IDS = (
    "0102018f3c5e2b3a-1234abcd-5678-90ef-1234-567890abcdef-000000@eu-west-1.amazonses.com",
    "DB9PR04MB8445F2A5E1B3C4D5E6F708192A3B4@DB9PR04MB8445.eurprd04.prod.outlook.com",
    f"{'x' * 480}@example.com",
)


def written(headers: Headers, sender: str = "support@acme.example", recipient: str = "jane@example.com") -> bytes:
    """A mail as it goes over the wire."""
    outgoing = Outgoing(id=new_id(), channel=Channel.EMAIL, sender=sender, recipient=recipient, content="Hello")
    return composed(outgoing, headers, []).as_bytes()


def lines_of(mail: bytes, name: str) -> str:
    """A header as its bytes have it, its lines put together again."""
    (found,) = re.findall(rb"^%s: ((?:.|\r\n[ \t])*)\r\n" % name.encode(), mail, re.MULTILINE)
    return bytes(found).replace(b"\r\n", b"").decode("ascii")
