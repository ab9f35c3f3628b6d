"""SendGrid as whoever sends by it sees it: takes mails over its API, and posts signed events of what became of them.

An address of the domain ``bounce.example`` does not exist, whoever has one of ``spam.example`` complains, and one of
``busy.example`` is full. https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import Any, Literal

import msgspec

from comms.providers.base import Request
from comms.providers.sendgrid import SendGridCredentials
from comms.simulators import sendgrid
from comms.simulators.server import Asked, Reply, Route, is_proven

Post = Callable[[Request], Awaitable[int]]
"""Posts a webhook, and says how it was answered."""

Fault = Literal["busy", "failing", "lost", "broken", "never"]
"""``busy``: 429, not taken. ``failing``: 500, not taken. ``lost`` and ``broken``: taken, and the answer never comes
whole. ``never``: not taken, and no answer comes."""

FORBIDDEN = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)
_FATES: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    "bounce.example": (
        ("processed", {}),
        ("bounce", {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such user here"}),
    ),
    "busy.example": (("processed", {}), ("bounce", {"type": "blocked", "status": "5.2.2", "reason": "552 5.2.2 full"})),
    "spam.example": (("processed", {}), ("delivered", {"response": "250 OK"}), ("spamreport", {})),
}
_DELIVERED: Sequence[tuple[str, Mapping[str, Any]]] = (("processed", {}), ("delivered", {"response": "250 OK"}))


class TakenMail(msgspec.Struct, frozen=True):
    """A mail that SendGrid has."""

    id: str
    recipient: str
    document: Mapping[str, Any]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers it was given, besides those that SendGrid writes itself."""
        found: Mapping[str, str] = self.document["personalizations"][0].get("headers", {})
        return found


class MailExchange:
    """One account at SendGrid; ``post`` carries its events to ``events_url``, None tells nothing.

    ``taken`` are its mails, oldest first, ``faults`` what happens to the next requests, one each. ``keep`` is shown the
    recipient and the document of each mail that was taken. Events are told twice if they are ``doubled``, and a mail's
    in the order that ``chance`` gives if they are ``shuffled``.
    """

    def __init__(
        self,
        credentials: SendGridCredentials,
        *,
        events_url: str = "",
        post: Post | None = None,
        seconds: float = 0.2,
        keep: Callable[[str, Mapping[str, Any]], object] | None = None,
    ) -> None:
        self.credentials = credentials
        self.events_url = events_url
        self.post = post
        self.seconds = seconds
        self.keep = keep
        self.doubled = self.shuffled = False
        self.chance = random.Random(1)
        self.taken: list[TakenMail] = []
        self.faults: deque[Fault | None] = deque()
        self.requests = 0
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [Route("POST", "/v3/mail/send", self._send)]

    async def told(self) -> None:
        """All events have been posted."""
        while self._telling:
            await asyncio.wait(self._telling)

    async def _send(self, asked: Asked) -> Reply | None:
        self.requests += 1
        if not is_proven(asked, f"Bearer {self.credentials.api_key}"):
            return _errors(401, "The provided authorization grant is invalid, expired, or revoked")
        fault = self.faults.popleft() if self.faults else None
        if fault == "busy":
            return Reply(429, {"errors": [{"message": "too many requests"}]}, headers={"retry-after": "0"})
        if fault == "failing":
            return _errors(500, "internal server error")
        if fault == "never":
            return None
        wrong = _wrong_with(asked.body)
        if wrong is not None:
            return _errors(400, wrong)
        mail = self._take(msgspec.json.decode(asked.body))
        if fault == "lost":
            return None
        return Reply(
            202, content=b"" if fault is None else b"{}", headers={"x-message-id": mail.id}, broken=fault == "broken"
        )

    def _take(self, document: Mapping[str, Any]) -> TakenMail:
        recipient = document["personalizations"][0]["to"][0]["email"]
        mail = TakenMail(token_urlsafe(16), recipient, document)
        self.taken.append(mail)
        if self.keep is not None:
            self.keep(recipient, document)
        if self.post is not None:
            task = asyncio.create_task(self._tell(mail))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return mail

    async def _tell(self, mail: TakenMail) -> None:
        assert self.post is not None
        custom = mail.document["personalizations"][0].get("custom_args", {})
        fate = _FATES.get(mail.recipient.rpartition("@")[2], _DELIVERED)
        at = datetime.now(UTC)
        events = [sendgrid.event(kind, mail.recipient, at, message_id=mail.id, **custom, **more) for kind, more in fate]
        if self.doubled:
            events = [event for event in events for _ in range(2)]
        if self.shuffled:
            self.chance.shuffle(events)
        for event in events:
            await asyncio.sleep(self.seconds)
            await self.post(sendgrid.events(self.events_url, self.credentials, [event], datetime.now(UTC)))


def _wrong_with(body: bytes) -> str | None:
    """What SendGrid would refuse."""
    try:
        document = msgspec.json.decode(body)
        personal = document["personalizations"][0]
        headers = {name.lower() for name in personal.get("headers", {})}
        kinds = [content["type"] for content in document["content"]]
        _ = (personal["to"][0]["email"], document["from"]["email"], document["subject"])
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return "Bad Request"
    if headers & FORBIDDEN:
        return f"The header {min(headers & FORBIDDEN)} is reserved."
    if kinds not in (["text/plain"], ["text/html"], ["text/plain", "text/html"]):
        return "If present, text/plain must be first, followed by text/html."
    if not all(content["value"] for content in document["content"]):
        return "The content value must be a string at least one character in length."
    return None


def _errors(status: int, message: str) -> Reply:
    return Reply(status, {"errors": [{"message": message, "field": None, "help": None}]})
