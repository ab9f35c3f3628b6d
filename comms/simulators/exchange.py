"""A provider's message exchange, Twilio's or SignalWire's: takes messages over REST, lists them, reports on them.

It checks who asks, refuses as the real ones refuse, may be told to fail in every way that a network can, and posts its
reports signed: late, twice, or out of order, if it is told to. Twilio's magic numbers are refused as Twilio documents
them; https://www.twilio.com/docs/iam/test-credentials
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

import msgspec

from comms.providers.base import Channel, Request
from comms.providers.segments import measure
from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.simulators import signalwire, twilio, wire
from comms.simulators.numbers import Number
from comms.simulators.server import Asked, Reply, Route, basic, is_proven

Post = Callable[[Request], Awaitable[int]]
"""Posts a webhook, and says how it was answered."""

Fault = Literal["busy", "failing", "lost", "broken", "overloaded", "never"]
"""What may go wrong with a create. ``busy``: 429, not taken. ``failing``: 500, not taken. ``lost``: taken, and the
answer never comes. ``broken``: taken, and the connection breaks in the answer. ``overloaded``: 503, and taken all the
same. ``never``: not taken, and no answer comes.
"""
TAKEN = ("lost", "broken", "overloaded")

MAGIC = {
    "+15005550001": (21211, "Invalid 'To' Phone Number"),
    "+15005550002": (21612, "The 'To' phone number is not currently reachable via SMS"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}
UNDELIVERABLE = {"+15005550013": 30003, "+15005550015": 30005, "+15005550016": 30006, "+15005550017": 30007}
"""Numbers whose messages are taken, and then not delivered for this reason. Ours, in Twilio's manner."""


class Taken(msgspec.Struct):
    """A message that the exchange has, as its own log shows it; ``overrides`` are how its callback is to be tried."""

    sid: str
    sender: str
    recipient: str
    body: str
    at: datetime
    direction: str = "outbound-api"
    status: str = "queued"
    media: tuple[str, ...] = ()
    callback: str | None = None
    error_code: int | None = None
    service: str | None = None
    overrides: str = ""


class Reporting(msgspec.Struct):
    """How the exchange tells what became of a message; ``seconds`` is how long each step takes."""

    statuses: Sequence[str] = ("sent", "delivered")
    seconds: float = 0.3
    doubled: bool = False
    shuffled: bool = False
    before_answer: bool = False


