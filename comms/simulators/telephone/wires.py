"""What all lines have in common: they ring, end, ask us what to do, and are told of."""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.etree import ElementTree as ET

from comms.providers.signalwire import SignalWireCredentials
from comms.providers.twilio import TwilioCredentials
from comms.simulators import signalwire, twilio, wire
from comms.simulators.telephone.lines import Fetch, Line, Over, Person, Telling

NOBODY = Person(answers=False)


class Wires:
    """One account's lines at a provider, and how it asks and tells us."""

    def __init__(
        self,
        credentials: TwilioCredentials | SignalWireCredentials,
        fetch: Fetch,
        *,
        people: Mapping[str, Person] | None = None,
        anybody: Person = NOBODY,
        second: float = 0.01,
        telling: Telling | None = None,
        fallback_url: str | None = None,
        recordings_at: str = "https://api.twilio.com",
    ) -> None:
        self.credentials = credentials
        self.is_twilio = isinstance(credentials, TwilioCredentials)
        self.people = dict(people or {})
        self.anybody = anybody
        self.second = second
        self.telling = telling or Telling()
        self.fallback_url = fallback_url
        self.recordings_at = recordings_at
        self.lines: dict[str, Line] = {}
        self.recordings: dict[str, str] = {}
        self.queues: dict[str, list[Line]] = {}
        self.queue_sids: dict[str, str] = {}
        self.rooms: dict[str, list[Line]] = {}
        self._fetch = fetch
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reports: set[asyncio.Task[Any]] = set()
        self._chance = random.Random(1)

    @property
    def account(self) -> str:
        """The account's id."""
        known = self.credentials
        return known.account_sid if isinstance(known, TwilioCredentials) else known.project_id

    async def quiet(self) -> None:
        """All that was to be told has been."""
        while self._tasks - {asyncio.current_task()}:
            await asyncio.wait(self._tasks - {asyncio.current_task()})

    async def quiet_reports(self) -> None:
        """All progress there has been has been told."""
        while self._reports:
            await asyncio.wait(self._reports)

    async def close(self) -> None:
        """Whatever was under way has been called off, and nobody is told of it."""
        self.telling = Telling(lost=True)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def tell(self, line: Line, url: str | None = None, **more: str) -> None:
        """The line's progress is told, as often and in whatever order it is told here."""
        url = url or line.callback
        if url is None or self.telling.lost:
            return
        params = self._params(line) | {
            "SequenceNumber": str(line.sequence),
            "Timestamp": format_datetime(datetime.now(UTC)),
            "CallbackSource": "call-progress-events",
            **more,
        }
        line.sequence += 1
        for _ in range(2 if self.telling.doubled else 1):
            pause = self._chance.random() * self.second * 3 if self.telling.shuffled else 0
            report = self._later(self._post(url, params, pause))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    def hang_up(self, line: Line, status: str = "completed") -> None:
        """The line has ended."""
        if line.is_over:
            return
        line.status = status
        line.ended.set()
        if line.bridge is not None and not line.bridge.done():
            line.bridge.set_result("hangup")
        for waiting in (*self.queues.values(), *self.rooms.values()):
            if line in waiting:
                waiting.remove(line)
        if line.callback is not None:
            self.tell(line, CallDuration="10", Duration="1")

    async def _rings(self, line: Line, seconds: float) -> bool:
        """The phone rings, and is picked up; else the line has ended."""
        line.status = "ringing"
        self.tell(line)
        person = line.person
        if person.is_busy:
            self.hang_up(line, "busy")
            return False
        waits = person.after if person.answers and person.after <= seconds else seconds
        with suppress(TimeoutError):
            await asyncio.wait_for(line.ended.wait(), waits * self.second)
        if line.is_over:
            return False
        if not person.answers or person.after > seconds:
            self.hang_up(line, "no-answer")
            return False
        line.status = "in-progress"
        self.tell(line)
        return True

    async def _wait(self, line: Line, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(line.ended.wait(), seconds * self.second)
        if line.is_over:
            raise Over

    def _line(self, sender: str, to: str, direction: str, person: Person, parent: str | None = None) -> Line:
        line = Line(wire.sid("CA") if self.is_twilio else wire.uuid(), sender, to, direction, person, parent)
        self.lines[line.sid] = line
        return line

    def _params(self, line: Line) -> dict[str, str]:
        params = {
            "CallSid": line.sid,
            "AccountSid": self.account,
            "From": line.sender,
            "To": line.to,
            "CallStatus": line.status,
            "ApiVersion": "2010-04-01",
            "Direction": line.direction,
        }
        return params | ({"ParentCallSid": line.parent} if line.parent else {})

    async def _post(self, url: str, params: Mapping[str, str], pause: float) -> None:
        await asyncio.sleep(pause)
        await self._ask(url, params)

    async def _ask(self, url: str, params: Mapping[str, str]) -> tuple[int, str]:
        if isinstance(self.credentials, TwilioCredentials):
            return await self._fetch(twilio.signed(url, self.credentials, params))
        return await self._fetch(signalwire.signed(url, self.credentials, params))

    async def _document(self, line: Line, url: str, more: Mapping[str, str]) -> ET.Element:
        for place in (url, self.fallback_url):
            if place is None:
                continue
            extra = {} if place == url else {"ErrorCode": "11200", "ErrorUrl": url}
            status, text = await self._ask(place, self._params(line) | dict(more) | extra)
            with suppress(ET.ParseError):
                if 200 <= status < 300:
                    line.documents.append(text)
                    return ET.fromstring(text) if text else ET.Element("Response")
        line.heard.append("We are sorry, an application error has occurred. Goodbye.")
        raise Over

    def _later(self, what: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _bridged(self, was: bool) -> dict[str, str]:
        return {"DialBridged": str(was).lower()} if self.is_twilio else {}
