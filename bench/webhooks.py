"""What the provider posts: whole HTTP requests, signed beforehand, each distinct.

The nth request of a run is known by its numbers alone, so whoever counts the rows afterwards needs no list.
"""

import hmac
import random
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5
from typing import Literal
from urllib.parse import parse_qsl, quote_plus

import msgspec

from comms.providers.base import Request
from comms.providers.twilio import TwilioCredentials
from comms.simulators import twilio

BLOCK = 1_000  # messages reported as sent, before the same are reported as delivered
NEWCOMERS = 50  # every 50th message is from somebody who never wrote before
STATUSES = ("sent", "delivered")
REPEATED = 50

_SID = "SM" + "0" * 32
_SENDER = "+19990000000"
_STATUS = "sending"
_BODY = "Hello, is the 3pm slot still open? We would be two, and one of us brings a dog. Thanks – Jane"


class Line(msgspec.Struct, frozen=True):
    """A connection as its provider knows it, and the contacts who text it."""

    public_url: str
    connection: str
    account: str
    token: str
    number: str
    first_phone: str
    contacts: int


class Batch(msgspec.Struct, frozen=True):
    """``count`` requests of a run: messages from many senders, or reports on messages sent before.

    They are spread over all ``lines``. ``is_mixed``: in an order drawn by lot, and every fiftieth is made twice.
    """

    lines: list[Line]
    kind: Literal["messages", "message-status"]
    run: str
    count: int
    is_mixed: bool = False


def sid(run: str, message: int) -> str:
    """The provider's id of the nth message of a run; PostgreSQL says the same as ``'SM' || md5(run || ':' || n)``."""
    return "SM" + md5(f"{run}:{message}".encode()).hexdigest()


def reported(index: int) -> tuple[int, str]:
    """The message and the status that the nth report is about."""
    block, place = divmod(index, BLOCK * len(STATUSES))
    status, message = divmod(place, BLOCK)
    return block * BLOCK + message, STATUSES[status]


def requests(batch: Batch) -> Iterator[bytes]:
    """The requests, as bytes to be written to a connection."""
    moulds = [_mould(line, batch.kind) for line in batch.lines]
    line = batch.lines[0]
    first = int(line.first_phone.removeprefix("+"))
    for index in _order(batch):
        if batch.kind == "message-status":
            message, status = reported(index)
            yield moulds[message % len(moulds)](sid(batch.run, message), line.first_phone, status)
            continue
        name = sid(batch.run, index)
        number = int(name[2:18], 16)
        known = index % NEWCOMERS != NEWCOMERS - 1
        sender = f"+{first + number // len(moulds) % line.contacts}" if known else f"+44{number % 10**10:010}"
        yield moulds[number % len(moulds)](name, sender, _STATUS)


def _order(batch: Batch) -> Iterable[int]:
    """Which of the requests comes when."""
    if not batch.is_mixed:
        return range(batch.count)
    order = [*range(batch.count), *range(0, batch.count, REPEATED)]
    random.Random(batch.run).shuffle(order)
    return order


def _mould(line: Line, kind: str) -> Callable[[str, str, str], bytes]:
    """A request of the simulator's with its id, sender and status exchanged and signed anew, in a tenth of the time."""
    made = _made(line, f"{line.public_url}/webhooks/twilio/{line.connection}/{kind}")
    body = made.body.decode()
    pairs = sorted(parse_qsl(body, keep_blank_values=True))
    signed = made.url + "".join(name + value for name, value in pairs)
    key = line.token.encode()
    if made.headers["x-twilio-signature"] != _signature(key, signed):
        raise RuntimeError("our signature is not the simulator's")
    path = made.url.removeprefix(line.public_url)
    host = line.public_url.rpartition("/")[2]
    sender = quote_plus(_SENDER)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
        f"Content-Type: {made.headers['content-type']}\r\nX-Twilio-Signature: %s\r\n"
        f"I-Twilio-Idempotency-Token: {made.headers['i-twilio-idempotency-token']}\r\nContent-Length: %d\r\n\r\n%s"
    )

    def sign(name: str, phone: str, status: str) -> bytes:
        text = signed.replace(_SID, name).replace(_SENDER, phone).replace(_STATUS, status)
        form = body.replace(_SID, name).replace(sender, quote_plus(phone)).replace(_STATUS, status)
        return (head % (_signature(key, text), len(form), form)).encode()

    return sign


def _made(line: Line, url: str) -> Request:
    credentials = TwilioCredentials(line.account, line.token)
    if url.endswith("/messages"):
        return twilio.message(url, credentials, sender=_SENDER, recipient=line.number, body=_BODY, sid=_SID)
    return twilio.report(url, credentials, sid=_SID, status=_STATUS, sender=line.number, recipient=line.first_phone)


def _signature(key: bytes, text: str) -> str:
    return b64encode(hmac.digest(key, text.encode(), "sha1")).decode()