class Exchange:
    """One account at a provider of texts; ``post`` carries its reports, None sends none.

    ``taken`` are the messages it has, oldest first; ``faults`` what happens to the next creates, one each (None:
    nothing), and ``share_of_faults`` of all others. ``opted_out`` are pairs of recipient and sender.
    """

    def __init__(
        self,
        credentials: TwilioCredentials | SignalWireCredentials,
        *,
        numbers: Sequence[str] = (),
        post: Post | None = None,
        reporting: Reporting | None = None,
        seed: int = 1,
    ) -> None:
        self.credentials = credentials
        self.is_twilio = isinstance(credentials, TwilioCredentials)
        self.numbers = {number: Number(self._id("PN"), number) for number in numbers}
        self.post = post
        self.reporting = reporting or Reporting()
        self.taken: list[Taken] = []
        self.faults: deque[Fault | None] = deque()
        self.share_of_faults: dict[Fault, float] = {}
        self.opted_out: set[tuple[str, str]] = set()
        self.retry_after = 1
        self.alters: Callable[[str], str] = str  # what becomes of a body, as a trial account puts words before it
        self.creates = 0
        self._chance = random.Random(seed)
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def account(self) -> str:
        """The account's id."""
        known = self.credentials
        return known.account_sid if isinstance(known, TwilioCredentials) else known.project_id

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        root = "/2010-04-01/Accounts/{account}" if self.is_twilio else "/api/laml/2010-04-01/Accounts/{account}"
        messages, numbers = f"{root}/Messages", f"{root}/IncomingPhoneNumbers"
        return [
            Route("POST", f"{messages}.json", self._guarded(self._create)),
            Route("POST", messages, self._guarded(self._create)),
            Route("GET", f"{messages}.json", self._guarded(self._list)),
            Route("GET", messages, self._guarded(self._list)),
            Route("GET", f"{messages}/{{sid}}.json", self._guarded(self._fetch)),
            Route("GET", f"{numbers}.json", self._guarded(self._list_numbers)),
            Route("GET", f"{numbers}/{{sid}}.json", self._guarded(self._fetch_number)),
            Route("POST", f"{numbers}/{{sid}}.json", self._guarded(self._change_number)),
        ]

    def receive(self, sender: str, recipient: str, body: str, *, sid: str | None = None) -> Taken:
        """Somebody has texted a number of ours: the exchange's log shows it, whether a webhook told of it or not."""
        taken = Taken(
            sid or self._id("SM"), sender, recipient, body, datetime.now(UTC), direction="inbound", status="received"
        )
        self.taken.append(taken)
        return taken

    @property
    def sent(self) -> list[Taken]:
        """The messages we gave it, in the order it took them."""
        return [taken for taken in self.taken if taken.direction != "inbound"]

    async def reported(self) -> None:
        """All reports under way have been posted."""
        while self._reports:
            await asyncio.wait(set(self._reports))

    def _id(self, prefix: str) -> str:
        return wire.sid(prefix) if self.is_twilio else wire.uuid()

    def _guarded(
        self, answers: Callable[[Asked], Awaitable[Reply | None]]
    ) -> Callable[[Asked], Awaitable[Reply | None]]:
        async def guarded(asked: Asked) -> Reply | None:
            if asked.named["account"] != self.account or not is_proven(asked, *self._proofs()):
                return _error(401, 20003, "Authenticate")
            return await answers(asked)

        return guarded

    def _proofs(self) -> list[str]:
        known = self.credentials
        if isinstance(known, SignalWireCredentials):
            return [basic(known.project_id, known.api_token)] if known.api_token else []
        proofs = [basic(known.account_sid, known.auth_token)]
        if known.api_key_sid and known.api_key_secret:
            proofs.append(basic(known.api_key_sid, known.api_key_secret))
        return proofs

    async def _create(self, asked: Asked) -> Reply | None:
        self.creates += 1
        fault = self._fault()
        if fault == "busy":
            return _error(429, 20429, "Too Many Requests", retry_after=str(self.retry_after))
        if fault == "failing":
            return _error(500, 20500, "Internal Server Error")
        if fault == "never":
            return None
        refused = self._refusal(asked)
        if refused is not None:
            return refused
        taken = self._take(asked)
        document = self._document(taken)
        if taken.callback is not None and self.post is not None:
            telling = asyncio.create_task(self._report(taken))
            self._reports.add(telling)
            telling.add_done_callback(self._reports.discard)
            if self.reporting.before_answer:
                await asyncio.wait([telling])
        match fault:
            case "lost":
                return None
            case "overloaded":
                return _error(503, 20503, "Service Unavailable")
            case "broken":
                return Reply(201, document, broken=True)
        return Reply(201, document)

    def _fault(self) -> Fault | None:
        if self.faults:
            return self.faults.popleft()
        for fault, share in self.share_of_faults.items():
            if self._chance.random() < share:
                return fault
        return None

    def _refusal(self, asked: Asked) -> Reply | None:
        sender, recipient = asked.form.get("From", ""), asked.form.get("To", "")
        media = [value for name, value in asked.pairs if name == "MediaUrl"]
        if not recipient:
            return _error(400, 21604, "A 'To' phone number is required.")
        if not asked.form.get("Body") and not media:
            return _error(400, 21602, "Message body is required.")
        if len(asked.form.get("Body", "")) > 1600:
            return _error(400, 21617, "The concatenated message body exceeds the 1600 character limit")
        if len(media) > 10:
            return _error(400, 21623, "Number of media files exceeds allowed limit")
        if self.numbers and sender.partition(":")[2 if ":" in sender else 0] not in self.numbers:
            return _error(400, 21606, f"The 'From' phone number {sender} is not a valid, SMS-capable number")
        if recipient in MAGIC:
            return _error(400, *MAGIC[recipient])
        if (recipient, sender) in self.opted_out:
            return _error(400, *MAGIC["+15005550004"])
        return None

    def _take(self, asked: Asked) -> Taken:
        media = tuple(value for name, value in asked.pairs if name == "MediaUrl")
        callback, _, overrides = asked.form.get("StatusCallback", "").partition("#")
        taken = Taken(
            sid=self._id("MM" if media else "SM"),
            sender=asked.form.get("From", ""),
            recipient=asked.form["To"],
            body=self.alters(asked.form.get("Body", "")),
            at=datetime.now(UTC),
            media=media,
            callback=callback or None,
            overrides=overrides,
        )
        self.taken.append(taken)
        return taken

    async def _list(self, asked: Asked) -> Reply:
        query = asked.query
        rows = [
            taken
            for taken in reversed(self.taken)
            if query.get("To", taken.recipient) == taken.recipient
            and query.get("From", taken.sender) == taken.sender
            and _is_dated(taken, query)
        ]
        size, page = int(query.get("PageSize", "50")), int(query.get("Page", "0"))
        shown = rows[page * size : (page + 1) * size]
        following = None
        if len(rows) > (page + 1) * size:
            following = wire.with_query(asked.path, {**query, "PageSize": str(size), "Page": str(page + 1)})
        return Reply(
            200,
            {
                "messages": [self._document(taken) for taken in shown],
                "page": page,
                "page_size": size,
                "next_page_uri": following,
            },
        )

    async def _fetch(self, asked: Asked) -> Reply:
        found = next((taken for taken in self.taken if taken.sid == asked.named["sid"]), None)
        return _missing(asked) if found is None else Reply(200, self._document(found))

    async def _list_numbers(self, asked: Asked) -> Reply:
        wanted = asked.query.get("PhoneNumber")
        rows = [number.shown for number in self.numbers.values() if wanted in (None, number.phone_number)]
        return Reply(200, {"incoming_phone_numbers": rows, "next_page_uri": None})

    async def _fetch_number(self, asked: Asked) -> Reply:
        found = self._number(asked)
        return _missing(asked) if found is None else Reply(200, found.shown)

    async def _change_number(self, asked: Asked) -> Reply:
        found = self._number(asked)
        if found is None:
            return _missing(asked)
        for name, value in asked.form.items():
            field = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
            if field in Number.__struct_fields__ and field not in ("sid", "phone_number"):
                setattr(found, field, value)
        return Reply(200, found.shown)

    def _number(self, asked: Asked) -> Number | None:
        return next((number for number in self.numbers.values() if number.sid == asked.named["sid"]), None)

    def _document(self, taken: Taken) -> dict[str, Any]:
        return {
            "sid": taken.sid,
            "account_sid": self.account,
            "from": taken.sender,
            "to": taken.recipient,
            "body": taken.body,
            "status": taken.status,
            "direction": taken.direction,
            "num_segments": str(measure(taken.body).segments),
            "num_media": str(len(taken.media)),
            "date_created": format_datetime(taken.at),
            "date_updated": format_datetime(taken.at),
            "date_sent": format_datetime(taken.at),
            "error_code": taken.error_code,
            "error_message": None,
            "messaging_service_sid": taken.service,
            "uri": f"/2010-04-01/Accounts/{self.account}/Messages/{taken.sid}.json",
        }

    async def _report(self, taken: Taken) -> None:
        """What becomes of the message is told to its callback address, a step at a time."""
        assert self.post is not None
        statuses = list(self.reporting.statuses)
        code = UNDELIVERABLE.get(taken.recipient)
        if code is not None:
            statuses = ["sent", "undelivered"]
        if self.reporting.doubled:
            statuses = [status for status in statuses for _ in range(2)]
        if self.reporting.shuffled:
            self._chance.shuffle(statuses)
        for status in statuses:
            await asyncio.sleep(self.reporting.seconds)
            taken.status = status
            taken.error_code = code if status == "undelivered" else None
            await self._tell(taken, status)

    async def _tell(self, taken: Taken, status: str) -> None:
        assert self.post is not None
        assert taken.callback is not None
        request = self.report(taken, status)
        for pause in (0.2, 1.0, 0.0):  # nobody there, or a failure of theirs: a few times more
            try:
                if await self.post(request) < 500:
                    return
            except OSError:
                pass
            await asyncio.sleep(pause)

    def report(self, taken: Taken, status: str) -> Request:
        """The signed report of one status."""
        known, code = self.credentials, UNDELIVERABLE.get(taken.recipient) if status == "undelivered" else None
        assert taken.callback is not None
        bare = taken.sender.removeprefix("whatsapp:"), taken.recipient.removeprefix("whatsapp:")
        if isinstance(known, TwilioCredentials):
            channel = Channel.WHATSAPP if taken.sender.startswith("whatsapp:") else Channel.SMS
            return twilio.report(
                taken.callback,
                known,
                sid=taken.sid,
                status=status,
                sender=bare[0],
                recipient=bare[1],
                error_code=code,
                channel=channel,
            )
        return signalwire.report(
            taken.callback,
            known,
            sid=taken.sid,
            status=status,
            sender=taken.sender,
            recipient=taken.recipient,
            body=taken.body,
            error_code=code,
        )


def _error(status: int, code: int, message: str, **headers: str) -> Reply:
    document = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Reply(status, document, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _missing(asked: Asked) -> Reply:
    return _error(404, 20404, f"The requested resource {asked.path} was not found")


def _is_dated(taken: Taken, query: Any) -> bool:
    """Whether it was sent within ``DateSent>`` and ``DateSent<``, as the listing takes them: days or instants."""
    since, until = query.get("DateSent>"), query.get("DateSent<")
    return (since is None or taken.at >= _instant(since)) and (until is None or taken.at <= _instant(until))


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
